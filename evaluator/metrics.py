"""Numbers about verdicts, with their uncertainty. Pure and seeded."""

from __future__ import annotations

import ast
import dataclasses
import math
import statistics
import warnings
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

from srs.types import Verdict


class Estimate(TypedDict):
    """A number with its 95% interval, as results write it; ``interval`` says how that was made."""

    value: float
    low: float
    high: float
    interval: Literal["bootstrap", "wilson"]


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


def parses(code: str) -> bool:
    """Whether Python's grammar accepts ``code`` (`ast.parse`, on the interpreter that runs this)."""
    return _accepted(code, ast.PyCF_ONLY_AST)


def compiles(code: str) -> bool:
    """Whether ``code`` compiles to bytecode (`compile`, nothing is run).

    Stricter than `parses`: a ``return`` outside a function parses and doesn't compile. That names are
    defined and imports exist is not checked.
    """
    return _accepted(code, 0)


def _accepted(code: str, flags: int) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the model's code, which is only read
            compile(code, "<candidate>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def parse_rate(codes: Iterable[str | None]) -> float | None:
    """Share of candidates that `parses` accepts; None (no code) isn't. None when there are none.

    `srs.prompts.extract_code` only returns what parses: over its results this is 1 - the format-error
    rate. It says more about code that came without that step.
    """
    accepted = [code is not None and parses(code) for code in codes]
    return sum(accepted) / len(accepted) if accepted else None


def compile_rate(codes: Iterable[str | None]) -> float | None:
    """Share of candidates that `compiles` accepts, counted as in `parse_rate`; never above it."""
    accepted = [code is not None and compiles(code) for code in codes]
    return sum(accepted) / len(accepted) if accepted else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CleanShare:
    """A share that rests on an analyzer: ``n_clean`` of ``n``, of which ``n_analysed`` were analysable."""

    n: int
    n_analysed: int
    n_clean: int

    @property
    def value(self) -> float | None:
        """n_clean / n, so what can't be analysed counts against it; None when n is 0."""
        return self.n_clean / self.n if self.n else None

    @property
    def coverage(self) -> float | None:
        """n_analysed / n; None when n is 0."""
        return self.n_analysed / self.n if self.n else None


def error_free_rate(clean: Iterable[bool | None]) -> CleanShare:
    """EFR: share of first answers in which the analyzer found nothing at or above its severity floor.

    Give one value a task, that of the first answer, before any repair. True: no finding. None: not
    analysable (no code, a syntax error, an analyzer that gave up), which is not clean. It was reported
    for prompts without tests, where a program that does nothing is clean too: where there are tests,
    read it beside `pass_and_clean`.
    """
    return pass_and_clean((True, value) for value in clean)


def pass_and_clean(results: Iterable[tuple[bool, bool | None]]) -> CleanShare:
    """Share of candidates that pass their tests and are clean, given as (passed, clean).

    ``clean`` as in `error_free_rate`. Never above the pass rate, nor above the error-free rate.
    """
    pairs = list(results)
    return CleanShare(
        n=len(pairs),
        n_analysed=sum(clean is not None for _, clean in pairs),
        n_clean=sum(passed and clean is True for passed, clean in pairs),
    )


def bootstrap_ci(
    values: Sequence[float], *, seed: int = 0, n_resamples: int = 10_000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, resampling tasks (one value each).

    Efron & Tibshirani 1993, chapter 13. The same seed gives the same interval. Equal values give a point:
    see `mean_with_interval`. Raises ValueError when empty, or when ``level`` is not between 0 and 1.
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


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share of ``successes`` among ``n``.

    (p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = successes/n and z the normal quantile of
    ``level`` (Wilson 1927, JASA 22:209-212; Brown, Cai & DasGupta 2001, Statistical Science 16:101-133,
    equation 4). Raises ValueError unless 0 ≤ successes ≤ n, n ≥ 1 and 0 < level < 1.
    """
    if not (0 <= successes <= n and n >= 1 and 0 < level < 1):
        raise ValueError(f"no interval for {successes} of {n} at level {level}")
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    p = successes / n
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def mean_with_interval(
    values: Sequence[float],
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    n_resamples: int = 10_000,
    level: float = 0.95,
) -> Estimate:
    """The mean of one value a task, with `bootstrap_ci`; with Wilson's interval where all lie at one bound.

    Resampling equal values gives a point, as if nothing were left to learn. Where all are the lowest
    possible value, the mean exceeds it by at most the share of values that do, times the range; 0 of n do,
    and `wilson_interval` bounds that share: [0, z²/(n + z²)] for ``bounds`` 0 and 1. At the highest value
    the mirror image. Equal values between the bounds stay a point. Raises ValueError when empty, when a
    value lies outside the bounds, or when ``level`` is not between 0 and 1.
    """
    lowest, highest = bounds
    if any(not lowest <= value <= highest for value in values):
        raise ValueError(f"a value outside {lowest} to {highest}: {min(values)}, {max(values)}")
    if values and (min(values) == highest or max(values) == lowest):
        n = len(values)
        ends = wilson_interval(n if values[0] == highest else 0, n, level=level)
        low, high = (lowest + (highest - lowest) * end for end in ends)
        return {"value": float(values[0]), "low": low, "high": high, "interval": "wilson"}
    low, high = bootstrap_ci(values, seed=seed, n_resamples=n_resamples, level=level)
    return {"value": sum(values) / len(values), "low": low, "high": high, "interval": "bootstrap"}


def ratio_ci(
    sums: Sequence[tuple[float, float]],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of sum(numerators) / sum(denominators), resampling whole clusters.

    ``sums``: each cluster's two sums, such as a user's acceptances and suggestions. Clusters are drawn
    with replacement and the ratio is taken anew, so what is alike within a cluster doesn't narrow the
    interval (Davison & Hinkley 1997, sections 2.4 and 3.8). Resamples whose denominator is 0 are left
    out. Raises ValueError when all denominators are 0, one is negative, or ``level`` is not between 0
    and 1.
    """
    import numpy as np

    data = np.asarray(sums, dtype=np.float64).reshape(-1, 2)
    if not 0 < level < 1 or not data[:, 1].sum() > 0 or data[:, 1].min() < 0:
        raise ValueError(f"bootstrap of {len(data)} ratios at level {level}")
    rng = np.random.default_rng(seed)
    n = len(data)
    draws = np.empty((n_resamples, 2))
    chunk = max(1, 2_000_000 // n)  # bounds the index matrix to 16 MB
    for start in range(0, n_resamples, chunk):
        rows = min(chunk, n_resamples - start)
        drawn = rng.integers(n, size=(rows, n))
        draws[start : start + rows] = np.stack([data[:, i][drawn].sum(1) for i in (0, 1)], axis=1)
    defined = draws[draws[:, 1] > 0]
    low, high = np.quantile(defined[:, 0] / defined[:, 1], [(1 - level) / 2, (1 + level) / 2])
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


def difference_with_interval(
    a: Sequence[float],
    b: Sequence[float],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
    level: float = 0.95,
) -> Estimate:
    """mean(a) - mean(b) over the same tasks, values from 0 to 1, with `paired_bootstrap_ci`.

    Where no task differs, resampling gives a point. The difference of two means is at most the share of
    tasks that differ, and `wilson_interval` bounds that share, 0 of n: ±z²/(n + z²). Where both are 0 on
    every task that equals Newcombe's interval for paired shares (Newcombe 1998, Statistics in Medicine
    17:2635-2650, method 10). Raises ValueError when the lengths differ or there is no task.
    """
    value = sum(a) / len(a) - sum(b) / len(b) if a and b else 0.0
    if a and all(x == y for x, y in zip(a, b, strict=True)):
        half = wilson_interval(0, len(a), level=level)[1]
        return {"value": 0.0, "low": -half, "high": half, "interval": "wilson"}
    low, high = paired_bootstrap_ci(a, b, seed=seed, n_resamples=n_resamples, level=level)
    return {"value": value, "low": low, "high": high, "interval": "bootstrap"}


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
