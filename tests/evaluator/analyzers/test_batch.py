"""A tool's call over many files: what is no Python, what breaks the tool, and a broken tool."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.analyzers.batch import PROBE, folder_of, in_batches, run_tool, unreadable
from evaluator.analyzers.finding import (
    Analysis,
    AnalyzerError,
    Finding,
    Findings,
    ToolFailed,
    by_line,
    is_clean,
)

FINDING = Finding(tool="t", rule="R", severity="low", line=1, message="m")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(:\n", "doesn't parse: line 1"),
        ("x = '\0'", "doesn't parse"),
        ("x = " + "(" * 300 + ")" * 300, "doesn't parse"),
        ("x = " + "-" * 100_000 + "1", "doesn't parse: MemoryError"),
        ("x = '\ud800'", "surrogate"),
        ("# coding: utf-7\nx = 1\n", "declares the encoding utf-7"),
        ("# -*- coding: nonsense -*-\nx = 1\n", "doesn't parse"),
    ],
)
def test_what_no_tool_may_call_clean(code: str, reason: str) -> None:
    assert reason in (unreadable(code) or "")


@pytest.mark.parametrize("code", ["", "x = 1", "# coding: utf-8\nx = 'é'\n", "x\f=1"])  # fmt: skip
def test_readable(code: str) -> None:
    assert unreadable(code) is None


def test_an_error_is_not_clean() -> None:
    assert is_clean(Findings())
    assert not is_clean(Findings(findings=(FINDING,)))
    assert not is_clean(AnalyzerError(tool="t", reason="r"))


def test_findings_from_a_floor_up() -> None:
    found = Findings(
        findings=tuple(
            Finding(tool="t", rule=s, severity=s, line=1, message="m")
            for s in ("low", "medium", "high")
        )
    )
    kept = {floor: [f.rule for f in found.at_least(floor).findings] for floor in ("low", "medium", "high")}  # fmt: skip
    assert kept == {"low": ["low", "medium", "high"], "medium": ["medium", "high"], "high": ["high"]}  # fmt: skip


@given(st.permutations(range(5)))
def test_findings_don_t_depend_on_the_order_of_the_report(order: list[int]) -> None:
    found = [
        Finding(tool="t", rule=f"R{i % 2}", severity="low", line=i // 2, message="m")
        for i in range(5)
    ]
    assert by_line([found[i] for i in order]) == Findings(findings=tuple(found))


@given(
    st.lists(st.sampled_from(["good", "bad", "breaks", "def f(:"]), max_size=40), st.integers(1, 9)
)
def test_a_file_that_breaks_the_tool_spoils_no_other(kinds: list[str], size: int) -> None:
    calls = []

    def look(files: Sequence[str]) -> list[Analysis]:
        calls.append(len(files))
        if any("breaks" in code for code in files):
            raise ToolFailed("abort")
        return [Findings(findings=(FINDING,) if "bad" in code else ()) for code in files]

    results = in_batches("t", kinds, look, size=size)
    assert len(results) == len(kinds)
    for kind, result in zip(kinds, results, strict=True):
        match kind:
            case "good":
                assert result == Findings()
            case "bad":
                assert result == Findings(findings=(FINDING,))
            case "breaks":
                assert result == AnalyzerError(tool="t", reason="the tool fails on it: abort")
            case _:
                assert isinstance(result, AnalyzerError)
                assert "parse" in result.reason
    assert max(calls, default=0) <= size


def test_a_broken_tool_is_not_the_files_fault() -> None:
    def look(_: Sequence[str]) -> list[Analysis]:
        raise ToolFailed("not licensed")

    with pytest.raises(ToolFailed, match="not licensed"):
        in_batches("t", ["x = 1\n", "y = 2\n"], look)
    assert in_batches("t", [], look) == []
    assert unreadable(PROBE) is None


def test_the_folder_holds_the_files_alone() -> None:
    with folder_of(["x = 1\r\n", "y = 'é'\n"]) as (folder, names):
        assert sorted(path.name for path in folder.iterdir()) == names
        assert (folder / names[0]).read_bytes() == b"x = 1\r\n"
    assert not folder.exists()


def test_a_tool_that_hangs_or_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"no answer within 0\.2 s"):
        run_tool([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, timeout_s=0.2)
    with pytest.raises(ToolFailed, match="cannot be started"):
        run_tool(["/nonexistent/tool"], tmp_path, timeout_s=1)
