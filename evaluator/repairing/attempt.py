"""One graded and analysed answer to an item, and what is to be said of it in a repair prompt."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from evaluator.analyzers.finding import Analysis, AnalyzerError, Finding
from srs.types import Candidate, Outcome, Verdict

Arm = Literal["feedback", "control"]
ARMS: tuple[Arm, ...] = ("feedback", "control")
Key = tuple[str, int]
"""(task, index): an item. A task has as many items as candidates at the start."""

SAID: dict[Outcome, str] = {
    "failed": "{n_passed} of {n_collected} tests pass.",
    "error": "The program can't be imported, or the tests don't find what they call.",
    "timeout": "It doesn't end in time.",
    "memory": "It uses too much memory.",
    "output_limit": "It writes too much output.",
    "no_code": "The answer held no Python program.",
    "tampered": "It passes by deceiving the tests, not by answering them.",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """``epoch`` 0 is the answer before any repair.

    ``outcome`` None: the task has no tests. ``findings`` None: no analyzer was asked; ``unanalysed``: why
    the analyzers could not look. ``no_room``: the prompt filled the model's context; there is no answer.
    """

    task: str
    index: int
    epoch: int
    prompt: str
    completion: str
    code: str | None
    policy: str
    seed: int
    n_tokens: int
    no_room: bool
    outcome: Outcome | None
    n_passed: int
    n_collected: int
    detail: str
    findings: tuple[Finding, ...] | None
    unanalysed: str | None

    @property
    def key(self) -> Key:
        return self.task, self.index

    @property
    def passed(self) -> bool | None:
        """None when the task has no tests."""
        return None if self.outcome is None else self.outcome == "passed"

    @property
    def clean(self) -> bool | None:
        """None when no analyzer was asked. What could not be analysed is not clean."""
        return None if self.findings is None else self.unanalysed is None and not self.findings

    @property
    def ok(self) -> bool:
        """Nothing to repair: passed, where there are tests, and clean, where there are analyzers."""
        return self.passed is not False and self.clean is not False

    def problems(self) -> list[str]:
        """What a repair prompt says: the tests' result, then the findings. Empty exactly when ``ok``."""
        problems = []
        if self.outcome is not None and self.outcome != "passed":
            said = SAID[self.outcome].format(n_passed=self.n_passed, n_collected=self.n_collected)
            # For an answer without a program the detail would repeat it.
            detail = "" if self.outcome == "no_code" else self.detail.strip()
            problems.append(f"{said} {detail}".rstrip())
        if self.unanalysed is not None and self.outcome != "no_code":
            problems.append(f"It could not be analysed: {self.unanalysed}")
        for f in self.findings or ():
            where = f"Line {f.line}: " if f.line else ""
            problems.append(f"{where}{f.message} ({f.tool} {f.rule}, {f.severity})")
        return problems


def attempt(
    candidate: Candidate, verdict: Verdict | None, analysis: Analysis | None, *, epoch: int
) -> Attempt:
    """The record of a candidate. ``verdict`` None: no tests; ``analysis`` None: no analyzers."""
    failed = isinstance(analysis, AnalyzerError)
    findings: tuple[Finding, ...] | None = None
    if analysis is not None:
        findings = () if isinstance(analysis, AnalyzerError) else analysis.findings
    return Attempt(
        task=candidate.task,
        index=candidate.index,
        epoch=epoch,
        prompt=candidate.prompt,
        completion=candidate.completion,
        code=candidate.code,
        policy=candidate.policy,
        seed=candidate.seed,
        n_tokens=candidate.n_tokens,
        no_room=candidate.truncated and candidate.n_tokens == 0,
        outcome=verdict.outcome if verdict else None,
        n_passed=verdict.n_passed if verdict else 0,
        n_collected=verdict.n_collected if verdict else 0,
        detail=verdict.detail if verdict else "",
        findings=findings,
        unanalysed=f"{analysis.tool}: {analysis.reason}" if failed else None,  # type: ignore[union-attr]
    )


def attempt_from_json(row: dict[str, Any]) -> Attempt:
    """The inverse of `srs.types.to_json`. Raises TypeError for a missing or unknown field."""
    findings = row.get("findings")
    if findings is not None:
        findings = tuple(Finding(**finding) for finding in findings)
    return Attempt(**{**row, "findings": findings})
