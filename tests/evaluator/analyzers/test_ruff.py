"""Ruff for real: what it finds, what can't silence it, and what makes it abort."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluator.analyzers.finding import AnalyzerError, Findings, ToolFailed, is_clean
from evaluator.analyzers.ruff import Ruff, parse_report

pytest.importorskip("ruff", reason="ruff is not installed")

SILENCED = """# ruff: noqa
# flake8: noqa
# ruff: file-ignore[F401]
import os
# ruff: disable[F841]
def f():
    x = 1  # noqa
# ruff: enable[F841]
"""
DEEP = "x = " + "not " * 60_000 + "1\n"
"""Nested far deeper than Ruff's stack reaches."""


def _rules(analysis: Findings | AnalyzerError) -> list[tuple[str, str, int]]:
    assert isinstance(analysis, Findings), analysis
    return [(f.rule, f.severity, f.line) for f in analysis.findings]


def test_findings_and_no_silencing() -> None:
    silenced, clean, lax, broken = Ruff().analyze(
        [SILENCED, "x = 1\n", "x = 1\nif x == None:\n    pass\n", "def f(:"]
    )
    assert _rules(silenced) == [("F401", "medium", 4), ("F841", "medium", 7)]
    assert is_clean(clean)
    assert _rules(lax) == [("E711", "low", 2)]
    assert isinstance(broken, AnalyzerError)


def test_no_configuration_around_the_folder_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ruff.toml").write_text('lint.ignore = ["F"]\nexclude = ["*"]\n')
    (tmp_path / ".gitignore").write_text("*\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert _rules(Ruff().analyze(["import os\n"])[0]) == [("F401", "medium", 1)]


def test_other_rules() -> None:
    assert _rules(Ruff(select=("S307",)).analyze(["import os\neval('1')\n"])[0]) == [
        ("S307", "medium", 2)
    ]


def test_rules_that_don_t_exist_are_a_broken_tool() -> None:
    with pytest.raises(ToolFailed, match="ruff: exit 2"):
        Ruff(select=("XYZ9",)).analyze(["x = 1\n"])


def test_a_file_that_makes_it_abort_is_alone_in_its_error() -> None:
    before, deep, after = Ruff().analyze(["import os\n", DEEP, "x = 1\n"])
    assert isinstance(deep, AnalyzerError)
    assert _rules(before) == [("F401", "medium", 1)]
    assert is_clean(after)


def test_a_syntax_error_that_python_accepts_is_an_error() -> None:
    row = {"filename": "/t/a.py", "code": "invalid-syntax", "message": "m", "location": {"row": 2}}
    assert parse_report(json.dumps([row]), ["a.py"]) == [
        AnalyzerError(tool="ruff", reason="doesn't parse: line 2: m")
    ]
    with pytest.raises(ToolFailed):
        parse_report("{", ["a.py"])
