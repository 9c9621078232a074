"""The verdict: whether spacing helped, by the rule that `srs.compare.protocol` fixed before the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srs.compare.arms import CONTROLS
from srs.compare.protocol import MIN_SEEDS, rule

Verdict = dict[str, Any]
"""``helps``: True, False, or None when the rule can't be applied (``why``); ``arms``: each spaced arm's
``beats``, ``p`` (the larger of its two), and ``p_holm``; ``winners``: those that beat both controls."""


def judge(results: Mapping[str, Any]) -> Verdict:
    """Apply the rule to what `srs.compare.analysis.analyse` found.

    An arm's p is the larger of its two: it has to beat both controls, so no correction is due for the
    pair (an intersection-union test, Berger 1982). ``p_holm`` corrects for having tried several arms.
    """
    arms, fixed = results["arms"], rule(results["averaged"])
    spaced = [name for name, arm in arms.items() if arm["spaced"]]
    why = None
    if missing := [name for name in CONTROLS if name not in arms]:
        why = f"without {' and '.join(missing)} there is nothing to tell spacing from replay"
    elif not spaced:
        why = "no arm is spaced"
    elif len(results["seeds"]) < MIN_SEEDS:
        why = f"{len(results['seeds'])} paired seeds, and the rule needs {MIN_SEEDS}"
    if missing or not spaced:
        return {"rule": fixed, "helps": None, "why": why, "winners": [], "arms": {}}
    judged: dict[str, dict[str, Any]] = {}
    for name in spaced:
        against = [arms[name]["differences"][control] for control in CONTROLS]
        judged[name] = {
            "beats": {control: d["low"] > 0 for control, d in zip(CONTROLS, against, strict=True)},
            "p": max(one_sided(d) for d in against),
        }
    for name, p in zip(judged, holm([j["p"] for j in judged.values()]), strict=True):
        judged[name]["p_holm"] = p
    winners = [name for name, j in judged.items() if all(j["beats"].values())]
    helps = bool(winners) if why is None else None
    return {"rule": fixed, "helps": helps, "why": why, "winners": winners, "arms": judged}


def one_sided(difference: Mapping[str, float]) -> float:
    """The two-sided p where the arm is ahead, and 1 where it is not: falling behind is no evidence."""
    return difference["p"] if difference["value"] > 0 else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given (Holm 1979): they bound the chance of any false claim."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return adjusted
