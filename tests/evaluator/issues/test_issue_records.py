"""Issues in all their forms: what is read, what survives the way there and back, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.issues import records
from evaluator.issues.records import FORMS, Answer, IssueTask, parse, read, to_row
from srs.types import UserError

REAL = Path(__file__).parents[4] / "shared/data/issue_data.jsonl"
ROW = {
    "question": "It crashes",
    "user_login": "ann",
    "body": "on start\n\nand on stop",
    "answer_1": {"user_login": "bob", "created_at": None, "body": "Update it"},
    "answer_2": {"body": "Works for me"},
    "instance_id": "p__p-1",
}

words = st.text(min_size=1).filter(lambda t: t.strip())
titles = words.map(lambda t: " ".join(t.split())).filter(bool)
keys = st.sampled_from(["user_login", "created_at", "repository_name", "stars", "prompt", "level_1_dim"])  # fmt: skip
extras = st.dictionaries(keys, st.none() | st.text() | st.integers(), max_size=3).map(
    lambda d: {k: v for k, v in d.items() if records.IANVS.get(k, object()) != v}
)
tasks = st.builds(
    IssueTask,
    id=st.just("") | st.from_regex(r"[a-z_]{1,9}-\d{1,3}", fullmatch=True),
    title=titles,
    body=st.text(),
    answers=st.lists(st.builds(Answer, body=words, extra=extras), min_size=1, max_size=3).map(
        tuple
    ),
    extra=extras,
)


def test_an_issue_is_read() -> None:
    task = parse(ROW)
    assert (task.id, task.title, task.body) == ("p__p-1", "It crashes", "on start\n\nand on stop")
    assert [a.body for a in task.answers] == ["Update it", "Works for me"]
    assert task.answers[0].extra == {"user_login": "bob", "created_at": None}
    assert task.extra == {"user_login": "ann", "instance_id": "p__p-1"}
    assert to_row(task, "issues") == ROW


@settings(deadline=None)
@given(tasks)
def test_every_form_gives_the_issue_back(task: IssueTask) -> None:
    for form in FORMS:
        row = json.loads(json.dumps(to_row(task, form)))
        assert parse(row) == task


def test_ianvs_rows_have_what_ianvs_needs() -> None:
    row = to_row(parse(ROW), "ianvs")
    assert {"query", "response", "level_3_dim", "level_4_dim"} <= row.keys()
    assert row["query"] == "Question: It crashes\n\non start\n\nand on stop"
    assert row["response"] == "Answer 1:\nUpdate it\n\nAnswer 2:\nWorks for me"
    assert set(to_row(parse(ROW), "ianvs-qa")) == {"question", "answer"}


def test_rows_of_others() -> None:
    task = parse({"query": "Question：Why?\nI don't know.\n\nReally", "response": "Because", "level_4_dim": "issue"})  # fmt: skip  # noqa: RUF001
    assert (task.title, task.body) == ("Why?", "I don't know.\n\nReally")
    assert task.answers == (Answer(body="Because"),)
    assert parse({"question": "Why?", "answer": "Because"}).answers == (Answer(body="Because"),)
    assert parse({"question": "Why?", "answer": '"JSON"'}).answers == (Answer(body='"JSON"'),)
    assert parse({"question": "Why?", "body": None, "answer_1": "Because"}).body == ""


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": "x"}, "question or query is missing"),
        ({"question": " ", "answer_1": "x"}, "question is missing|not text"),
        ({"question": "a", "body": 3, "answer_1": "x"}, "body is not text"),
        ({"question": "a", "body": "b"}, "answer_1 is missing"),
        ({"question": "a", "body": "b", "answer_2": "x"}, "answer_1 is missing.*answer_2"),
        ({"question": "a", "answer_1": {"user_login": "x"}}, "answer_1: body is missing"),
        ({"question": "a", "answer_1": {"body": ""}}, "answer_1: body is empty"),
        ({"question": "a", "answer_1": 4}, "neither an object nor text"),
        ({"question": "a", "answer_1": "x", "id": 7}, "id must be text"),
        ({"question": "a", "answer_1": "x", "id": "a\nb"}, "control characters"),
        ({"query": "a", "response": ""}, "response is empty"),
        ({"query": "a", "response": "x", "answers": ["y"]}, "don't say the same"),
        ({"query": "a", "response": "x", "answers": []}, "not a list of answers"),
        ({"query": "Question: ", "response": "x"}, "no title"),
    ],
)
def test_bad_rows(row: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(row)


def test_a_title_of_several_lines_is_for_no_query() -> None:
    task = parse({**ROW, "question": "It\ncrashes"})
    assert to_row(task, "issues")["question"] == "It\ncrashes"
    with pytest.raises(ValueError, match="line break"):
        to_row(task, "ianvs")


def test_bad_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "issues.jsonl"
    good = json.dumps(ROW)
    path.write_text("\ufeff" + "\n".join([good, "", "{", "[1]", good, '{"question": "q"}']) + "\n")
    with pytest.raises(UserError) as caught:
        read(path)
    text = str(caught.value)
    assert "unusable issues (4 of 5 lines" in text
    for part in (":3: not JSON", ":4: not a JSON object but list", ":5: id 'p__p-1' is there already", ":6: answer_1"):  # fmt: skip
        assert f"{path}{part}" in text
    assert [t.id for t in read(path, skip_bad=True)] == ["p__p-1"]
    path.write_bytes(b'{"question": "\xff"}\n')
    with pytest.raises(UserError, match=":1: not UTF-8"):
        read(path)
    path.write_text("\n")
    with pytest.raises(UserError, match="no issues in it"):
        read(path)
    with pytest.raises(UserError, match="cannot read"):
        read(tmp_path / "none.jsonl")


def test_ids_made_from_the_content_stay_when_lines_move(tmp_path: Path) -> None:
    rows = [{"question": q, "answer_1": "x"} for q in ("a", "b", "a")]
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    first.write_text("".join(json.dumps(r) + "\n" for r in rows))
    second.write_text("".join(json.dumps(r) + "\n" for r in rows[1:]))
    a, b, twin = (t.id for t in read(first))
    assert twin == f"{a}-2"
    assert [t.id for t in read(second)] == [b, a]


def test_the_real_issues() -> None:
    if not REAL.exists():
        pytest.skip(f"{REAL.name} is not here")
    found = read(REAL)
    assert (len(found), found[0].id) == (202, "astropy__astropy-14365")
    rows = [json.loads(line) for line in REAL.read_text(encoding="utf-8").splitlines()]
    assert [to_row(task, "issues") for task in found] == rows
    for form in FORMS:
        assert [parse(to_row(task, form)) for task in found] == found
