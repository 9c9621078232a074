"""Scores of comments by hand, their laws, and the real tasks' own references."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.comments import records
from evaluator.comments.records import Annotation, CommentTask
from evaluator.comments.scores import CommentScore, score, similarity, summarize

DATA = Path(__file__).parents[4] / "shared/data"
CODE = "def area(a, b):\n    if a < 0:\n        return None\n    return a * b"
TASK = CommentTask(
    id="t",
    code=CODE,
    annotations=(Annotation(line=2, text="No area"), Annotation(line=4, text="Both sides")),
)
WHOLE = CommentTask(id="w", code=CODE, comment="Area of a rectangle")


def fence(code: str) -> str:
    return f"Sure!\n```python\n{code}\n```\nDone."


def commented(task: CommentTask) -> str:
    """The task's code with its annotations above their lines."""
    out = []
    for number, line in enumerate(task.code.split("\n"), 1):
        indent = line[: len(line) - len(line.lstrip())]
        notes = [a.text for a in task.annotations if a.line == number]
        out += [f"{indent}# {part}" for note in notes for part in note.split("\n")]
        out.append(line)
    return "\n".join(out)


def test_a_complete_answer() -> None:
    found = score(TASK, fence(commented(TASK)))
    assert (found.logic, found.accuracy, found.format, found.coverage) == (1, 1, 1, 1)
    assert (found.method, found.n_comments, found.overall) == ("syntax", 2, 1)


def test_one_line_covered_by_hand() -> None:
    """ "Both sided" is one edit of ten characters from "Both sides": 0.9, and 0 for the other line."""
    answer = CODE.replace("a * b", "a * b  # both SIDED")
    found = score(TASK, fence(answer))
    assert (found.logic, found.coverage) == (1, 0.5)
    assert found.accuracy == pytest.approx(0.45)
    assert found.overall == pytest.approx((1 + 0.45 + 1) / 3)


def test_changed_code_loses_logic_and_keeps_the_rest() -> None:
    answer = commented(TASK).replace("a * b", "a + b")
    found = score(TASK, fence(answer))
    assert (found.logic, found.format, found.coverage) == (0, 1, 0.5)
    assert found.accuracy == pytest.approx(0.5)


def test_code_given_back_as_it_was_earns_nothing() -> None:
    found = score(TASK, fence(CODE))
    assert (found.logic, found.accuracy, found.format, found.overall) == (1, 0, 0, 0)
    old = CommentTask(id="o", code="x = 1  # one", annotations=(Annotation(line=1, text="one"),))
    assert score(old, fence("x = 1  # one")).overall == 0


@pytest.mark.parametrize("answer", ["", "I can't.", "```python\nprint('other')\n```", "``` ```"])
def test_no_code_is_a_failure_on_all_counts(answer: str) -> None:
    found = score(TASK, answer)
    assert (found.logic, found.accuracy, found.format, found.coverage, found.overall) == (0,) * 5


def test_a_comment_without_words_is_none() -> None:
    assert score(TASK, fence("#\n" + CODE + " # ---")).format == 0


def test_one_comment_for_the_whole() -> None:
    said = score(WHOLE, "Area of a rectangle.")
    assert (said.logic, said.format, said.coverage, said.method) == (None, 1, None, None)
    assert said.accuracy == pytest.approx(19 / 20)
    assert said.overall == pytest.approx((19 / 20 + 1) / 2)
    inside = CODE.replace(":\n", ':\n    """Area of a rectangle"""\n', 1)
    assert score(WHOLE, fence(inside)).overall == 1
    assert score(WHOLE, "").overall == 0
    assert score(WHOLE, "<think>Area of a rectangle</think>x").accuracy < 0.2


def test_the_right_block_is_found() -> None:
    answer = f"First:\n```python\nx = 1  # no\n```\nThen:\n```python\n{commented(TASK)}\n```"
    assert score(TASK, answer).overall == 1
    assert score(TASK, commented(TASK)).overall == 1, "no fence at all"
    assert score(TASK, commented(TASK) + "\n```\n").overall == 1, "only the closing one"


def test_another_language_is_compared_line_by_line() -> None:
    task = CommentTask(
        id="j", code="int x;\nx++;", language="java", annotations=(Annotation(line=2, text="Up"),)
    )
    found = score(task, "```java\nint x;\n// Up\nx++;\n```")
    assert (found.overall, found.method) == (1, "lines")
    assert score(task, "```java\nint x;\n// Up\nx--;\n```").logic == 0
    strange = CommentTask(id="b", code="+", language="brainfuck", comment="adds one")
    found = score(strange, "adds one")
    assert (found.logic, found.accuracy, found.method) == (None, 1, None)


@settings(deadline=None)
@given(st.text() | st.text(alphabet="`#\n def:ab*python"), st.sampled_from([TASK, WHOLE]))
def test_scores_stay_between_0_and_1(answer: str, task: CommentTask) -> None:
    found = score(task, answer)
    for value in (found.logic, found.accuracy, found.format, found.coverage, found.overall):
        assert value is None or 0 <= value <= 1
    assert found.coverage is None or found.accuracy is None or found.accuracy <= found.coverage


@pytest.mark.parametrize(
    "added",
    [
        "\nx = " + "+".join(["1"] * 3000),
        "\nx = " + "(" * 5000,
        "\n# a" * 20_000,
        "  # " + "word " * 40_000,
        "\n```" * 5_000,
    ],
    ids=["sum", "brackets", "comments", "long comment", "fences"],
)
def test_answers_made_to_break_or_stall_the_scoring_get_a_score(added: str) -> None:
    start = time.process_time()
    found = score(TASK, fence(CODE + added))
    assert 0 <= found.overall <= 1
    assert time.process_time() - start < 10


@settings(deadline=None)
@given(st.text(), st.text())
def test_similarity_is_symmetric(a: str, b: str) -> None:
    assert similarity(a, b) == similarity(b, a)
    assert similarity(a, f"  {a} ") == 1


def test_the_summary_counts_what_applies() -> None:
    scores = [score(TASK, fence(commented(TASK))), score(WHOLE, "Area of a rectangle")]
    found = summarize(scores)
    assert (found["n"], found["logic"]["n"], found["accuracy"]["n"]) == (2, 1, 2)
    assert found["overall"]["value"] == 1
    assert found["compared_by"] == {"syntax": 1, "not compared": 1}
    nothing = summarize([score(WHOLE, "x")])
    assert nothing["logic"] == {"value": None, "low": None, "high": None, "n": 0}


@pytest.fixture
def real() -> list[CommentTask]:
    path = DATA / "comment_lines.jsonl"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    return records.read(path)[::4]


def test_the_references_of_the_real_tasks_get_full_marks(real: list[CommentTask]) -> None:
    scores: list[CommentScore] = [score(task, fence(commented(task))) for task in real]
    assert {s.overall for s in scores} == {1}
    assert {s.method for s in scores} == {"syntax"}
    assert {score(task, fence(task.code)).overall for task in real} == {0}
