"""Bandit: security findings in Python, from its JSON report.

https://bandit.readthedocs.io. What it must not do here: stop at its own exit status (1 = findings), obey
``# nosec`` in a candidate, read a configuration of ours, or pass over a file that it could not parse.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from evaluator.analyzers.batch import folder_of, in_batches, last_words, run_tool
from evaluator.analyzers.finding import (
    SEVERITIES,
    Analysis,
    AnalyzerError,
    Finding,
    Severity,
    ToolFailed,
    by_line,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bandit:
    """All of Bandit's tests. ``timeout_s``: for one call, that is up to 200 files."""

    timeout_s: float = 300.0
    name: str = "bandit"

    def analyze(self, files: Sequence[str]) -> list[Analysis]:
        return in_batches(self.name, files, self._look)

    def _look(self, files: Sequence[str]) -> list[Analysis]:
        with folder_of(files) as (folder, names):
            report = folder / "report.json"
            # -P: the folder with the candidates' files must not be on the tool's own path.
            argv = [
                sys.executable,
                "-P",
                "-m",
                "bandit",
                "--quiet",
                "--exit-zero",
                "--ignore-nosec",
            ]
            done = run_tool(
                [*argv, "--format", "json", "--output", report.name, *names],
                folder,
                timeout_s=self.timeout_s,
            )
            if done.returncode != 0 or not report.is_file():
                raise ToolFailed(f"bandit: {last_words(done)}")
            return parse_report(report.read_text(encoding="utf-8"), names)


def parse_report(text: str, names: Sequence[str]) -> list[Analysis]:
    """One result per name, from Bandit's JSON. A file among its ``errors`` is an error.

    Raises ToolFailed when the report isn't one, or doesn't cover a file.
    """
    try:
        report = json.loads(text)
        covered = {_name(path) for path in report["metrics"]}
        broken = {_name(e["filename"]): e["reason"] for e in report["errors"]}
        found: dict[str, list[Finding]] = {name: [] for name in names}
        for row in report["results"]:
            found[_name(row["filename"])].append(_finding(row))
    except (ValueError, KeyError, TypeError) as e:
        raise ToolFailed(f"bandit: its report can't be read: {type(e).__name__}: {e}") from e
    missing = [name for name in names if name not in covered and name not in broken]
    if missing:
        raise ToolFailed(f"bandit: its report leaves out {missing[0]}")
    return [
        AnalyzerError(tool="bandit", reason=broken[name])
        if name in broken
        else by_line(found[name])
        for name in names
    ]


def _name(path: str) -> str:
    return path.removeprefix("./")


def _finding(row: dict[str, Any]) -> Finding:
    said = row["issue_severity"].lower()
    severity: Severity = said if said in SEVERITIES else "low"  # UNDEFINED
    return Finding(
        tool="bandit",
        rule=row["test_id"],
        severity=severity,
        line=row["line_number"],
        message=" ".join(row["issue_text"].split()),
    )
