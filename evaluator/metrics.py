"""Numbers about verdicts, with their uncertainty. Pure and seeded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from srs.types import Verdict


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that at least one of ``k`` samples passes.

    1 - C(n-c, k) / C(n, k), for ``c`` passes among ``n`` samples, in the product form
    1 - prod over i = n-c+1 … n of (1 - k/i) (Chen et al. 2021, arXiv:2107.03374, equation 1 and
    figure 3). Raises ValueError unless 1 ≤ k ≤ n and 0 ≤ c ≤ n.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"pass@{k} needs 1 <= k <= n and 0 <= c <= n; got n={n}, c={c}")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def mean_pass_at_k(results: Sequence[tuple[int, int]], k: int) -> float:
    """`pass_at_k` averaged over tasks, each given as (n, c). Raises ValueError when empty."""
    if not results:
        raise ValueError("pass@k of no tasks")
    return math.fsum(pass_at_k(n, c, k) for n, c in results) / len(results)


def passes_by_task(verdicts: Iterable[Verdict]) -> dict[str, tuple[int, int]]:
    """Task → (graded, passed), tasks in order of first appearance."""
    results: dict[str, tuple[int, int]] = {}
    for verdict in verdicts:
        n, c = results.get(verdict.task, (0, 0))
        results[verdict.task] = (n + 1, c + verdict.passed)
    return results


def format_error_rate(verdicts: Iterable[Verdict]) -> float | None:
    """Share of candidates in which no code was found; None when there are none."""
    missing = [verdict.outcome == "no_code" for verdict in verdicts]
    return sum(missing) / len(missing) if missing else None


def bootstrap_ci(
    values: Sequence[float], *, seed: int = 0, n_resamples: int = 10_000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, resampling tasks (one value each).

    Efron & Tibshirani 1993, chapter 13. The same seed gives the same interval. Raises ValueError when
    empty, or when ``level`` is not between 0 and 1.
    """
    import numpy as np

    if not values or not 0 < level < 1:
        raise ValueError(f"bootstrap of {len(values)} values at level {level}")
    rng = np.random.default_rng(seed)
    data = np.asarray(values, dtype=np.float64)
    means = np.empty(n_resamples)
    chunk = max(1, 2_000_000 // len(data))  # bounds the index matrix to 16 MB
    for start in range(0, n_resamples, chunk):
        rows = min(chunk, n_resamples - start)
        means[start : start + rows] = data[rng.integers(len(data), size=(rows, len(data)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap_ci(
    a: Sequence[float],
    b: Sequence[float],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of mean(a) - mean(b) over the same tasks in the same order, resampled together.

    Raises ValueError when the lengths differ.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    return bootstrap_ci(differences, seed=seed, n_resamples=n_resamples, level=level)


def discordant(a: Sequence[bool], b: Sequence[bool]) -> tuple[int, int]:
    """(passed only in ``a``, passed only in ``b``) over the same tasks: what McNemar's test compares."""
    pairs = list(zip(a, b, strict=True))
    return sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p-value that the discordant counts ``b`` and ``c`` come from a fair coin.

    min(1, 2·P[X ≤ min(b, c)]), X ~ Binomial(b + c, ½) (McNemar 1947; the exact form is the sign test,
    Agresti 2013, section 11.1). 1 when nothing is discordant. Raises ValueError for a negative count.
    """
    if b < 0 or c < 0:
        raise ValueError(f"counts must be 0 or more, got {b} and {c}")
    n = b + c
    tail = sum(math.comb(n, i) for i in range(min(b, c) + 1))
    p: float = 2 * tail / 2**n
    return min(1.0, p)
