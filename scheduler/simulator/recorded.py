"""A recorded run of the real loop, reduced to what a learner has to explain: who passed what, when."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from srs.types import Review, ReviewKind, RoundPlan


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRound:
    """One round: ``reviews`` happened before its training, ``evaluations`` (none practised) after it."""

    reviews: tuple[Review, ...]
    evaluations: tuple[Review, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """Round 0 is the evaluation before training. ``tasks_per_round`` is a full round's practice.

    ``held_out``: the tasks that no round could have practised. Evaluations may have others too, a panel.
    """

    name: str
    tasks_per_round: int
    rounds: tuple[RecordedRound, ...]
    held_out: frozenset[str] = frozenset()


def reviews_of(plan: RoundPlan, verdicts: Iterable[Mapping[str, Any]]) -> tuple[Review, ...]:
    """The plan's tasks with what ``verdicts.jsonl`` says of their candidates, in the plan's order.

    Raises KeyError when a task of the plan has no verdict.
    """
    passed: dict[str, int] = {}
    graded: dict[str, int] = {}
    for verdict in verdicts:
        task = verdict["task"]
        passed[task] = passed.get(task, 0) + (verdict["outcome"] == "passed")
        graded[task] = graded.get(task, 0) + 1
    kinds: dict[str, ReviewKind] = dict.fromkeys(plan.practised, "practice")
    kinds |= dict.fromkeys(plan.audit, "audit")
    kinds |= dict.fromkeys(plan.probe, "probe")
    return tuple(
        Review(task=t, round=plan.round, n_passed=passed[t], n_graded=graded[t], kind=kind)
        for t, kind in kinds.items()
    )


def evaluations_of(evaluation: Mapping[str, Any], round: int) -> tuple[Review, ...]:
    """The sampled counts of an ``evaluation.json`` or ``panel.json``: held-out tasks and, when there is one, the panel.

    Greedy answers are left out: they follow another law than the candidates that practice sees.
    """
    counts = {t: (c, n) for t, (c, n) in evaluation.get("sampled_per_task", {}).items()}
    for task, halves in evaluation.get("panel", {}).items():
        counts[task] = (sum(c for c, _ in halves), sum(n for _, n in halves))
    return tuple(
        Review(task=task, round=round, n_passed=passed, n_graded=n, kind="probe")
        for task, (passed, n) in counts.items()
        if n
    )
