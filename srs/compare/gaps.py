"""How far apart a schedule really practised the same task: what a policy does, not what it is called."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from scheduler.evidence import RECALLED
from srs.compare.results import RunResult
from srs.types import Review

LONG: Final = 8
"""Rounds."""


def gaps(runs: Iterable[RunResult]) -> dict[str, Any] | None:
    """Rounds between two practices of a task, over all runs; None when no task came back.

    ``mean`` and ``median`` in rounds, ``long`` = the share of `LONG` rounds or more, ``n`` gaps;
    ``after_success`` and ``after_failure``: the mean of those that followed one, None where none did. The
    mean of all says how often tasks came back; that it is longer after a success is what spacing means.
    Audits and probes train on nothing and end no gap.
    """
    found = [gap for run in runs for gap in _gaps(run)]
    if not found:
        return None
    rounds = [gap for gap, _ in found]
    return {
        "mean": statistics.fmean(rounds),
        "median": float(statistics.median(rounds)),
        "long": sum(gap >= LONG for gap in rounds) / len(rounds),
        "n": len(rounds),
        "after_success": _mean(gap for gap, success in found if success),
        "after_failure": _mean(gap for gap, success in found if not success),
    }


def growth(found: Mapping[str, Any] | None) -> float | None:
    """How many times longer the gaps after a success were; None where that can't be said."""
    if found is None or found["after_success"] is None or found["after_failure"] is None:
        return None
    ratio: float = found["after_success"] / found["after_failure"]
    return ratio


def _mean(values: Iterable[int]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None


def _gaps(run: RunResult) -> Iterable[tuple[int, bool]]:
    """Each gap, and whether the practice before it was a success."""
    practised: dict[str, list[Review]] = defaultdict(list)
    for review in run.reviews:
        if review.kind == "practice":
            practised[review.task].append(review)
    for reviews in practised.values():
        reviews.sort(key=lambda review: review.round)
        for before, after in itertools.pairwise(reviews):
            yield after.round - before.round, before.pass_rate >= RECALLED
