"""Analyzers by name, several as one, and their command."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from evaluator.analyzers.__main__ import main
from evaluator.analyzers.bandit import Bandit
from evaluator.analyzers.choose import Panel, Skipped, analyzer
from evaluator.analyzers.finding import Analysis, AnalyzerError, Finding, Findings
from evaluator.analyzers.ruff import Ruff
from srs.types import UserError

ROOT = Path(__file__).parents[3]


class Fixed:
    """Says the same of every file."""

    def __init__(self, name: str, analysis: Analysis) -> None:
        self.name = name
        self.analysis = analysis

    def analyze(self, files: Sequence[str]) -> list[Analysis]:
        return [self.analysis] * len(files)


LOW = Finding(tool="a", rule="L", severity="low", line=2, message="m")
HIGH = Finding(tool="b", rule="H", severity="high", line=1, message="m")
A, B = Fixed("a", Findings(findings=(LOW,))), Fixed("b", Findings(findings=(HIGH,)))
ERROR = AnalyzerError(tool="c", reason="r")


def test_several_as_one() -> None:
    assert Panel(analyzers=(A, B)).name == "a+b"
    assert Panel(analyzers=(A, B)).analyze(["", ""]) == [Findings(findings=(HIGH, LOW))] * 2
    assert Panel(analyzers=(A, B), floor="medium").analyze([""]) == [Findings(findings=(HIGH,))]
    assert Panel(analyzers=(A,), floor="medium").analyze([""]) == [Findings()]
    assert Panel(analyzers=(A, Fixed("c", ERROR))).analyze([""]) == [ERROR]


def test_names() -> None:
    pytest.importorskip("bandit")
    assert isinstance(analyzer("bandit"), Bandit)
    assert analyzer("ruff:F,B") == Ruff(select=("F", "B"))


@pytest.mark.parametrize("name", ["pylint", "bandit:x", "valgrind:x", ""])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UserError, match=f"--analyzer {name}: choose bandit, ruff"):
        analyzer(name, run_programs=True)


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="--analyzer bandit: not installed: pip install bandit"):
        analyzer("bandit")


def test_valgrind_runs_programs_only_when_told_to_and_is_skipped_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match="--run-programs"):
        analyzer("valgrind")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Skipped, match="valgrind: skipped: cc and valgrind not installed"):
        analyzer("valgrind", run_programs=True)


def test_the_command(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("x = 1\n")
    bad.write_text("import os\n")
    command = [sys.executable, "-W", "error", "-m", "evaluator.analyzers", "--analyzer", "ruff"]
    done = subprocess.run(
        [*command, str(good), str(bad)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"{bad}:1: medium ruff F401: `os` imported but unused\n"


def test_its_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, broken = tmp_path / "good.py", tmp_path / "broken.py"
    good.write_text("x = 1\n")
    broken.write_text("def f(:\n")
    assert main(["--analyzer", "ruff", str(good)]) == 0
    assert main(["--analyzer", "ruff", "--json", str(broken)]) == 1
    row = json.loads(capsys.readouterr().out)
    assert (row["file"], row["tool"]) == (str(broken), "ruff")
    assert main(["--analyzer", "ruff", str(tmp_path / "gone.py")]) == 2
    assert main(["--analyzer", "sarif:false {sarif}", str(good)]) == 3
    assert "error: the analyzer failed: false: wrote no report" in capsys.readouterr().err


def test_the_others_go_on_without_one_that_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.py"
    good.write_text("x = 1\n")
    monkeypatch.setenv("PATH", "/nonexistent")
    both = ["--analyzer", "valgrind", "--run-programs", "--analyzer", "ruff", str(good)]
    assert main(both) == 0
    assert main(["--analyzer", "valgrind", "--run-programs", str(good)]) == 2
    assert capsys.readouterr().err.count("valgrind: skipped: cc and valgrind not installed") == 2
