"""One simulated run: the loop of `srs.train` with a learner in place of the model and the sandbox."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from scheduler.config import SchedulerConfig
from scheduler.frozen import LAGS, Frozen, forgetting, frozen, newly_frozen
from scheduler.plan import Policy, draw_plan
from scheduler.simulator.deck import ArrayDeck
from scheduler.simulator.learner import Integers, Learner
from scheduler.simulator.parameters import Parameters
from srs.types import Review, ReviewKind, RoundPlan

HELD_OUT_TASKS: Final = 2_000
SEEN_SAMPLE: Final = 2_000
"""Tasks over which the mean of what has been seen is taken."""
COHORT: Final = 500
"""At most so many of a round's mastered tasks are followed."""
CLIP: Final = 0.01
"""A prediction counts as at least this and at most one minus it: log 0 is infinite."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRound:
    """One round. Rates and probabilities are 0…1, losses nats per candidate; None = nothing to measure.

    ``held_out`` and ``seen`` are true means after the round's training, without sampling noise. ``falls``
    (lag → fall) is about the tasks that passed every candidate ``lag`` rounds ago: by how much their true
    mean pass probability has fallen since that round's training, whatever the policy did with them since.
    """

    round: int
    n_new: int
    n_review: int
    n_audit: int
    n_probe: int
    n_candidates: int
    """Of the practised tasks; audits and probes are measurements and cost extra."""
    pass_rate_new: float | None
    pass_rate_review: float | None
    held_out: float
    seen: float
    falls: dict[int, float]
    active: int
    graduated: int
    skipped: int
    lapses: int
    n_predicted: int
    """Candidates of reviews for which the policy had a prediction."""
    log_loss: float | None
    log_loss_constant: float | None
    """Of the mean pass rate of all reviews so far, on the same candidates."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """One run of one policy. ``frozen``: lag → (mean fall, tasks), see `scheduler.frozen.forgetting`."""

    policy: str
    seed: int
    base: float
    """The held-out mean before training."""
    rounds: tuple[SimulatedRound, ...]
    frozen: dict[int, tuple[float, int]]


Watcher = Callable[[SimulatedRound, RoundPlan, Sequence[Review]], None]


def run(
    policy: Policy,
    config: SchedulerConfig,
    parameters: Parameters,
    *,
    n_tasks: int,
    rounds: int,
    n: int,
    seed: int,
    watch: Watcher | None = None,
) -> Simulation:
    """``rounds`` rounds with ``n`` candidates a task; fewer when every task has retired for good.

    The seed gives tasks, samples and draws; two policies with one seed meet the same tasks. ``watch`` is
    called after every round with its plan and its reviews.
    """
    deck = ArrayDeck([f"task_{i}" for i in range(n_tasks)], seed)
    learner = Learner(
        parameters,
        n_tasks,
        HELD_OUT_TASKS,
        config.tasks_per_round,
        np.random.default_rng([seed, 0]),
    )
    base = learner.held_out()
    reviews: list[Review] = []
    probes: list[Review] = []
    cohorts: deque[tuple[Integers, float]] = deque(maxlen=max(LAGS) + 1)
    done: list[SimulatedRound] = []
    constant = _Constant()
    for step in range(rounds):
        room = config.frozen_tasks - len({probe.task for probe in probes})
        fresh = _fresh(reviews, probes, seed, room) if room else []
        trained = any(review.kind == "practice" for review in reviews)
        plan = _planned(deck, step + 1, policy, config, frozen(probes), fresh, trained=trained)
        if plan is None:
            break
        rng = np.random.default_rng([seed, 1, step])
        reviews = _graded(plan, deck, learner, n, rng)
        n_predicted, loss, loss_constant = _losses(policy, deck, plan, reviews, constant)
        lapses = deck.record(reviews, policy.update)
        practised = deck.numbers(plan.practised)
        learner.practise(practised)
        probes += [review for review in reviews if review.kind == "probe"]
        mastered = practised[[r.n_passed == r.n_graded for r in reviews[: len(practised)]]][:COHORT]
        cohorts.appendleft((mastered, _mean(learner, mastered)))
        seen = deck.seen()
        if len(seen) > SEEN_SAMPLE:
            seen = rng.choice(seen, SEEN_SAMPLE, replace=False)
        counts = deck.counts()
        done.append(
            SimulatedRound(
                round=plan.round,
                n_new=len(plan.new),
                n_review=len(plan.review),
                n_audit=len(plan.audit),
                n_probe=len(plan.probe),
                n_candidates=n * len(plan.practised),
                pass_rate_new=_pass_rate(reviews[: len(plan.new)]),
                pass_rate_review=_pass_rate(reviews[len(plan.new) : len(plan.practised)]),
                held_out=learner.held_out(),
                seen=_mean(learner, seen),
                falls=_falls(learner, cohorts),
                active=counts.active,
                graduated=counts.graduated,
                skipped=counts.skipped,
                lapses=lapses,
                n_predicted=n_predicted,
                log_loss=loss,
                log_loss_constant=loss_constant,
            )
        )
        if watch is not None:
            watch(done[-1], plan, reviews)
    return Simulation(
        policy=policy.name,
        seed=seed,
        base=base,
        rounds=tuple(done),
        frozen=forgetting(frozen(probes)),
    )


def _fresh(reviews: Sequence[Review], probes: Sequence[Review], seed: int, room: int) -> list[str]:
    """Tasks that the last round mastered and that are now set aside; every task is a group of its own."""
    group_of = {review.task: review.task for review in reviews}
    taken = {probe.task for probe in probes}
    return newly_frozen(reviews, group_of, seed=seed, taken=taken, room=room)


def _planned(
    deck: ArrayDeck,
    number: int,
    policy: Policy,
    config: SchedulerConfig,
    aside: Sequence[Frozen],
    fresh: Sequence[str],
    *,
    trained: bool,
) -> RoundPlan | None:
    """Round ``number``; None when nothing is left to practise, and nothing to audit after practice."""
    excluded = {*fresh, *(task.task for task in aside)}
    plan = draw_plan(deck, number, policy, config, excluded=excluded)
    if not (plan.practised or (plan.audit and trained)):
        return None
    probe = (*fresh, *(task.task for task in aside if task.is_due(plan.round)))
    return dataclasses.replace(plan, probe=probe)


def _falls(learner: Learner, cohorts: Sequence[tuple[Integers, float]]) -> dict[int, float]:
    """Lag → fall of those that were mastered so many rounds ago; ``cohorts``: (tasks, mean), newest first."""
    return {
        lag: cohorts[lag][1] - _mean(learner, cohorts[lag][0])
        for lag in LAGS
        if lag < len(cohorts) and len(cohorts[lag][0])
    }


class _Constant:
    """The mean pass rate of the reviews so far; one half before the first."""

    def __init__(self) -> None:
        self._passed, self._graded = 1, 2

    def rate(self) -> float:
        return self._passed / self._graded

    def take(self, reviews: Iterable[Review]) -> None:
        for review in reviews:
            self._passed += review.n_passed
            self._graded += review.n_graded


def _graded(
    plan: RoundPlan, deck: ArrayDeck, learner: Learner, n: int, rng: np.random.Generator
) -> list[Review]:
    """The results of the plan's tasks, in its order."""
    tasks = plan.task_ids
    kinds: list[ReviewKind] = ["practice" for _ in plan.practised]
    kinds += ["audit" for _ in plan.audit]
    kinds += ["probe" for _ in plan.probe]
    passed = learner.sample(deck.numbers(tasks), n, rng).tolist()
    return [
        Review(task=task, round=plan.round, n_passed=n_passed, n_graded=n, kind=kind)
        for task, n_passed, kind in zip(tasks, passed, kinds, strict=True)
    ]


