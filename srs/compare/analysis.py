"""Finished runs → results: estimates, intervals and differences, JSON-ready. Pure but for NumPy's arrays."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from scheduler.policies import policy
from srs.compare import forgetting, recall
from srs.compare.arms import TARGET, Arm
from srs.compare.bootstrap import interval, p_value
from srs.compare.curves import areas, candidates_to_target, curve
from srs.compare.forgetting import Falls
from srs.compare.gaps import gaps
from srs.compare.results import RunResult, Spent
from srs.compare.table import Pool, Table, tabulate

Results = dict[str, Any]
"""``seeds, n_tasks, n_panel, samples, level, averaged``; ``arms``: name → what `of_arm` gives; ``notes``:
budgets that differ; ``commits``: of the code, with how many runs each made.

Pass rates are shares in 0…1, candidates are practised ones, forgetting is a fall of the pass rate.
"""
EQUAL: Final = ("rounds", "candidates", "sft_steps", "dpo_pairs")
TOKEN_TOLERANCE: Final = 0.01
"""Rounds end on whole examples, so that tokens can't be quite equal."""
MIN_FALLS: Final = 10
"""Resampling a few falls gives intervals that are much too narrow."""


def analyse(
    runs: Sequence[RunResult],
    arms: Sequence[Arm],
    *,
    level: float,
    resamples: int,
    lags: Sequence[int],
    averaged: int,
) -> Results:
    """Compare the seeds that every arm has finished, by their last ``averaged`` evaluations.

    Raises UserError when there is no such seed, or runs were not measured on the same held-out tasks.
    """
    table = tabulate(runs, arms, level=level, resamples=resamples, lags=lags, averaged=averaged)
    everything = [run for found in table.runs.values() for run in found]
    on_panel = {
        lag: falls(
            table, table.panel, functools.partial(forgetting.panel_falls, lag=lag, lags=lags)
        )
        for lag in lags
    }
    frozen = {
        lag: falls(table, table.frozen, functools.partial(forgetting.frozen_falls, lag=lag))
        for lag in lags
    }
    return {
        "seeds": list(table.seeds),
        "n_tasks": len(table.tasks),
        "n_panel": max(len(panel) for run in everything for panel in [{}, *run.panels.values()]),
        "samples": max(n for _, n in table.runs[arms[0].name][0].final.held_out.values()),
        "level": level,
        "averaged": averaged,
        "arms": {
            arm.name: {
                **of_arm(table, arm),
                "forgetting": {str(lag): on_panel[lag].get(arm.name) for lag in lags},
                "frozen": {str(lag): frozen[lag].get(arm.name) for lag in lags},
            }
            for arm in arms
        },
        "notes": unequal_budgets(table),
        "commits": dict(Counter(run.commit for run in everything)),
    }


def of_arm(table: Table, arm: Arm) -> dict[str, Any]:
    """Everything about one arm, with its differences to each arm that isn't spaced."""
    runs = table.runs[arm.name]
    rates = table.rates(arm.name)
    dpo = [run.after_dpo for run in runs if run.after_dpo is not None]
    return {
        "policy": arm.policy,
        "overrides": list(arm.overrides),
        "spaced": arm.is_spaced,
        "final": dataclasses.asdict(table.mean(rates)),
        "final_by_seed": [float(row.mean()) for row in rates],
        "last": dataclasses.asdict(table.mean(table.last_rates(arm.name))),
        "greedy": sum(run.final.greedy for run in runs) / len(runs),
        "after_dpo": dataclasses.asdict(table.mean(np.array([table.row(c) for c in dpo])))
        if len(dpo) == len(runs)
        else None,
        "area": dataclasses.asdict(table.mean(areas(table, arm.name))),
        "curve": curve(table, arm.name),
        "differences": {
            name: difference(table, arm.name, name) for name in unspaced(table, arm.name)
        },
        "candidates_to_target": candidates_to_target(table, arm.name),
        "gaps": gaps(runs),
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


def unspaced(table: Table, arm: str) -> list[str]:
    """The arms that ``arm`` is compared with."""
    return [other.name for other in table.arms if not other.is_spaced and other.name != arm]


def falls(
    table: Table, pool: Pool | None, of_runs: Callable[[Sequence[RunResult], Sequence[str]], Falls]
) -> Mapping[str, dict[str, Any]]:
    """By arm: the mean fall of the pass rate, ``n`` falls over all seeds, and the differences between arms;
    ``above_half``: what it is less half of the target arm's.

    Seeds and tasks are resampled, the same for all arms. An arm of fewer than `MIN_FALLS` is left out.
    """
    if pool is None:
        return {}
    found = {name: of_runs(runs, pool.tasks) for name, runs in table.runs.items()}
    found = {name: fall for name, fall in found.items() if fall.n >= MIN_FALLS}
    ratios = {name: pool.draws.ratios(fall.sums, fall.counts) for name, fall in found.items()}
    results: dict[str, dict[str, Any]] = {}
    for name, fall in found.items():

        def less(other: str, share: float, name: str = name, fall: Falls = fall) -> Any:
            if other not in found:
                return None
            apart = ratios[name] - share * ratios[other]
            if not np.isfinite(apart).any():
                return None
            value = fall.mean - share * found[other].mean
            return dataclasses.asdict(interval(value, apart, table.level))

        differences = {other: less(other, 1.0) for other in unspaced(table, name)}
        results[name] = {
            **dataclasses.asdict(interval(fall.mean, ratios[name], table.level)),
            "n": fall.n,
            "differences": {other: d for other, d in differences.items() if d is not None},
            "above_half": None if name == TARGET else less(TARGET, 0.5),
        }
    return results


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
    """A sentence for each budget that was meant to be equal and is not: which arms differ from the rest."""
    notes = []
    for budget in (*EQUAL, "sft_tokens"):
        used = {
            arm: [int(getattr(run.spent, budget)) for run in runs]
            for arm, runs in table.runs.items()
        }
        usual = statistics.median_low([n for counts in used.values() for n in counts])
        allowed = TOKEN_TOLERANCE * usual if budget == "sft_tokens" else 0
        odd = {
            arm: counts
            for arm, counts in used.items()
            if max(abs(n - usual) for n in counts) > allowed
        }
        if odd:
            words = budget.replace("_", " ").replace("sft", "SFT").replace("dpo", "DPO")
            others = [n for arm, counts in used.items() if arm not in odd for n in counts]
            parts = [f"{_span(counts)} in {arm}" for arm, counts in odd.items()]
            parts += [f"{_span(others)} in the other arms"] if others else []
            notes.append(f"{words}: {', '.join(parts)}")
    return notes


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
