"""Analyzers by name, and several of them as one."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence

from evaluator.analyzers import valgrind
from evaluator.analyzers.bandit import Bandit
from evaluator.analyzers.command import Command
from evaluator.analyzers.finding import (
    Analysis,
    Analyzer,
    AnalyzerError,
    Finding,
    Findings,
    Severity,
    by_line,
)
from evaluator.analyzers.ruff import SELECT, Ruff
from srs.types import UserError

HELP = "bandit, ruff, ruff:RULES (ruff:F,B), or sarif:COMMAND with {dir} and {sarif}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """Several analyzers as one: all their findings from ``floor`` up; one tool's error is the file's."""

    analyzers: tuple[Analyzer, ...]
    floor: Severity = "low"

    @property
    def name(self) -> str:
        return "+".join(analyzer.name for analyzer in self.analyzers)

    def analyze(self, files: Sequence[str]) -> list[Analysis]:
        by_tool = [analyzer.analyze(files) for analyzer in self.analyzers]
        return [self._join(analyses) for analyses in zip(*by_tool, strict=True)]

    def _join(self, analyses: Sequence[Analysis]) -> Analysis:
        found: list[Finding] = []
        for analysis in analyses:
            if isinstance(analysis, AnalyzerError):
                return analysis
            found.extend(analysis.findings)
        return Findings(findings=by_line(found).findings).at_least(self.floor)


class Skipped(Exception):
    """An analyzer that can't be had on this machine, and why; the others go on."""


def analyzer(text: str, *, run_programs: bool = False) -> Analyzer:
    """The analyzer that ``text`` names.

    Raises UserError for an unknown name or a missing package. Valgrind runs what it looks at, so it
    raises UserError unless ``run_programs``, and then Skipped where it isn't installed.
    """
    name, _, rest = text.partition(":")
    match name:
        case "bandit" if not rest:
            _require("bandit")
            return Bandit()
        case "ruff":
            _require("ruff")
            return Ruff(select=tuple(rest.split(",")) if rest else SELECT)
        case "sarif":
            return Command.parse(rest)
        case "valgrind" if not rest:
            if not run_programs:
                raise UserError(
                    "--analyzer valgrind: builds and runs the programs it looks at, which are C; use"
                    " python -m evaluator.analyzers --run-programs for files that you trust"
                )
            reason = valgrind.why_not()
            if reason is not None:
                raise Skipped(f"valgrind: skipped: {reason}")
            return valgrind.Valgrind()
    raise UserError(f"--analyzer {text}: choose {HELP}")


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"--analyzer {package}: not installed: pip install {package}, or this project's extra"
            " 'analyzers'"
        )
