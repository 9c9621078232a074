"""What an analyzer says of one file: findings, or that it could not look. Never a silent nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, Protocol

Severity = Literal["low", "medium", "high"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high")


class ToolFailed(Exception):
    """The analyzer itself failed: missing, crashed, out of time, or its report can't be read.

    That says nothing about the files. It is for whoever runs the tool, as a broken sandbox is.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One complaint, e.g. Bandit's ``B307`` in line 3. ``line`` counts from 1; 0 = the whole file."""

    tool: str
    rule: str
    severity: Severity
    line: int
    message: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The file was looked at; these are all complaints, by line. Empty = clean."""

    findings: tuple[Finding, ...] = ()

    def at_least(self, floor: Severity) -> Findings:
        """Without the findings below this severity."""
        lowest = SEVERITIES.index(floor)
        return Findings(
            findings=tuple(f for f in self.findings if SEVERITIES.index(f.severity) >= lowest)
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzerError:
    """The file could not be looked at, and why: it doesn't parse, or the tool gives up on it."""

    tool: str
    reason: str


Analysis = Findings | AnalyzerError


class Analyzer(Protocol):
    """Looks at code. It may parse a file, and must neither import nor run it."""

    @property
    def name(self) -> str: ...

    def analyze(self, files: Sequence[str]) -> list[Analysis]:
        """One result per file, in their order. Raises ToolFailed when the tool itself is broken."""
        ...


def is_clean(analysis: Analysis) -> bool:
    """Whether the file was looked at and nothing was found. An error is never clean."""
    return isinstance(analysis, Findings) and not analysis.findings


def by_line(findings: Sequence[Finding]) -> Findings:
    """Findings in the order of their lines, then rules: the same whatever order a tool reports in."""
    ordered = sorted(findings, key=lambda f: (f.line, f.tool, f.rule, f.message))
    return Findings(findings=tuple(dict.fromkeys(ordered)))
