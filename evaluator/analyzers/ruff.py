"""Ruff: mistakes and style in Python, from its JSON report.

https://docs.astral.sh/ruff. Suppressions in a candidate (``# noqa``, ``# ruff: disable``) and any
configuration file above the folder are ignored, and nothing is cached.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import PurePath

from evaluator.analyzers.batch import folder_of, in_batches, last_words, run_tool
from evaluator.analyzers.finding import (
    Analysis,
    AnalyzerError,
    Finding,
    Severity,
    ToolFailed,
    by_line,
)

SELECT = ("E4", "E7", "E9", "F")
"""Imports, statements, run-time errors and Pyflakes: named here, as Ruff's own default changes."""
LIKELY_BUGS = ("E9", "F", "B", "S", "PLE")
"""Ruff calls everything an error; of these families we say ``medium``, of the others ``low``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ruff:
    """The rules in ``select`` (prefixes of codes). ``timeout_s``: for one call of up to 200 files."""

    select: tuple[str, ...] = SELECT
    timeout_s: float = 120.0
    name: str = "ruff"

    def analyze(self, files: Sequence[str]) -> list[Analysis]:
        return in_batches(self.name, files, self._look)

    def _look(self, files: Sequence[str]) -> list[Analysis]:
        version = f"py{sys.version_info.major}{sys.version_info.minor}"
        with folder_of(files) as (folder, names):
            done = run_tool(
                [
                    sys.executable, "-P", "-m", "ruff", "check", "--quiet", "--exit-zero", "--isolated",
                    "--no-cache", "--ignore-noqa", "--no-respect-gitignore", "--target-version", version,
                    "--select", ",".join(self.select), "--output-format", "json", *names,
                ],
                folder,
                timeout_s=self.timeout_s,
            )  # fmt: skip
            if done.returncode != 0:
                raise ToolFailed(f"ruff: {last_words(done)}")
            return parse_report(done.stdout.decode(errors="replace"), names)


def parse_report(text: str, names: Sequence[str]) -> list[Analysis]:
    """One result per name, from Ruff's JSON. A file with a syntax error is an error.

    Raises ToolFailed when the report isn't one.
    """
    try:
        found: dict[str, list[Finding]] = {name: [] for name in names}
        broken: dict[str, str] = {}
        for row in json.loads(text):
            name, line = PurePath(row["filename"]).name, row["location"]["row"]
            if row["code"] in {None, "invalid-syntax"}:
                broken.setdefault(name, f"doesn't parse: line {line}: {row['message']}")
            else:
                found[name].append(
                    Finding(
                        tool="ruff",
                        rule=row["code"],
                        severity=_severity(row["code"]),
                        line=line,
                        message=" ".join(row["message"].split()),
                    )
                )
    except (ValueError, KeyError, TypeError) as e:
        raise ToolFailed(f"ruff: its report can't be read: {type(e).__name__}: {e}") from e
    return [
        AnalyzerError(tool="ruff", reason=broken[name]) if name in broken else by_line(found[name])
        for name in names
    ]


def _severity(code: str) -> Severity:
    family = code.rstrip("0123456789")
    return "medium" if code.startswith("E9") or family in LIKELY_BUGS else "low"
