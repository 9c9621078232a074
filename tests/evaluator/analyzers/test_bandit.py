"""Bandit for real, and its report's odd cases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluator.analyzers.bandit import Bandit, parse_report
from evaluator.analyzers.finding import AnalyzerError, Findings, ToolFailed, is_clean

pytest.importorskip("bandit", reason="bandit is not installed")

SHELL = "import subprocess\n\n\ndef f(x):\n    subprocess.call(x, shell=True)  # nosec\n"
EVAL = "def f(x):\n    return eval(x)\n"
CLEAN = "def f(x):\n    return x + 1\n"


@pytest.fixture(scope="module")
def results() -> list[Findings | AnalyzerError]:
    return Bandit().analyze([SHELL, CLEAN, "def f(:\n", EVAL])


def test_all_findings_in_order_with_their_lines(results: list[Findings | AnalyzerError]) -> None:
    shell, clean, broken, evaluated = results
    assert isinstance(shell, Findings)
    assert [(f.rule, f.severity, f.line) for f in shell.findings] == [
        ("B404", "low", 1),
        ("B602", "high", 5),
    ]
    assert is_clean(clean)
    assert isinstance(broken, AnalyzerError)
    assert isinstance(evaluated, Findings)
    assert [(f.rule, f.severity, f.line) for f in evaluated.findings] == [("B307", "medium", 2)]


def test_the_candidate_can_t_silence_it(results: list[Findings | AnalyzerError]) -> None:
    assert isinstance(results[0], Findings)
    assert "B602" in [f.rule for f in results[0].findings], "nosec stands in that line"


def test_the_code_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (found,) = Bandit().analyze([f"open({str(mark)!r}, 'w')\n"])
    assert isinstance(found, Findings)
    assert not mark.exists()


def _report(**changes: object) -> str:
    return json.dumps({"errors": [], "metrics": {"./a.py": {}, "_totals": {}}, "results": []} | changes)  # fmt: skip


def test_a_file_it_could_not_parse_is_an_error() -> None:
    errors = [{"filename": "./a.py", "reason": "exception while scanning file"}]
    assert parse_report(_report(errors=errors), ["a.py"]) == [
        AnalyzerError(tool="bandit", reason="exception while scanning file")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read"),
        ("[]", "can't be read"),
        (_report(results=[{"filename": "./other.py"}]), "can't be read"),
        (_report(metrics={}), "leaves out a.py"),
    ],
)
def test_a_report_that_says_nothing_of_a_file_is_never_clean(text: str, message: str) -> None:
    with pytest.raises(ToolFailed, match=message):
        parse_report(text, ["a.py"])


def test_an_unknown_severity_is_low() -> None:
    row = {"filename": "a.py", "test_id": "B1", "issue_severity": "UNDEFINED", "line_number": 3, "issue_text": "a\n b"}  # fmt: skip
    (found,) = parse_report(_report(results=[row]), ["a.py"])
    assert isinstance(found, Findings)
    assert [(f.severity, f.line, f.message) for f in found.findings] == [("low", 3, "a b")]
