"""Forgetting on the panel: training tasks that every evaluation samples, whatever the schedule does.

A task counts at evaluation e when the first half of its samples all passed there: it looked mastered. The
other half is its baseline, since samples that were picked for passing promise too much. The same half is
looked at again L rounds later, and the fall between the two is what was forgotten. Evaluations draw
from the same random streams each time, so the half that picked the task would still flatter it then: a
policy that never changes must show no fall and no rise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from srs.compare.bootstrap import Array
from srs.compare.results import Measurement, RunResult


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Falls:
    """Sums of falls (S, P) and how many went into each, by seed and panel task."""

    sums: Array
    counts: Array

    @property
    def mean(self) -> float:
        """The mean fall of the pass rate, positive = forgotten; nan when nothing was mastered."""
        n = self.counts.sum()
        return float(self.sums.sum() / n) if n else float("nan")

    @property
    def n(self) -> int:
        return int(self.counts.sum())


def falls(runs: Sequence[RunResult], tasks: Sequence[str], lag: int) -> Falls:
    """Of one arm's runs, over every two evaluations that lie ``lag`` rounds apart."""
    sums = np.zeros((len(runs), len(tasks)))
    counts = np.zeros((len(runs), len(tasks)))
    for row, run in enumerate(runs):
        by_round = {m.round: m for m in run.measurements}
        for before in run.measurements:
            after = by_round.get(before.round + lag)
            if after is None:
                continue
            for column, task in enumerate(tasks):
                fall = fall_of(before, after, task)
                if fall is not None:
                    sums[row, column] += fall
                    counts[row, column] += 1
    return Falls(sums=sums, counts=counts)


def fall_of(before: Measurement, after: Measurement, task: str) -> float | None:
    """By how much the pass rate fell; None when the task was not mastered at ``before``."""
    (passed, n), (base_passed, base_n) = before.panel[task]
    if passed < n:
        return None
    _, (later_passed, later_n) = after.panel[task]
    return base_passed / base_n - later_passed / later_n


def panel_tasks(runs: Sequence[RunResult]) -> list[str]:
    """The panel's tasks; empty when a run has no panel."""
    panels = [set(m.panel) for run in runs for m in run.measurements]
    return sorted(set.intersection(*panels)) if panels else []
