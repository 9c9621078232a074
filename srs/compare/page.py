"""``table.md``: the comparison as three Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from srs.compare.arms import CONTROLS, TARGET

NONE = "-"


def table_md(results: Mapping[str, Any]) -> str:
    """Results, forgetting and cost of each arm, best final pass@1 first."""
    arms = dict(sorted(results["arms"].items(), key=lambda item: -item[1]["final"]["value"]))
    n_seeds, level = len(results["seeds"]), f"{100 * results['level']:.0f}%"
    others = [name for name in (*CONTROLS, TARGET) if name in arms]
    parts = [
        f"{n_seeds} seed{'s' * (n_seeds != 1)} ({', '.join(map(str, results['seeds']))}), "
        f"{results['n_tasks']} held-out tasks, {results['samples']} samples each. Differences in points, "
        f"paired by seed and task. In brackets: {level} bootstrap intervals. Final pass@1 is the mean over the "
        f"last {results['averaged']} evaluations; that of the last one alone is noisier.",
        _table(
            [
                "arm", "final pass@1", "of the last alone", *(f"against {name}" for name in others), "area under the curve",
                f"candidates to {TARGET}'s final", "log-loss (constant)",
            ],
            (
                [
                    f"{name}{' (spaced)' * arm['spaced']}",
                    _share(arm["final"]),
                    _share(arm["last"]),
                    *(_difference(arm["differences"].get(other)) for other in others),
                    _share(arm["area"]),
                    _reach(arm["candidates_to_target"]),
                    _loss(arm["log_loss"]),
                ]
                for name, arm in arms.items()
            ),
        ),
        *_forgetting(results, arms),
        "What a run used, on average. The first four are meant to be equal; measured candidates are those "
        "of audits and probes, never trained on.",
        _table(
            [
                "arm", "candidates (a round)", "SFT tokens", "optimiser steps", "DPO pairs",
                "measured candidates", "sandbox, s", "sandbox for measured, s", "evaluation, s",
            ],
            ([name, *_spent(arm["spent"])] for name, arm in arms.items()),
        ),
    ]  # fmt: skip
    if any(arm["after_dpo"] for arm in arms.values()):
        rows = [[name, _share(arm["after_dpo"])] for name, arm in arms.items()]
        parts.insert(2, _table(["arm", "pass@1 after DPO"], rows))
    parts += [f"Budgets differ. {note}." for note in results["notes"]]
    return "\n\n".join(parts) + "\n"


def _forgetting(results: Mapping[str, Any], arms: Mapping[str, Any]) -> Iterable[str]:
    if any(fall for arm in arms.values() for fall in arm["forgetting"].values()):
        yield (
            f"Forgetting on {results['n_panel']} training tasks of each seed: the mean fall of the pass "
            "rate, in points, of those that were practised and looked mastered so many rounds before, "
            "and how many falls. Every lag starts from the same rounds."
        )
        yield _by_lag(arms, "forgetting")
    elif results["n_panel"]:
        yield (
            "Forgetting is not measured: no round after which the panel was measured has others at every "
            "lag behind it, or too little was mastered by then."
        )
    if any(fall for arm in arms.values() for fall in arm["frozen"].values()):
        yield (
            "Forgetting without review: tasks taken out of practice once mastered, against a second "
            "baseline; points, and how many tasks over all seeds."
        )
        yield _by_lag(arms, "frozen")


def _by_lag(arms: Mapping[str, Any], key: str) -> str:
    lags = list(next(iter(arms.values()))[key])
    return _table(
        ["arm", *(f"lag {lag}" for lag in lags)],
        ([name, *(_fall(arm[key][lag]) for lag in lags)] for name, arm in arms.items()),
    )


def _fall(fall: Mapping[str, float] | None) -> str:
    return NONE if fall is None else f"{_difference(fall)} ({fall['n']:.0f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return NONE
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"


def _difference(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return NONE
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _reach(reach: Mapping[str, float | None] | None) -> str:
    if reach is None:
        return NONE
    value, low, high = (
        "not reached" if reach[key] is None else f"{reach[key]:,.0f}"
        for key in ("value", "low", "high")
    )
    share = "" if reach["share"] is None else f", {100 * reach['share']:.0f}%"
    return f"{value}{share} [{low}, {high}]"


def _loss(loss: Mapping[str, float | None] | None) -> str:
    if loss is None:
        return NONE
    own = NONE if loss["policy"] is None else f"{loss['policy']:.3f}"
    return f"{own} ({loss['constant']:.3f})"


def _spent(spent: Mapping[str, float]) -> list[str]:
    least, most = spent["least"], spent["most"]
    per_round = f"{least:.0f}" if least == most else f"{least:.0f} to {most:.0f}"
    return [
        f"{spent['candidates']:,.0f} ({per_round})",
        *(f"{spent[key]:,.0f}" for key in ("sft_tokens", "sft_steps", "dpo_pairs", "measured")),
        *(f"{spent[key]:,.1f}" for key in ("sandbox_s", "measured_sandbox_s", "eval_s")),
    ]
