import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.judge import (
    Expectation,
    compares_identity,
    declared_tests,
    expectation,
    job_for,
    judge,
    with_imports,
)
from sandbox.runner import Limits
from srs.types import ExecResult, ExecStatus, Task, TestOutcome, TestReport, Verdict

TEST = "from solution import f\ndef test_a():\n    assert f(1) == 1\ndef test_b():\n    assert f(2) == 2\n"
EXPECTED = Expectation(ids=("test_a", "test_b"))


def task(test: str = TEST, kind: str = "pytest") -> Task:
    return Task(
        id="t", group="t", kind=kind, style="instruct", subset="s", question="q", declaration=None,
        entry_point=None, test=test, reference=None,
    )  # fmt: skip


def result(status: ExecStatus = "finished", **outcomes: TestOutcome) -> ExecResult:
    return ExecResult(
        status=status,
        collected=tuple(outcomes),
        reports=tuple(TestReport(id=i, outcome=o, message="why") for i, o in outcomes.items()),
    )


def verdict(seen: ExecResult, expected: Expectation | None = EXPECTED, test: str = TEST) -> Verdict:
    return judge(task(test), expected, seen, round=3, index=1)


@pytest.mark.parametrize("expected", [EXPECTED, None])
def test_all_passed_is_a_pass(expected: Expectation | None) -> None:
    v = verdict(result(test_a="passed", test_b="passed"), expected)
    assert (v.outcome, v.n_passed, v.n_collected, v.round, v.index) == ("passed", 2, 2, 3, 1)


@pytest.mark.parametrize("expected", [EXPECTED, None])
@pytest.mark.parametrize(
    ("seen", "outcome", "n_passed"),
    [
        (result(test_a="passed", test_b="failed"), "failed", 1),
        (result(test_a="passed", test_b="error"), "failed", 1),
        (result(test_a="passed", test_b="skipped"), "failed", 1),
        (result(test_a="passed"), "error", 1),
        (result(), "error", 0),
        (result("timeout", test_a="passed"), "timeout", 1),
        (result("memory", test_a="passed", test_b="failed"), "memory", 1),
        (result("output_limit"), "output_limit", 0),
        (result("died", test_a="passed"), "failed", 1),
        (result("died"), "error", 0),
        (result("error"), "error", 0),
    ],
)
def test_anything_else_is_not(
    seen: ExecResult, outcome: str, n_passed: int, expected: Expectation | None
) -> None:
    v = verdict(seen, expected)
    assert (v.outcome, v.n_passed) == (outcome, n_passed)


def test_a_test_without_a_report_is_no_pass() -> None:
    seen = ExecResult(
        status="finished",
        collected=("test_a", "test_b"),
        reports=(TestReport(id="test_a", outcome="passed"),),
    )
    assert verdict(seen).outcome == "failed"
    assert verdict(seen, None).outcome == "failed"


def test_tests_beyond_the_references_are_no_pass() -> None:
    seen = result(test_a="passed", test_b="passed", test_c="passed")
    assert verdict(seen).outcome == "error"


def test_a_skip_that_the_reference_has_is_allowed() -> None:
    expected = Expectation(ids=("test_a", "test_b"), skipped=("test_b",))
    assert verdict(result(test_a="passed", test_b="skipped"), expected).passed
    assert not verdict(result(test_a="skipped", test_b="passed"), expected).passed
    assert verdict(result(test_a="passed", test_b="passed"), expected).passed


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    st.lists(st.sampled_from(["passed", "failed", "error", "skipped"]), min_size=1, max_size=5),
    st.sampled_from(["finished", "error", "timeout", "memory", "output_limit", "died"]),
)
def test_law_a_pass_is_every_report_passed(outcomes: list[TestOutcome], status: ExecStatus) -> None:
    names = [f"test_{i}" for i in range(len(outcomes))]
    test = "".join(f"def {n}(): pass\n" for n in names)
    seen = result(status, **dict(zip(names, outcomes, strict=True)))
    should_pass = status == "finished" and set(outcomes) == {"passed"}
    for expected in (Expectation(ids=tuple(names)), None):
        v = verdict(seen, expected, test)
        assert v.passed == should_pass
        assert v.n_passed == outcomes.count("passed")
        assert v.n_passed <= v.n_collected
        assert v.passed or v.detail or v.outcome == "error"


