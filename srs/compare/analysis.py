"""Finished runs → results: estimates, intervals and differences, JSON-ready. Pure but for NumPy's arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from scheduler.policies import policy
from srs.compare import forgetting, recall
from srs.compare.arms import CONTROLS, TARGET, Arm
from srs.compare.bootstrap import interval, p_value
from srs.compare.curves import areas, candidates_to_target, curve
from srs.compare.results import RunResult, Spent
from srs.compare.table import Table, tabulate

Results = dict[str, Any]
"""``seeds, n_tasks, samples, level``; ``arms``: name → what `of_arm` gives; ``notes``: budgets that differ.

Pass rates are shares in 0…1, candidates are practised ones, forgetting is a fall of the pass rate.
"""
EQUAL: Final = ("rounds", "candidates", "sft_steps", "dpo_pairs")
TOKEN_TOLERANCE: Final = 0.01
"""Rounds end on whole examples, so that tokens can't be quite equal."""


def analyse(
    runs: Sequence[RunResult],
    arms: Sequence[Arm],
    *,
    level: float,
    resamples: int,
    lags: Sequence[int],
) -> Results:
    """Compare the seeds that every arm has finished.

    Raises UserError when there is no such seed, or runs were not measured on the same held-out tasks.
    """
    table = tabulate(runs, arms, level=level, resamples=resamples, lags=lags)
    return {
        "seeds": list(table.seeds),
        "n_tasks": len(table.tasks),
        "n_panel": len(table.panel),
        "samples": max(n for _, n in table.runs[arms[0].name][0].final.held_out.values()),
        "level": level,
        "arms": {arm.name: of_arm(table, arm) for arm in arms},
        "notes": unequal_budgets(table),
    }


def of_arm(table: Table, arm: Arm) -> dict[str, Any]:
    """Everything about one arm, with its differences to each control and to the target arm."""
    runs, others = table.runs[arm.name], [*CONTROLS, TARGET]
    others = [name for name in others if name in table.runs and name != arm.name]
    rates = table.rates(arm.name)
    dpo = [run.after_dpo for run in runs if run.after_dpo is not None]
    return {
        "policy": arm.policy,
        "overrides": list(arm.overrides),
        "spaced": arm.is_spaced,
        "final": dataclasses.asdict(table.mean(rates)),
        "final_by_seed": [float(row.mean()) for row in rates],
        "greedy": sum(run.final.greedy for run in runs) / len(runs),
        "after_dpo": dataclasses.asdict(table.mean(np.array([table.row(c) for c in dpo])))
        if len(dpo) == len(runs)
        else None,
        "area": dataclasses.asdict(table.mean(areas(table, arm.name))),
        "curve": curve(table, arm.name),
        "differences": {name: difference(table, arm.name, name) for name in others},
        "candidates_to_target": candidates_to_target(table, arm.name),
        "forgetting": {str(lag): forgotten(table, arm.name, lag, others) for lag in table.lags},
        "frozen": frozen(runs),
        "log_loss": log_losses(runs),
        "spent": spent(runs),
    }


def difference(table: Table, arm: str, other: str) -> dict[str, Any]:
    """Final pass@1 of ``arm`` minus that of ``other``, paired by seed and task."""
    values = table.rates(arm) - table.rates(other)
    means = table.draws.means(values)
    by_seed = values.mean(axis=1)
    return {
        **dataclasses.asdict(interval(float(values.mean()), means, table.level)),
        "p": p_value(means),
        "seeds_better": int((by_seed > 0).sum()),
        "seeds_worse": int((by_seed < 0).sum()),
    }


def forgotten(table: Table, arm: str, lag: int, others: Sequence[str]) -> dict[str, Any] | None:
    """Mean fall on the panel at one lag, and its differences; None when nothing was mastered before.

    ``n``: (task, evaluation) pairs over all seeds.
    """
    if table.panel_draws is None:
        return None
    ours = forgetting.falls(table.runs[arm], table.panel, lag)
    if not ours.n:
        return None
    ratios = table.panel_draws.ratios(ours.sums, ours.counts)
    differences = {}
    for other in others:
        theirs = forgetting.falls(table.runs[other], table.panel, lag)
        if theirs.n:
            apart = ratios - table.panel_draws.ratios(theirs.sums, theirs.counts)
            differences[other] = interval(ours.mean - theirs.mean, apart, table.level)
    return {
        **dataclasses.asdict(interval(ours.mean, ratios, table.level)),
        "n": ours.n,
        "differences": {name: dataclasses.asdict(d) for name, d in differences.items()},
    }


def frozen(runs: Sequence[RunResult]) -> dict[str, dict[str, float]]:
    """By lag: the mean fall of the frozen tasks, pooled over the seeds, and how many there were."""
    found: dict[str, dict[str, float]] = {}
    for lag in sorted({lag for run in runs for lag in run.frozen}):
        pooled = [run.frozen[lag] for run in runs if lag in run.frozen]
        n = sum(n for _, n in pooled)
        if n:
            found[str(lag)] = {"value": sum(fall * k for fall, k in pooled) / n, "n": n}
    return found


def log_losses(runs: Sequence[RunResult]) -> dict[str, Any] | None:
    """`recall.log_loss` averaged over the seeds; None when no card came back in one of them."""
    losses = []
    for run in runs:
        rules = policy(run.scheduler)
        losses.append(recall.log_loss(run.reviews, rules.update, rules.predict))
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(losses):
        return None
    predicted = [loss.policy for loss in known if loss.policy is not None]
    return {
        "policy": sum(predicted) / len(predicted) if len(predicted) == len(known) else None,
        "constant": sum(loss.constant for loss in known) / len(known),
        "n_reviews": sum(loss.n_reviews for loss in known),
    }


def spent(runs: Sequence[RunResult]) -> dict[str, float]:
    """What a run of this arm used, as the mean over its seeds; ``least`` and ``most`` over all."""
    mean = {
        field.name: float(np.mean([getattr(run.spent, field.name) for run in runs]))
        for field in dataclasses.fields(Spent)
    }
    return {
        **mean,
        "least": min(run.spent.least for run in runs),
        "most": max(run.spent.most for run in runs),
    }


def unequal_budgets(table: Table) -> list[str]:
    """A sentence for each budget that was meant to be equal and is not."""
    everything = [run for runs in table.runs.values() for run in runs]
    notes = []
    for name in (*EQUAL, "sft_tokens"):
        runs = {f"{r.arm}, seed {r.seed}": int(getattr(r.spent, name)) for r in everything}
        least, most = min(runs, key=runs.__getitem__), max(runs, key=runs.__getitem__)
        allowed = TOKEN_TOLERANCE * runs[most] if name == "sft_tokens" else 0
        if runs[most] - runs[least] > allowed:
            words = name.replace("_", " ").replace("sft", "SFT").replace("dpo", "DPO")
            notes.append(f"{words}: {runs[least]:,} ({least}) to {runs[most]:,} ({most})")
    return notes