def _losses(
    policy: Policy,
    deck: ArrayDeck,
    plan: RoundPlan,
    reviews: Sequence[Review],
    constant: _Constant,
) -> tuple[int, float | None, float | None]:
    """(candidates, the policy's log-loss, the constant's) over the reviews it has a prediction for."""
    reviewed = reviews[len(plan.new) : len(plan.practised)]
    n, loss, loss_constant, rate = 0, 0.0, 0.0, constant.rate()
    for review in reviewed:
        card = deck.card(review.task)
        predicted = None if card is None else policy.predict(card, plan.round)
        if predicted is not None:
            n += review.n_graded
            loss += _loss(predicted, review)
            loss_constant += _loss(rate, review)
    constant.take(reviewed)
    return (n, loss / n, loss_constant / n) if n else (0, None, None)


def _loss(predicted: float, review: Review) -> float:
    q = min(max(predicted, CLIP), 1 - CLIP)
    failed = review.n_graded - review.n_passed
    return -(review.n_passed * math.log(q) + failed * math.log(1 - q))


def _pass_rate(reviews: Sequence[Review]) -> float | None:
    n_graded = sum(review.n_graded for review in reviews)
    return sum(review.n_passed for review in reviews) / n_graded if n_graded else None


def _mean(learner: Learner, tasks: Integers) -> float:
    return float(learner.pass_probability(tasks).mean()) if len(tasks) else math.nan
