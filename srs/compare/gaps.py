"""How far apart a schedule really practised the same task: what a policy does, not what it is called."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from srs.compare.results import RunResult

LONG: Final = 8
"""Rounds."""


def gaps(runs: Iterable[RunResult]) -> dict[str, Any] | None:
    """Rounds between two practices of a task, over all runs; None when no task came back.

    ``mean`` and ``median`` in rounds, ``long`` = the share of `LONG` rounds or more, ``n`` gaps. Audits and
    probes train on nothing and end no gap.
    """
    found = [gap for run in runs for gap in _gaps(run)]
    if not found:
        return None
    return {
        "mean": statistics.fmean(found),
        "median": float(statistics.median(found)),
        "long": sum(gap >= LONG for gap in found) / len(found),
        "n": len(found),
    }


def _gaps(run: RunResult) -> Iterable[int]:
    rounds: dict[str, list[int]] = defaultdict(list)
    for review in run.reviews:
        if review.kind == "practice":
            rounds[review.task].append(review.round)
    for practised in rounds.values():
        practised.sort()
        yield from (b - a for a, b in itertools.pairwise(practised))
