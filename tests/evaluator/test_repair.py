"""The repair loop, driven by a scripted writer and a real sandbox."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from evaluator.analyzers.finding import Analysis, AnalyzerError, Finding, Findings
from evaluator.grade import grade_batch
from evaluator.repairing.attempt import Attempt, attempt_from_json
from evaluator.repairing.loop import Parts, State, after, examine, run_epoch
from evaluator.repairing.pairs import repair_pairs
from sandbox.runner import Limits, Sandbox
from srs.types import Candidate, Task, Verdict, to_json

GOOD, BAD, UNCLEAN = (
    "def f(x):\n    return x + 1\n",
    "def f(x):\n    return x\n",
    "def f(x):\n    return eval('x') + 1\n",
)
LIMITS = Limits(timeout_s=2)


def task(name: str, test: str | None = None) -> Task:
    return Task(
        id=name, group=name, kind="pytest", style="instruct", subset="T", question=f"Add one ({name}).",
        declaration="def f(x):", entry_point="f",
        test="from solution import f\n\ndef test_f():\n    assert f(1) == 2\n" if test is None else test,
        reference=GOOD,
    )  # fmt: skip


def candidate(name: str, code: str | None, index: int = 0, **changes: object) -> Candidate:
    made = Candidate(
        task=name, round=0, index=index, prompt="", completion=code or "", code=code, policy="file",
        seed=0, n_tokens=1, truncated=False,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


class Script:
    """Answers by task, the first that is left; remembers what it was asked."""

    def __init__(self, answers: Mapping[str, Sequence[str | None]], *, room: bool = True) -> None:
        self.answers = {name: list(codes) for name, codes in answers.items()}
        self.asked: list[Task] = []
        self.room = room

    def __call__(self, tasks: Sequence[Task], *, epoch: int) -> Iterable[Candidate]:
        for one in reversed(tasks):  # an engine's order is its own
            self.asked.append(one)
            code = self.answers[one.id.split("\x1f")[0]].pop(0) if self.room else None
            yield candidate(
                one.id, code, prompt=f"<{one.question}>", seed=epoch, policy="base",
                n_tokens=5 if self.room else 0, truncated=not self.room,
            )  # fmt: skip


def no_eval(files: Sequence[str]) -> list[Analysis]:
    finding = Finding(tool="t", rule="EVAL", severity="high", line=2, message="eval is used")
    return [
        AnalyzerError(tool="t", reason="too odd")
        if "odd" in code
        else Findings(findings=(finding,) if "eval" in code else ())
        for code in files
    ]


def parts(
    script: Script, sandbox: Sandbox, tasks: Iterable[Task], *, analyze: bool = False
) -> Parts:
    def grade(candidates: Iterable[Candidate]) -> Iterator[Verdict]:
        return grade_batch(list(tasks), candidates, sandbox, limits=LIMITS)

    return Parts(write=script, grade=grade, analyze=no_eval if analyze else None)


def started(candidates: Sequence[Candidate], tasks: Mapping[str, Task], given: Parts) -> State:
    return {a.key: a for a in examine(candidates, tasks, given, epoch=0)}


def test_only_what_is_not_right_is_asked_again(process_sandbox: Sandbox) -> None:
    tasks = {name: task(name) for name in ("a", "b", "c")}
    script = Script({"b": [BAD, GOOD], "c": [GOOD]})
    given = parts(script, process_sandbox, tasks.values())
    first = [
        candidate("a", GOOD),
        candidate("b", BAD),
        candidate("b", GOOD, 1),
        candidate("c", None),
    ]
    state = started(first, tasks, given)
    assert {key: a.outcome for key, a in state.items()} == {
        ("a", 0): "passed", ("b", 0): "failed", ("b", 1): "passed", ("c", 0): "no_code",
    }  # fmt: skip

    made = run_epoch(state, tasks, given, arm="feedback", epoch=1)
    assert [(a.key, a.epoch, a.outcome) for a in made] == [
        (("b", 0), 1, "failed"),
        (("c", 0), 1, "passed"),
    ]
    state = after(state, made)
    made = run_epoch(state, tasks, given, arm="feedback", epoch=2)
    assert [(a.key, a.outcome, a.seed) for a in made] == [(("b", 0), "passed", 2)]
    state = after(state, made)
    assert run_epoch(state, tasks, given, arm="feedback", epoch=3) == []
    assert all(a.ok for a in state.values())
    assert state["a", 0].code == GOOD
    assert len(script.asked) == 3


def test_feedback_keeps_the_task_and_the_control_gets_the_task_alone(
    process_sandbox: Sandbox,
) -> None:
    tasks = {"a": task("a"), "b": task("b")}
    script = Script({"a": [BAD, BAD], "b": [UNCLEAN, UNCLEAN]})
    given = parts(script, process_sandbox, tasks.values(), analyze=True)
    state = started([candidate("a", BAD), candidate("b", UNCLEAN)], tasks, given)
    run_epoch(state, tasks, given, arm="feedback", epoch=1)
    run_epoch(state, tasks, given, arm="control", epoch=1)
    told_b, told_a, alone_b, alone_a = script.asked
    assert "Add one (a)." in told_a.question
    assert "def f(x):\n    return x\n" in told_a.question
    assert "0 of 1 tests pass." in told_a.question
    assert "assert 1 == 2" in told_a.question, "the failing test's message"
    assert "Add one (b)." in told_b.question
    assert "- Line 2: eval is used (t EVAL, high)" in told_b.question
    assert "tests pass" not in told_b.question, "it passes"
    assert (alone_a.question, alone_b.question) == ("Add one (a).", "Add one (b).")
    assert [told_a.id, told_b.id] == [alone_a.id, alone_b.id], "equal ids: equal random streams"
    assert told_a.declaration == tasks["a"].declaration


def test_a_new_answer_replaces_the_old_one_also_when_it_is_worse(process_sandbox: Sandbox) -> None:
    tasks = {"a": task("a")}
    given = parts(Script({"a": [BAD]}), process_sandbox, tasks.values(), analyze=True)
    state = started([candidate("a", UNCLEAN)], tasks, given)
    assert (state["a", 0].passed, state["a", 0].clean, state["a", 0].ok) == (True, False, False)
    (made,) = run_epoch(state, tasks, given, arm="feedback", epoch=1)
    assert (made.passed, made.clean, made.ok) == (False, True, False)
    assert after(state, [made])["a", 0] == made


def test_a_prompt_without_room_leaves_the_item_as_it_was(process_sandbox: Sandbox) -> None:
    tasks = {"a": task("a")}
    given = parts(Script({}, room=False), process_sandbox, tasks.values(), analyze=True)
    state = started([candidate("a", UNCLEAN)], tasks, given)
    made = run_epoch(state, tasks, given, arm="feedback", epoch=1)
    assert [a.no_room for a in made] == [True]
    assert after(state, made) == state


def test_tasks_without_tests_are_judged_by_analyzers_alone() -> None:
    tasks = {name: task(name, test="") for name in ("a", "b", "c", "d")}
    heard = []

    def grade(candidates: Iterable[Candidate]) -> Iterator[Verdict]:
        raise AssertionError(f"there is nothing to grade: {candidates}")

    given = Parts(
        write=Script({"b": [GOOD], "c": [GOOD], "d": [None]}),
        grade=grade,
        analyze=no_eval,
        advance=heard.append,
    )
    first = [candidate("a", BAD), candidate("b", UNCLEAN), candidate("c", "odd = 1\n"), candidate("d", None)]  # fmt: skip
    state = started(first, tasks, given)
    assert [(a.passed, a.clean, a.ok) for a in state.values()] == [
        (None, True, True), (None, False, False), (None, False, False), (None, False, False),
    ]  # fmt: skip
    assert state["c", 0].problems() == ["It could not be analysed: t: too odd"]
    assert state["d", 0].problems() == [
        "It could not be analysed: repair: the answer holds no program"
    ]
    made = run_epoch(state, tasks, given, arm="feedback", epoch=1)
    assert [(a.task, a.clean) for a in made] == [("b", True), ("c", True), ("d", False)]
    assert sum(heard) == 7


def test_problems_are_told_exactly_when_something_is_wrong(process_sandbox: Sandbox) -> None:
    tasks = {"a": task("a")}
    codes = [
        GOOD,
        BAD,
        UNCLEAN,
        None,
        "while True: pass\n",
        "import os; os._exit(0)\n",
        "odd = 1\n",
    ]
    for analyze in (False, True):
        given = parts(Script({}), process_sandbox, tasks.values(), analyze=analyze)
        state = started([candidate("a", c, i) for i, c in enumerate(codes)], tasks, given)
        for one in state.values():
            assert one.ok == (not one.problems()), one
        assert state["a", 0].ok
        assert not any(state["a", i].ok for i in (1, 3, 4, 5, 6))


def test_attempts_survive_their_file(process_sandbox: Sandbox) -> None:
    tasks = {"a": task("a")}
    given = parts(Script({}), process_sandbox, tasks.values(), analyze=True)
    for one in started([candidate("a", UNCLEAN), candidate("a", None, 1)], tasks, given).values():
        row = to_json(one)
        row["findings"] = [dict(f) for f in row["findings"]]
        assert attempt_from_json(row) == one
    with pytest.raises(TypeError):
        attempt_from_json({"task": "a"})


def made(epoch: int, code: str | None, outcome: str | None, **changes: object) -> Attempt:
    one = Attempt(
        task="a", index=0, epoch=epoch, prompt="repair?", completion="", code=code,
        policy="base" if epoch else "file", seed=0, n_tokens=1, no_room=False,
        outcome=outcome,  # type: ignore[arg-type]
        n_passed=1, n_collected=4, detail="", findings=(), unanalysed=None,
    )  # fmt: skip
    return dataclasses.replace(one, **changes)  # type: ignore[arg-type]


def test_a_pair_is_the_right_answer_over_the_one_it_was_told_about() -> None:
    start = {("a", 0): made(0, "x = 0", "error")}
    feedback = [made(1, "x = 1", "failed"), made(2, "x = 2", "passed", n_passed=4)]
    (pair,) = repair_pairs(start, feedback, [made(1, "x = 9", "failed", prompt="task?")], chat=True)
    assert (pair.prompt, pair.chosen, pair.rejected) == (
        "task?", "```python\nx = 2\n```", "```python\nx = 1\n```",
    )  # fmt: skip
    assert (pair.chosen_round, pair.rejected_round) == (2, 1)
    assert (pair.rejected_outcome, pair.rejected_tests_passed) == ("failed", 0.25)


FINDING = Finding(tool="t", rule="EVAL", severity="high", line=2, message="eval")


@pytest.mark.parametrize(
    ("before", "now", "n_pairs"),
    [
        (made(0, "x = 0", "passed", findings=(FINDING,)), made(1, "x = 1", "passed"), 1),
        (made(0, "x = 0", "passed", unanalysed="t: r"), made(1, "x = 1", "passed"), 0),
        (made(0, "x = 0", "failed"), made(1, "x = 1", "passed", findings=(FINDING,)), 0),
        (made(0, "x = 0", "failed"), made(1, "x = 1", "failed"), 0),
        (made(0, "x = 0", "timeout"), made(1, "x = 1", "passed"), 0),
        (made(0, None, "no_code"), made(1, "x = 1", "passed"), 0),
        (made(0, "x = 0", None, findings=(FINDING,)), made(1, "x = 1", None), 0),
        (made(0, "x = 0", "failed"), made(1, None, "no_code", no_room=True), 0),
    ],
)
def test_which_repairs_are_pairs(before: Attempt, now: Attempt, n_pairs: int) -> None:
    control = [made(1, "x = 9", "failed", prompt="task?")]
    assert len(repair_pairs({("a", 0): before}, [now], control, chat=True)) == n_pairs
