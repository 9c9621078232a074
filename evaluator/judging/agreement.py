"""How far raters agree. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cohen_kappa(a: Sequence[int], b: Sequence[int], *, quadratic: bool = False) -> float | None:
    """Agreement of two raters on the same items beyond chance: 1 complete, 0 as by chance.

    1 - Σ w·o / Σ w·e over pairs of values, o the observed and e the expected share under the raters' own
    frequencies, w = 1 for values that differ (Cohen 1960, Educational and Psychological Measurement
    20:37-46), or their squared distance with ``quadratic``, for scales (Cohen 1968, Psychological
    Bulletin 70:213-220). None when both always give the same one value: chance explains everything.
    Raises ValueError when the lengths differ or there is no item.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"kappa of {len(a)} and {len(b)} ratings")
    n = len(a)

    def weight(x: int, y: int) -> int:
        return (x - y) ** 2 if quadratic else int(x != y)

    observed = sum(weight(x, y) for x, y in zip(a, b, strict=True)) / n
    counts_a, counts_b = ({v: r.count(v) for v in set(r)} for r in (list(a), list(b)))
    expected = sum(
        weight(x, y) * n_x * n_y for x, n_x in counts_a.items() for y, n_y in counts_b.items()
    ) / (n * n)
    return 1 - observed / expected if expected else None


def fleiss_kappa(ratings: Sequence[Sequence[int]]) -> float | None:
    """Agreement of more than two raters; one sequence per item, of as many ratings each.

    (P̄ - P̄e) / (1 - P̄e): P̄ the mean share of agreeing pairs of raters per item, P̄e the sum of the
    squared overall shares of the values (Fleiss 1971, Psychological Bulletin 76:378-382). Values are
    names, not numbers: near misses count as disagreement. None when every rating is the same value.
    Raises ValueError without items, with fewer than two raters, or when their numbers differ.
    """
    if not ratings or len({len(item) for item in ratings}) != 1 or len(ratings[0]) < 2:
        raise ValueError("Fleiss' kappa needs items with the same number of ratings, 2 or more")
    n, k = len(ratings), len(ratings[0])
    values = {value for item in ratings for value in item}
    counts = [[list(item).count(value) for value in values] for item in ratings]
    agreement = math.fsum((sum(c * c for c in row) - k) / (k * (k - 1)) for row in counts) / n
    chance = math.fsum((sum(column) / (n * k)) ** 2 for column in zip(*counts, strict=True))
    return (agreement - chance) / (1 - chance) if len(values) > 1 else None
