"""Pass@1 over the candidates spent: the curve, the area under it, and where it reaches the target."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from srs.compare.arms import TARGET
from srs.compare.bootstrap import Array
from srs.compare.table import Table


def areas(table: Table, arm: str) -> Array:
    """Mean pass rate over the candidates spent (trapezoids), by seed and task: (S, T)."""
    found = []
    for run in table.runs[arm]:
        spent = np.array([m.candidates for m in run.measurements], dtype=np.float64)
        rates = np.array([table.row(m.held_out) for m in run.measurements])
        if spent[-1] > spent[0]:
            steps = np.diff(spent)[:, None]
            area = ((rates[1:] + rates[:-1]) / 2 * steps).sum(axis=0)
            found.append(area / (spent[-1] - spent[0]))
        else:
            found.append(rates[-1])
    return np.array(found)


def curve(table: Table, arm: str) -> list[dict[str, Any]]:
    """Pass@1 with its interval at each of the arm's `points`."""
    return [
        {"round": round, "candidates": candidates, **dataclasses.asdict(table.mean(rates))}
        for round, candidates, rates in points(table, arm)
    ]


def candidates_to_target(table: Table, arm: str) -> dict[str, Any] | None:
    """Practised candidates until the arm's curve first reaches the target arm's final pass@1.

    Linear between evaluations. ``value``, ``low``, ``high``: None = not reached with the budget.
    ``share``: of all the candidates that the target arm used, with ``share_low`` and ``share_high``.
    ``reached``: the share of resamples that reach the target, which is resampled with them. No result at
    all without the target arm.
    """
    if TARGET not in table.runs:
        return None
    measured = points(table, arm)
    spent = np.array([candidates for _, candidates, _ in measured])
    target = table.rates(TARGET)
    value = crossing(spent, np.array([[r.mean() for _, _, r in measured]]), target.mean()[None])[0]
    means = np.stack([table.draws.means(rates) for _, _, rates in measured], axis=1)
    resampled = crossing(spent, means, table.draws.means(target))
    bounds = [(1 - table.level) / 2, (1 + table.level) / 2]
    low, high = np.quantile(resampled, bounds, method="nearest")
    total = float(np.mean([run.spent.candidates for run in table.runs[TARGET]]))
    return {
        "value": _finite(value),
        "low": _finite(low),
        "high": _finite(high),
        **{
            key: _finite(candidates / total) if total else None
            for key, candidates in (("share", value), ("share_low", low), ("share_high", high))
        },
        "reached": float(np.isfinite(resampled).mean()),
    }


def crossing(spent: Array, curves: Array, targets: Array) -> Array:
    """Where each curve (n, E) over ``spent`` (E,) first reaches its target (n,): (n,), inf = nowhere."""
    reached = curves >= targets[:, None]
    first = reached.argmax(axis=1)
    rows = np.arange(len(curves))
    before = np.maximum(first - 1, 0)
    low, high = curves[rows, before], curves[rows, first]
    rise = np.where(high > low, high - low, 1.0)
    share = np.where(first > 0, (targets - low) / rise, 0.0)
    found = spent[before] + share * (spent[first] - spent[before])
    return np.where(reached.any(axis=1), found, np.inf)


def points(table: Table, arm: str) -> list[tuple[int, float, Array]]:
    """(round, mean candidates, rates (S, T)) at each evaluation that all runs of the arm have, and at
    their ends, under the last of their rounds: runs of an arm may end in different ones.
    """
    runs = table.runs[arm]
    by_round = [{m.round: m for m in run.measurements} for run in runs]
    measured = [
        (round, [found[round] for found in by_round])
        for round in sorted(set.intersection(*map(set, by_round)))
    ]
    ends = [run.final for run in runs]
    if len({end.round for end in ends}) > 1:
        measured.append((max(end.round for end in ends), ends))
    return [
        (
            round,
            float(np.mean([m.candidates for m in each])),
            np.array([table.row(m.held_out) for m in each]),
        )
        for round, each in measured
    ]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
