"""Verdicts of one or more raters become numbers: accuracy or means with intervals, and agreement. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from evaluator.judging.agreement import cohen_kappa, fleiss_kappa
from evaluator.judging.rubric import RUBRICS, Field, Judgement, Kind
from evaluator.metrics import mean_with_interval, wilson_interval

ByRater = Mapping[str, Mapping[str, Judgement]]
"""Rater → item id → judgement."""


def summarize(ids: Sequence[str], raters: ByRater, kind: Kind) -> dict[str, Any]:
    """``raters``: each one's numbers, over the items it was asked about; ``agreement``: of each field.

    An unreadable verdict counts as a failure: not correct, or the lowest score. ``coverage`` is the
    share of all items that have a readable one, and ``of_readable`` the number over those alone.
    """
    fields = RUBRICS[kind]
    found: dict[str, Any] = {
        "raters": {name: _rater(ids, judged, fields) for name, judged in raters.items()}
    }
    if len(raters) > 1:
        found["agreement"] = {f.name: _agreement(ids, raters, f) for f in fields}
    return found


def majority(ids: Sequence[str], raters: ByRater, field: Field) -> tuple[dict[str, Judgement], int]:
    """What most raters said of each item on a yes/no field, and how many ties there were (a tie is a no)."""
    said: dict[str, Judgement] = {}
    ties = 0
    for id in ids:
        votes = [_value(raters[name][id], field) for name in raters if id in raters[name]]
        if votes:
            ties += 2 * sum(votes) == len(votes)
            verdict = int(2 * sum(votes) > len(votes))
            said[id] = Judgement(id=id, rater="majority", values={field.name: verdict})
    return said, ties


def _rater(ids: Sequence[str], judged: Mapping[str, Judgement], fields: Sequence[Field]) -> dict[str, Any]:  # fmt: skip
    asked = [judged[id] for id in ids if id in judged]
    readable = [j for j in asked if j.values is not None]
    return {
        "asked": len(asked),
        "unreadable": len(asked) - len(readable),
        "coverage": len(readable) / len(ids),
        **{
            field.name: {
                **_number([_value(j, field) for j in asked], field),
                "of_readable": _number([_value(j, field) for j in readable], field),
            }
            for field in fields
        },
    }


def _number(values: Sequence[int], field: Field) -> dict[str, Any]:
    """Mean and 95% interval: Wilson's for yes and no, for a scale `evaluator.metrics.mean_with_interval`."""
    n = len(values)
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0}
    if field.is_binary:
        low, high = wilson_interval(sum(values), n)
        return {"value": sum(values) / n, "low": low, "high": high, "interval": "wilson", "n": n}
    return {**mean_with_interval(values, bounds=(field.worst, field.best)), "n": n}


def _value(judgement: Judgement, field: Field) -> int:
    return field.worst if judgement.values is None else judgement.values[field.name]


def _agreement(ids: Sequence[str], raters: ByRater, field: Field) -> dict[str, Any]:
    """κ of each pair, on what both judged readably, and Fleiss' κ of all, on what all did."""

    def readable(names: Sequence[str]) -> list[list[int]]:
        return [
            [_value(raters[name][id], field) for name in names]
            for id in ids
            if all(id in raters[name] and raters[name][id].values is not None for name in names)
        ]

    pairs = []
    for a, b in itertools.combinations(raters, 2):
        both = readable([a, b])
        kappa = None
        if both:
            kappa = cohen_kappa(*map(list, zip(*both, strict=True)), quadratic=not field.is_binary)
        same = sum(x == y for x, y in both) / len(both) if both else None
        pairs.append({"raters": [a, b], "n": len(both), "same": same, "cohen_kappa": kappa})
    found: dict[str, Any] = {
        "weights": "none" if field.is_binary else "quadratic",
        "pairs": pairs,
    }
    if len(raters) > 2:
        everyone = readable(list(raters))
        found["fleiss"] = {
            "n": len(everyone),
            "fleiss_kappa": fleiss_kappa(everyone) if everyone else None,
        }
    return found
