"""Resampling seeds and tasks together, so that intervals hold for other seeds and other tasks.

Every arm runs the same seeds on the same tasks: the two are crossed, not nested. So a resample draws
seeds and, apart from that, tasks, and takes the table of the drawn rows and columns (the pigeonhole
bootstrap: Owen 2007, Annals of Applied Statistics 1(2), 386-411, which shows it to be conservative for
the part of the variance that belongs to single cells). Of S seeds S - 1 are drawn: with all S the spread
among a handful of seeds comes out too small by (S - 1) / S (McCarthy & Snowden 1985). The same draws
serve all arms and all rounds, which pairs them.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
from numpy.typing import NDArray

from srs.runview import Estimate

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resamples:
    """``seeds`` (n, S) and ``tasks`` (n, T): how often each was drawn, as a share of the draws."""

    seeds: Array
    tasks: Array

    @classmethod
    def draw(cls, n_seeds: int, n_tasks: int, *, n: int, seed: int = 0) -> Self:
        rng = np.random.default_rng(seed)
        n_drawn = max(n_seeds - 1, 1)
        return cls(
            seeds=rng.multinomial(n_drawn, np.full(n_seeds, 1 / n_seeds), size=n) / n_drawn,
            tasks=rng.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=n) / n_tasks,
        )

    def means(self, values: Array) -> Array:
        """The mean of a table (S, T) in each resample: (n,)."""
        means: Array = ((self.seeds @ values) * self.tasks).sum(axis=1)
        return means

    def ratios(self, sums: Array, counts: Array) -> Array:
        """Sum over count, each a table (S, T), in each resample: (n,), nan where nothing is counted."""
        top, bottom = self.means(sums), self.means(counts)
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def interval(value: float, resampled: Array, level: float) -> Estimate:
    """The percentile interval around an estimate (Efron & Tibshirani 1993, chapter 13); nan left out."""
    low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value=value, low=float(low), high=float(high))


def p_value(resampled: Array) -> float:
    """Two-sided p that a difference is 0, which falls below 0.05 as its 95% interval leaves 0 out.

    Twice the smaller share of resamples on either side of 0, counting the estimate itself as one
    resample (Davison & Hinkley 1997, section 4.4), so that it is never 0.
    """
    n = len(resampled)
    below, above = int((resampled <= 0).sum()), int((resampled >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (n + 1))
