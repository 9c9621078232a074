"""All runs of a comparison side by side: arms, paired by seed and by held-out task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from srs.compare.arms import Arm
from srs.compare.bootstrap import Array, Resamples, interval
from srs.compare.forgetting import frozen_tasks, panel_tasks
from srs.compare.results import Counts, RunResult
from srs.runview import Estimate
from srs.types import UserError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Tasks of which each seed has some, and the draws of seeds and tasks."""

    tasks: Sequence[str]
    draws: Resamples


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All arms' runs of the same seeds on the same held-out tasks, and the draws that pair them."""

    arms: Sequence[Arm]
    seeds: Sequence[int]
    tasks: Sequence[str]
    runs: Mapping[str, Sequence[RunResult]]
    """Arm → its runs, in the order of ``seeds``."""
    draws: Resamples
    panel: Pool | None
    frozen: Pool | None
    level: float
    lags: Sequence[int]
    averaged: int
    """So many evaluations, the last ones, make up the final pass rate."""

    def rates(self, arm: str) -> Array:
        """Final pass rate of each seed and task: (S, T)."""
        return np.array(
            [
                np.mean([self.row(m.held_out) for m in run.last(self.averaged)], axis=0)
                for run in self.runs[arm]
            ]
        )

    def last_rates(self, arm: str) -> Array:
        """The same of the last evaluation alone."""
        return np.array([self.row(run.final.held_out) for run in self.runs[arm]])

    def row(self, counts: Counts) -> list[float]:
        return [counts[task][0] / counts[task][1] for task in self.tasks]

    def mean(self, values: Array) -> Estimate:
        return interval(float(values.mean()), self.draws.means(values), self.level)


def tabulate(
    runs: Sequence[RunResult],
    arms: Sequence[Arm],
    *,
    level: float,
    resamples: int,
    lags: Sequence[int],
    averaged: int,
) -> Table:
    """The runs of the seeds that every arm has finished.

    Raises UserError when there is no such seed, or runs were not measured on the same held-out tasks.
    """
    by_arm = {arm.name: {run.seed: run for run in runs if run.arm == arm.name} for arm in arms}
    seeds = sorted(set.intersection(*(set(found) for found in by_arm.values())))
    if not seeds:
        behind = min(by_arm, key=lambda name: len(by_arm[name]))
        raise UserError(
            f"no seed is finished in every arm ({behind} has {len(by_arm[behind])}); let it go on"
        )
    kept = {name: [found[seed] for seed in seeds] for name, found in by_arm.items()}
    everything = [run for found in kept.values() for run in found]
    tasks = sorted(everything[0].final.held_out)
    for run in everything:
        if any(sorted(m.held_out) != tasks for m in run.measurements):
            raise UserError(
                f"{run.arm}, seed {run.seed}: measured on other held-out tasks than "
                f"{everything[0].arm}, seed {everything[0].seed}: they can't be compared"
            )

    def pool(tasks: Sequence[str], seed: int) -> Pool | None:
        if not tasks:
            return None
        draws = Resamples.draw(len(seeds), len(tasks), n=resamples, seed=seed)
        return Pool(tasks=tasks, draws=draws)

    return Table(
        arms=arms,
        seeds=seeds,
        tasks=tasks,
        runs=kept,
        draws=Resamples.draw(len(seeds), len(tasks), n=resamples, seed=0),
        panel=pool(panel_tasks(everything), 1),
        frozen=pool(frozen_tasks(everything), 2),
        level=level,
        lags=lags,
        averaged=averaged,
    )
