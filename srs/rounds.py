"""What a finished round amounts to: its line in ``metrics.jsonl``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from evaluator import metrics
from srs.types import RoundPlan, RoundRecord, Verdict

if TYPE_CHECKING:
    from srs.evaluation import Evaluation
    from srs.planning import Planner
    from srs.rollout import Rollout
    from srs.rundir import RunDir


def round_record(
    run: RunDir,
    planner: Planner,
    plan: RoundPlan,
    rollout: Rollout,
    evaluation: Evaluation | None,
) -> RoundRecord:
    """Counts are of the memory as it is now, so call this before the next round records anything."""
    number, memory = plan.round, planner.memory
    practised = rollout.of(plan.practised)
    graded = rollout.by_task()
    counts = list(metrics.passes_by_task(practised.verdicts).values())
    cards = memory.counts()
    training: dict[str, Any] = {"n_examples": 0, "result": None}
    if run.has(f"{run.round(number)}/train.json"):
        training = run.read_json(f"{run.round(number)}/train.json")
    result = training["result"] or {"loss": None, "n_tokens": 0}
    return RoundRecord(
        round=number,
        n_new=len(plan.new),
        n_review=len(plan.review),
        n_candidates=len(practised.graded),
        pass_rate=_pass_rate(practised.verdicts),
        pass_rate_new=_pass_rate(v for task in plan.new for _, v in graded.get(task, ())),
        pass_rate_review=_pass_rate(v for task in plan.review for _, v in graded.get(task, ())),
        pass_at_k=metrics.mean_pass_at_k(counts, counts[0][0]) if counts else None,
        **_held_out(evaluation),
        graduated=cards["graduated"],
        skipped=cards["skipped"],
        active=cards["active"],
        lapses=memory.lapses_in(number),
        n_measured=len(rollout.graded) - len(practised.graded),
        pass_rate_audit=_pass_rate(v for task in plan.audit for _, v in graded.get(task, ())),
        forgetting={
            str(lag): {"fall": fall, "tasks": n} for lag, (fall, n) in planner.forgetting().items()
        },
        format_error_rate=metrics.format_error_rate(practised.verdicts),
        sft_examples=training["n_examples"],
        sft_tokens=result["n_tokens"],
        sft_loss=result["loss"],
        seconds=run.seconds(number),
    )


def with_evaluation(
    record: RoundRecord, evaluation: Evaluation, seconds: dict[str, float]
) -> RoundRecord:
    """A round's line when it was evaluated after it had been written."""
    return dataclasses.replace(record, seconds=seconds, **_held_out(evaluation))


def _held_out(evaluation: Evaluation | None) -> dict[str, Any]:
    val = evaluation["pass_at_1"] if evaluation else {"value": None, "low": None, "high": None}
    return {
        "val_pass_at_1": val["value"],
        "val_ci_low": val["low"],
        "val_ci_high": val["high"],
    }


def _pass_rate(verdicts: Iterable[Verdict]) -> float | None:
    passed = [verdict.passed for verdict in verdicts]
    return sum(passed) / len(passed) if passed else None