def test_a_pass_by_writing_alone_is_none() -> None:
    seen = dataclasses.replace(
        result(test_a="passed", test_b="passed"), wrote=True, passed_by_writing=True
    )
    v = verdict(seen, dataclasses.replace(EXPECTED, writes=False))
    assert v.outcome == "tampered"
    assert "arguments" in v.detail
    failed = dataclasses.replace(seen, reports=result(test_a="failed", test_b="passed").reports)
    assert verdict(failed, EXPECTED).outcome == "failed"


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("assert f(x) is x", True),
        ("assert (a := f(x)) is not x", True),
        ("self.assertIs(f(x), x)", True),
        ("assert f(x) is None", False),
        ("assert f(x) is not True  # is it?", False),
        ("assert 'a is b' == f(x)", False),
        ("def (", True),
    ],
)
def test_tests_that_ask_for_identity(line: str, asks: bool) -> None:
    assert compares_identity(f"def test_a():\n    {line}\n") == asks


def test_the_reference_sets_what_is_expected() -> None:
    assert expectation(task(), result(test_a="passed", test_b="skipped")) == Expectation(
        ids=("test_a", "test_b"), skipped=("test_b",), writes=False
    )
    for seen in ({"wrote": True}, {"together": True}):
        found = expectation(task(), dataclasses.replace(result(test_a="passed"), **seen))
        assert isinstance(found, Expectation)
        assert found.writes
    assert expectation(task(), result(test_a="failed")) == "test_a failed: why"
    assert expectation(task(), result(test_a="skipped")) == "no test ran"
    assert "timeout" in str(expectation(task(), result("timeout")))
    assert isinstance(expectation(task(), result()), str)


def test_names_nobody_defines_come_from_the_solution() -> None:
    test = '"""Doc."""\nfrom __future__ import annotations\nimport math\n\nK = 3\n\ndef helper(x):\n    return g(x) + math.pi + K + len([i for i in range(x)])\n\ndef test_a():\n    h = helper(1)\n    assert f(h) == h and Box().x\n'
    lines = with_imports(test).split("\n")
    assert lines[2] == "from solution import Box, f, g"
    assert lines[:2] + lines[3:] == test.split("\n")


@pytest.mark.parametrize("test", [TEST, "def test_a(:\n", "x = '\0'"])
def test_a_test_file_that_needs_nothing_is_left_alone(test: str) -> None:
    assert with_imports(test) == test


def test_tests_in_a_file() -> None:
    test = "def test_a(): pass\nclass TestB:\n    def test_m(self): pass\n    def helper(self): pass\ndef helper(): pass\n"
    assert declared_tests(test) == ("test_a", "TestB::test_m")


@pytest.mark.parametrize(
    ("printed", "outcome"),
    [
        ("1 2\n3\n", "passed"),
        ("1 2 \n3\n\n\n", "passed"),
        ("1  2\n3", "passed"),
        ("1 2 3\n", "failed"),
        ("1 2\n", "failed"),
        ("", "failed"),
    ],
)
def test_standard_output_is_compared_by_lines_of_words(printed: str, outcome: str) -> None:
    stdio = task(json.dumps({"stdin": ["x"], "stdout": ["1 2\n3\n"]}), "stdio")
    seen = ExecResult(
        status="finished",
        collected=("case-0",),
        reports=(TestReport(id="case-0", outcome="passed"),),
        outputs=(printed,),
    )
    assert judge(stdio, None, seen, round=0, index=0).outcome == outcome


def test_jobs() -> None:
    limits = Limits(timeout_s=1)
    assert job_for(task(), "code", None, limits).test == TEST
    stdio = task(json.dumps({"stdin": ["1\n", "2\n"], "stdout": ["", ""]}), "stdio")
    job = job_for(stdio, "code", None, limits)
    assert (job.solution, job.test, job.stdin, job.limits) == ("code", None, ("1\n", "2\n"), limits)
