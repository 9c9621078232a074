"""``verdict.md``: the verdict in words, the project's goals, and what speaks against trusting either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from srs.compare.arms import CONTROLS, TARGET
from srs.compare.gaps import LONG, growth
from srs.compare.protocol import UNKNOWN, Protocol
from srs.compare.verdict import Verdict

HALF: Final = 0.5
UNCLEAR: Final = "cannot tell"


def verdict_md(results: Mapping[str, Any], verdict: Verdict, protocol: Protocol) -> str:
    """The whole page, Markdown."""
    arms = results["arms"]
    lines = [
        "# Verdict",
        "",
        f"Rule, fixed before the runs: *{verdict['rule']}*",
        "",
        _sentence(verdict),
        "",
    ]
    if verdict["arms"]:
        lines += [_sight(verdict, arms), ""]
    lines += [_arm(name, judged, arms[name], len(results["seeds"])) for name, judged in verdict["arms"].items()]  # fmt: skip
    if verdict["arms"]:
        lines += ["", _multiplicity(verdict), ""]
    lines += _goals(results)
    lines += ["## What the schedules did", "", *_gaps(arms), ""]
    lines += ["## Read with care", "", *_cautions(results, verdict, protocol)]
    return "\n".join(lines) + "\n"


def _sentence(verdict: Verdict) -> str:
    match verdict["helps"]:
        case True:
            who = " and ".join(verdict["winners"])
            return f"**Spacing helped here**: {who} beat both random_review and learnability."
        case False:
            return (
                "**Spacing was not shown to help here**: no spaced arm beat both random_review and "
                "learnability."
            )
        case _:
            return f"**No verdict**: {verdict['why']}."


def _sight(verdict: Verdict, arms: Mapping[str, Any]) -> str:
    """What these runs could have seen: half the width of the rule's intervals."""
    differences = [arms[name]["differences"][c] for name in verdict["arms"] for c in CONTROLS]
    half = [100 * (d["high"] - d["low"]) / 2 for d in differences]
    return (
        f"The intervals of the rule reach {min(half):.1f} to {max(half):.1f} points to either side: a true "
        "difference as large as that is found about every second time, a smaller one more rarely."
    )


