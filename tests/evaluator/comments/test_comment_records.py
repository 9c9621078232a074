"""Comment tasks in all their forms: what is read, what survives the way there and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.comments import records
from evaluator.comments.records import FORMS, Annotation, CommentTask, parse, read, to_row
from srs.types import UserError

DATA = Path(__file__).parents[4] / "shared/data"
CODE = "def area(a, b):\n    return a * b"
LINES = {
    "description": "Add detailed comments to a given function.",
    "code_snippet": CODE,
    "annotations": [
        {"line_number": 1, "annotation": "Takes both sides."},
        {"line_number": 2, "annotation": "Returns\nthe area."},
    ],
}
PAIR = {"code_snippet": CODE, "comment": "The area of a rectangle"}

words = st.text(min_size=1).filter(lambda t: t.strip())
codes = st.lists(st.text(alphabet="ab `#=\r\t") | st.just("```python"), min_size=1, max_size=5).map(
    "\n".join
)
extras = st.dictionaries(
    st.sampled_from(["source", "license", "prompt", "judge_prompt", "level_4_dim"]),
    st.none() | st.text() | st.integers(),
    max_size=3,
).map(lambda d: {k: v for k, v in d.items() if records.IANVS.get(k, object()) != v})


@st.composite
def tasks(draw: st.DrawFn) -> CommentTask:
    code = draw(codes.filter(lambda c: c.strip()))
    task = CommentTask(
        id=draw(st.just("") | st.from_regex(r"[a-z]{1,5}-\d", fullmatch=True)),
        code=code,
        language=draw(st.sampled_from(["python", "c++", "c#"])),
        extra=draw(extras),
    )
    if draw(st.booleans()):
        return dataclasses.replace(task, comment=draw(words))
    marks = st.builds(Annotation, line=st.integers(1, code.count("\n") + 1), text=words)
    return dataclasses.replace(task, annotations=tuple(draw(st.lists(marks, max_size=3))))


def test_tasks_are_read() -> None:
    task = parse(LINES)
    assert task.code == CODE
    assert task.annotations == (
        Annotation(line=1, text="Takes both sides."),
        Annotation(line=2, text="Returns\nthe area."),
    )
    assert task.extra == {"description": LINES["description"]}
    assert parse(PAIR).comment == "The area of a rectangle"
    assert parse({"code_snippet": "x = 1"}).annotations == ()


@settings(deadline=None)
@given(tasks())
def test_every_form_that_holds_a_task_gives_it_back(task: CommentTask) -> None:
    for form in FORMS:
        if form == "lines" and task.comment is not None:
            continue
        if form == "pairs" and task.comment is None:
            continue
        assert parse(json.loads(json.dumps(to_row(task, form)))) == task


def test_lines_become_pairs_as_text_and_pairs_no_lines() -> None:
    row = to_row(parse(LINES), "pairs")
    assert row["comment"] == "Line 1: Takes both sides.\nLine 2: Returns\nthe area."
    with pytest.raises(ValueError, match="has no line: use pairs"):
        to_row(parse({**PAIR, "id": "c1"}), "lines")
    with pytest.raises(ValueError, match="no annotation and no comment"):
        to_row(parse({"code_snippet": "x"}), "pairs")


def test_ianvs_rows_have_what_ianvs_needs() -> None:
    row = to_row(parse(PAIR), "ianvs")
    assert {"query", "response", "level_3_dim", "level_4_dim"} <= row.keys()
    assert row["query"] == (
        f"Question: Here is a code function\n```python\n{CODE}\n```\n"
        "Please comment this code or function."
    )
    assert row["response"] == "The area of a rectangle"
    assert set(to_row(parse(PAIR), "ianvs-qa")) == {"question", "answer"}


def test_rows_of_others() -> None:
    quoted = 'Question：Here is a code function "r = rx.search(v)". Please comment this code.'  # noqa: RUF001
    task = parse({"query": quoted, "response": "Searches", "level_3_dim": "x"})
    assert (task.code, task.comment, task.language) == ("r = rx.search(v)", "Searches", "python")
    task = parse({"question": "Comment this:\n```Java\nint x;\n```", "answer": "Declares x"})
    assert (task.code, task.comment, task.language) == ("int x;", "Declares x", "java")
    assert parse({"query": "```\nx\n```", "response": ""}).comment is None


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": "x"}, "code_snippet, query or question is missing"),
        ({"code_snippet": ""}, "code_snippet is empty"),
        ({"code_snippet": 3}, "code_snippet is not text"),
        ({"code_snippet": "x", "comment": " "}, "comment is not text|comment is empty"),
        ({"code_snippet": "x", "annotations": {}}, "not a list"),
        ({"code_snippet": "x", "annotations": ["y"]}, "annotation 1 is not an object"),
        ({"code_snippet": "x", "annotations": [{"line_number": 2, "annotation": "y"}]}, "line_number 2 is not one of the code's 1 lines"),
        ({"code_snippet": "x", "annotations": [{"line_number": True, "annotation": "y"}]}, "line_number True"),
        ({"code_snippet": "x", "annotations": [{"line_number": 1}]}, "annotation 1: annotation is missing"),
        ({"code_snippet": "x", "annotations": [{"line_number": 1, "annotation": "y"}], "comment": "z"}, "one of annotations and comment"),
        ({"query": "Please comment.", "response": "x"}, "no code in the question"),
        ({"query": "```\nx\n```", "response": "y", "annotations": [{"line_number": 1, "annotation": "z"}]}, "don't say the same"),
        ({"code_snippet": "x", "language": 3}, "language is not text"),
    ],
)  # fmt: skip
def test_bad_rows(row: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(row)


def test_bad_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(PAIR) + "\nnull\n" + json.dumps({"code_snippet": ""}) + "\n")
    with pytest.raises(UserError) as caught:
        read(path)
    assert f"{path}:2: not a JSON object" in str(caught.value)
    assert f"{path}:3: code_snippet is empty" in str(caught.value)
    assert len(read(path, skip_bad=True)) == 1


@pytest.mark.parametrize(("name", "n", "form"), [("comment_lines", 309, "lines"), ("comment_data", 115, "ianvs")])  # fmt: skip
def test_the_real_tasks(name: str, n: int, form: records.Form) -> None:
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    found = read(path)
    assert len({t.id for t in found}) == len(found) == n
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    written = [to_row(dataclasses.replace(t, id=""), form) for t in found]
    assert written == rows
    for other in ("ianvs", "ianvs-qa", form):
        assert [parse(to_row(task, other)) for task in found] == found
