"""The verdict: whether spacing helped, by the rule that `srs.compare.protocol` fixed before the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srs.compare.arms import CONTROLS, TARGET
from srs.compare.protocol import MIN_SEEDS, RULE

Verdict = dict[str, Any]
"""``helps``: True, False, or None when the rule can't be applied (``why``); ``arms``: each spaced arm's
``beats``, ``p`` (the larger of its two), and ``p_holm``; ``winners``: those that beat both controls."""


def judge(results: Mapping[str, Any]) -> Verdict:
    """Apply the rule to what `srs.compare.analysis.analyse` found.

    An arm's p is the larger of its two: it has to beat both controls, so no correction is due for the
    pair (an intersection-union test, Berger 1982). ``p_holm`` corrects for having tried several arms.
    """
    arms = results["arms"]
    spaced = [name for name, arm in arms.items() if arm["spaced"]]
    why = None
    if missing := [name for name in CONTROLS if name not in arms]:
        why = f"without {' and '.join(missing)} there is nothing to tell spacing from replay"
    elif not spaced:
        why = "no arm is spaced"
    elif len(results["seeds"]) < MIN_SEEDS:
        why = f"{len(results['seeds'])} paired seeds, and the rule needs {MIN_SEEDS}"
    if missing or not spaced:
        return {"rule": RULE, "helps": None, "why": why, "winners": [], "arms": {}}
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
    return {"rule": RULE, "helps": helps, "why": why, "winners": winners, "arms": judged}


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


def verdict_md(results: Mapping[str, Any], verdict: Verdict, seed_batches: Sequence[Sequence[int]]) -> str:  # fmt: skip
    """The verdict in words, with what speaks against trusting it."""
    lines = ["# Verdict", "", f"Rule, fixed before the runs: *{RULE}*", "", _sentence(verdict), ""]
    for name, judged in verdict["arms"].items():
        lines.append(_arm(name, judged, results["arms"][name], len(results["seeds"])))
    if verdict["arms"]:
        lines += ["", _multiplicity(verdict), ""]
    lines += _goals(results)
    lines += ["## Read with care", "", *_cautions(results, seed_batches)]
    return "\n".join(lines) + "\n"


def _sentence(verdict: Verdict) -> str:
    match verdict["helps"]:
        case True:
            who = " and ".join(verdict["winners"])
            return f"**Spacing helped here**: {who} beat both random_review and learnability."
        case False:
            return "**Spacing did not help here**: no spaced arm beat both random_review and learnability."
        case _:
            return f"**No verdict**: {verdict['why']}."


def _arm(name: str, judged: Mapping[str, Any], arm: Mapping[str, Any], n_seeds: int) -> str:
    parts = []
    for control in CONTROLS:
        d = arm["differences"][control]
        parts.append(
            f"{points(d)} against {control}, ahead in {d['seeds_better']} of {n_seeds} seeds"
        )
    won = "beats both" if all(judged["beats"].values()) else "does not beat both"
    return (
        f"- {name} {won}: {'; '.join(parts)}. p = {judged['p']:.2g}, Holm {judged['p_holm']:.2g}."
    )


def _multiplicity(verdict: Verdict) -> str:
    k = len(verdict["arms"])
    kept = [name for name, judged in verdict["arms"].items() if judged["p_holm"] < 0.05]
    if k == 1:
        return "One spaced arm was tried, so nothing is corrected for."
    after = f"{' and '.join(kept)} would still" if kept else "none would"
    return (
        f"{k} spaced arms were tried, each with its own chance of a lucky win. The rule does not correct "
        f"for that; after Holm's correction at 0.05 {after} beat both controls."
    )


def _goals(results: Mapping[str, Any]) -> list[str]:
    """The project's two goals, for every spaced arm: half the candidates, less than half the forgetting."""
    arms = results["arms"]
    spaced = {name: arm for name, arm in arms.items() if arm["spaced"]}
    if TARGET not in arms or not spaced:
        return []
    lines = [f"## Against {TARGET}", ""]
    for name, arm in spaced.items():
        reach = arm["candidates_to_target"]
        when = (
            "not reached"
            if reach["share"] is None
            else f"reached after {100 * reach['share']:.0f}% of its candidates"
        )
        lines.append(
            f"- {name}: {points(arm['differences'][TARGET])}; {TARGET}'s final pass@1 {when} "
            f"({100 * reach['reached']:.0f}% of resamples reach it); pass rate lost "
            + (_falls(arm, arms[TARGET]) or "not measured")
            + "."
        )
    return [*lines, ""]


def _falls(arm: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{100 * fall['value']:+.1f} points at lag {lag} ({TARGET} {100 * other['value']:+.1f})"
        for lag, fall in arm["forgetting"].items()
        if fall and (other := target["forgetting"][lag])
    )


def _cautions(results: Mapping[str, Any], seed_batches: Sequence[Sequence[int]]) -> list[str]:
    n_seeds = len(results["seeds"])
    lines = [
        f"- {n_seeds} paired seed{'s' * (n_seeds != 1)}, {results['n_tasks']} held-out tasks, "
        f"{results['samples']} samples each. Intervals resample seeds and tasks; with few seeds they can be "
        "too narrow where arms differ more from seed to seed than from task to task."
    ]
    if len(seed_batches) > 1:
        lines.append(
            f"- Seeds were added in {len(seed_batches)} steps; whoever adds seeds after seeing a result "
            "can find one by chance."
        )
    unfinished = [s for batch in seed_batches for s in batch if s not in results["seeds"]]
    if unfinished:
        named = ", ".join(map(str, unfinished))
        lines.append(f"- Not finished in every arm, and left out: seed{'s' * (len(unfinished) > 1)} {named}.")  # fmt: skip
    if results["notes"]:
        lines += [f"- Budgets differ. {note}." for note in results["notes"]]
    else:
        lines.append(
            "- Budgets are equal in all runs: rounds, candidates, optimiser steps, DPO pairs; SFT tokens "
            "to within 1%."
        )
    return lines


def points(estimate: Mapping[str, float]) -> str:
    """``+1.2 points [-0.3, +2.6]``."""
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"