def _arm(name: str, judged: Mapping[str, Any], arm: Mapping[str, Any], n_seeds: int) -> str:
    """The two differences of the rule, then those to every other arm that isn't spaced."""
    differences = arm["differences"]
    parts = []
    for control in CONTROLS:
        d = differences[control]
        parts.append(
            f"{points(d)} against {control}, ahead in {d['seeds_better']} of {n_seeds} seeds"
        )
    won = "beats both" if all(judged["beats"].values()) else "does not beat both"
    others = [f"{points(d)} against {o}" for o, d in differences.items() if o not in CONTROLS]
    return (
        f"- {name} {won}: {'; '.join(parts)}. p = {judged['p']:.2g}, Holm {judged['p_holm']:.2g}."
        + (f" Outside the rule: {'; '.join(others)}." if others else "")
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
    """Final pass@1, candidates and forgetting of every spaced arm against the target arm."""
    arms = results["arms"]
    spaced = {name: arm for name, arm in arms.items() if arm["spaced"]}
    if TARGET not in arms or not spaced:
        return []
    n_seeds = len(results["seeds"])
    cells = f"n = {n_seeds} seed{'s' * (n_seeds != 1)} x {results['n_tasks']} tasks"
    lines = [f"## Against {TARGET}", ""]
    for name, arm in spaced.items():
        d = arm["differences"][TARGET]
        lines += [
            f"- {name}",
            f"  - final pass@1: {points(d)}, {cells}: {_sign(d, 'higher', 'lower')}.",
            f"  - {reach_words(arm['candidates_to_target'], cells)}.",
            *(f"  - {line}." for line in _falls(arm["forgetting"], arms[TARGET]["forgetting"])),
        ]
    return [*lines, ""]


def _sign(difference: Mapping[str, float], more: str, less: str) -> str:
    if difference["low"] > 0:
        return more
    return less if difference["high"] < 0 else UNCLEAR


def reach_words(reach: Mapping[str, Any], cells: str) -> str:
    """Not reaching the target counts as beyond any number of candidates."""
    value, low, high = (
        "not reached" if reach[key] is None else f"{100 * reach[key]:.0f}%"
        for key in ("share", "share_low", "share_high")
    )
    if reach["share_low"] is None or reach["share_low"] > HALF:
        judged = "more than half"
    elif reach["share_high"] is not None and reach["share_high"] <= HALF:
        judged = "half or less"
    else:
        judged = f"{UNCLEAR} whether half is enough"
    return (
        f"candidates to {TARGET}'s final pass@1, as a share of all its own: {value} [{low}, {high}], "
        f"{cells}; {100 * reach['reached']:.0f}% of resamples reach it: {judged}"
    )


def _falls(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterable[str]:
    """Differences, and a share only of a fall that is there: one near 0 has no meaningful half."""
    if not any(ours.values()) or not any(theirs.values()):
        yield "forgetting: not measured"
        return
    for lag, fall in ours.items():
        other, d = theirs[lag], fall and fall["differences"].get(TARGET)
        if not d:
            yield f"forgetting at lag {lag}: not measured"
            continue
        share = ""
        if other["low"] > 0:
            half = _sign(fall["above_half"], "more than half", "less than half")
            share = f"; {fall['value'] / other['value']:.2f} of {TARGET}'s: {half}"
            share += " whether less than half" * (half == UNCLEAR)
        yield (
            f"forgetting at lag {lag}: {points(fall)} (n = {fall['n']}), {TARGET} {points(other)} "
            f"(n = {other['n']}), difference {points(d)}: {_sign(d, 'more', 'less')}{share}"
        )


def _gaps(arms: Mapping[str, Any]) -> Iterable[str]:
    yield "Rounds between two practices of a task, as they were:"
    yield ""
    for name, arm in arms.items():
        gaps = arm["gaps"]
        spaced = " (spaced)" * arm["spaced"]
        if gaps is None:
            yield f"- {name}{spaced}: no task came back."
        else:
            yield (
                f"- {name}{spaced}: mean {gaps['mean']:.1f}, median {gaps['median']:g}, "
                f"{100 * gaps['long']:.0f}% of {LONG} or more, {gaps['n']:,} gaps; "
                f"after a success {_rounds(gaps['after_success'])}, after a failure "
                f"{_rounds(gaps['after_failure'])}."
            )


def _rounds(mean: float | None) -> str:
    return "none" if mean is None else f"{mean:.1f}"


def _cautions(results: Mapping[str, Any], verdict: Verdict, protocol: Protocol) -> list[str]:
    n_seeds = len(results["seeds"])
    lines = [
        f"- {n_seeds} paired seed{'s' * (n_seeds != 1)}, {results['n_tasks']} held-out tasks, "
        f"{results['samples']} samples each. Intervals resample seeds and tasks; with few seeds they can be "
        "too narrow where arms differ more from seed to seed than from task to task."
    ]
    batches = protocol.seed_batches
    if len(batches) > 1:
        lines.append(
            f"- Seeds were added in {len(batches)} steps; whoever adds seeds after seeing a result "
            "can find one by chance."
        )
    unfinished = [seed for seed in protocol.seeds if seed not in results["seeds"]]
    if unfinished:
        named = ", ".join(map(str, unfinished))
        lines.append(f"- Not finished in every arm, and left out: seed{'s' * (len(unfinished) > 1)} {named}.")  # fmt: skip
    lines += _spaced_anything(verdict["winners"], results["arms"])
    lines += _code(results["commits"], protocol.codes)
    if results["notes"]:
        lines += [f"- Budgets differ. {note}." for note in results["notes"]]
    else:
        lines.append(
            "- Budgets are equal in all runs: rounds, candidates, optimiser steps, DPO pairs; SFT tokens "
            "to within 1%."
        )
    return lines


def _spaced_anything(winners: Iterable[str], arms: Mapping[str, Any]) -> Iterable[str]:
    """A policy that is called spaced need not have spaced anything."""
    controls = [arms[c]["gaps"] for c in CONTROLS if c in arms]
    for name in winners:
        gaps = arms[name]["gaps"]
        if gaps is None:
            yield f"- {name} won and brought no task back: that was not spacing."
            continue
        grown = growth(gaps)
        most = max((g for c in controls if (g := growth(c)) is not None), default=None)
        if grown is None or (most is not None and grown <= most):
            yield (
                f"- {name} won, and its gaps did not grow with success more than the controls': its choice "
                "of tasks may have won, not their spacing."
            )


def _code(commits: Mapping[str, int], codes: Sequence[str]) -> Iterable[str]:
    """``commits``: what made the runs; ``codes``: what the comparison was begun and gone on with."""
    begun = codes[0]
    if others := codes[1:]:
        yield f"- Begun by the code of commit {begun}, and gone on with by that of {', '.join(others)}."
    found = [f"{n} by {commit}" for commit, n in commits.items() if commit not in codes]
    if found:
        yield f"- Runs made by other code than this comparison's ({begun}): {', '.join(found)}."
    every = [*codes, *commits]
    if UNKNOWN in every:
        yield "- It is not known what code made all of it: no git checkout was found."
    if any(code.endswith("+changes") for code in every):
        yield "- The code had changes that were not committed, and nothing says which."


def points(estimate: Mapping[str, float]) -> str:
    """``+1.2 points [-0.3, +2.6]``."""
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"
