"""Forgetting: on a panel that is sampled whatever the schedule does, and of tasks that are set aside.

A panel task that was practised counts after round e when the first half of its samples all passed there:
it looked mastered. The other half is its baseline, since samples that were picked for passing promise too
much. The same half is looked at again L rounds later, and the fall between the two is what was forgotten.
Samples come from the same random streams each time, so the half that picked the task would still flatter
it then: a policy that never changes must show no fall and no rise.

Every lag starts from the same rounds e, so that lags differ in nothing but their length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from scheduler.frozen import frozen
from srs.compare.bootstrap import Array
from srs.compare.results import Halves, RunResult
from srs.types import Review


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Falls:
    """Sums of falls (S, T) and how many went into each, by seed and task."""

    sums: Array
    counts: Array

    @property
    def mean(self) -> float:
        """The mean fall of the pass rate, positive = forgotten; nan when there is none."""
        n = self.counts.sum()
        return float(self.sums.sum() / n) if n else float("nan")

    @property
    def n(self) -> int:
        return int(self.counts.sum())


def panel_falls(runs: Sequence[RunResult], tasks: Sequence[str], lag: int, lags: Sequence[int]) -> Falls:  # fmt: skip
    """Of one arm's runs, between each of its `starts` and ``lag`` rounds later."""

    def found(run: RunResult) -> Iterable[tuple[str, float]]:
        first = first_practised(run.reviews)
        for start in starts(run, lags):
            before, after = run.panels[start], run.panels[start + lag]
            for task in before:
                fall = fall_of(before, after, task)
                if fall is not None and first.get(task, start + 1) <= start:
                    yield task, fall

    return _tabulated(runs, tasks, found)


def frozen_falls(runs: Sequence[RunResult], tasks: Sequence[str], lag: int) -> Falls:
    """Of one arm's frozen tasks, from the baseline to the probe ``lag`` rounds after it."""

    def found(run: RunResult) -> Iterable[tuple[str, float]]:
        for one in frozen(_probes(run)):
            for passed, probe in one.lagged():
                if passed == lag:
                    yield one.task, one.baseline.pass_rate - probe.pass_rate

    return _tabulated(runs, tasks, found)


def starts(run: RunResult, lags: Sequence[int]) -> list[int]:
    """The rounds after which the panel was measured, and again at every lag; never the base model's."""
    return sorted(
        round for round in run.panels if round and all(round + lag in run.panels for lag in lags)
    )


def fall_of(before: Halves, after: Halves, task: str) -> float | None:
    """By how much the pass rate fell; None when the task was not mastered at ``before``."""
    (passed, n), (base_passed, base_n) = before[task]
    if passed < n:
        return None
    _, (later_passed, later_n) = after[task]
    return base_passed / base_n - later_passed / later_n


def first_practised(reviews: Iterable[Review]) -> dict[str, int]:
    """Task → the first round that trained on it, or might have."""
    first: dict[str, int] = {}
    for review in reviews:
        if review.kind == "practice":
            first[review.task] = min(review.round, first.get(review.task, review.round))
    return first


def panel_tasks(runs: Iterable[RunResult]) -> list[str]:
    """Of all seeds: each has a panel of its own."""
    return sorted({task for run in runs for panel in run.panels.values() for task in panel})


def frozen_tasks(runs: Iterable[RunResult]) -> list[str]:
    """Of all arms and seeds: each freezes tasks of its own."""
    return sorted({review.task for run in runs for review in _probes(run)})


def _probes(run: RunResult) -> list[Review]:
    return [review for review in run.reviews if review.kind == "probe"]


def _tabulated(
    runs: Sequence[RunResult],
    tasks: Sequence[str],
    found: Callable[[RunResult], Iterable[tuple[str, float]]],
) -> Falls:
    column = {task: i for i, task in enumerate(tasks)}
    sums, counts = np.zeros((2, len(runs), len(tasks)))
    for row, run in enumerate(runs):
        for task, fall in found(run):
            sums[row, column[task]] += fall
            counts[row, column[task]] += 1
    return Falls(sums=sums, counts=counts)
