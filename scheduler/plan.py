"""What a round consists of: the quota of new and review tasks, and the policy that orders reviews."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final, Protocol

from scheduler.config import SchedulerConfig
from srs.types import Card, DueOrder, Review, RoundPlan

NEVER: Final = 2**62
"""A round that no run reaches: every active card is due by then."""


class Policy(Protocol):
    """When a task returns. One module per policy; pure, so cards are the replay of their reviews."""

    @property
    def name(self) -> str: ...

    @property
    def order(self) -> DueOrder | None:
        """Which due cards come first when they don't all fit; None reviews nothing."""
        ...

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the reviews that stages 0, 1, … get; empty when stages don't matter."""
        ...

    @property
    def whole_pool(self) -> bool:
        """Draw the round from all tasks alike, tried or not, instead of by quota."""
        ...

    def update(self, card: Card | None, review: Review) -> Card:
        """The card after ``review``; ``card`` is None at a task's first one.

        The result's ``due_round`` is ``review.round + interval_rounds``.
        """
        ...

    def predict(self, card: Card, round: int) -> float | None:
        """The share of candidates expected to pass in ``round``; None for a policy without a model."""
        ...

    def why(self, before: Card | None, review: Review, after: Card) -> str:
        """The reason for the interval and status of ``after`` = update(``before``, ``review``), in words."""
        ...


class Deck(Protocol):
    """Where the cards are: `memory.store.Store`, or a simulation's arrays. The same calls draw the same."""

    def new_ids(self, limit: int) -> list[str]:
        """At most ``limit`` tasks without a review, by lot."""
        ...

    def due(
        self, round: int, limit: int, order: DueOrder, *, stage: int | None = None
    ) -> list[Card]:
        """At most ``limit`` active cards due by ``round``, of one stage or of all, the first ones first."""
        ...

    def anywhere(self, round: int, limit: int) -> list[tuple[str, bool]]:
        """``limit`` distinct tasks uniformly out of all, tried or not; with each, whether it is new."""
        ...

    def retired(self, round: int, limit: int) -> list[str]:
        """At most ``limit`` graduated or skipped tasks, drawn at random."""
        ...


def allocate(
    n_tasks: int, new_share: float, n_new_available: int, n_due_available: int
) -> tuple[int, int]:
    """(new, review) counts of a round: ``new_share`` new, either side's shortfall filled by the other.

    The sum is min(n_tasks, n_new_available + n_due_available).
    """
    wanted = min(math.floor(n_tasks * new_share + 0.5), n_new_available)
    n_review = min(n_tasks - wanted, n_due_available)
    n_new = min(n_tasks - n_review, n_new_available)
    return n_new, n_review


def draw_plan(
    deck: Deck,
    round: int,
    policy: Policy,
    config: SchedulerConfig,
    *,
    excluded: Collection[str] = (),
    probe: Sequence[str] = (),
) -> RoundPlan:
    """The round's tasks. Pure but for the deck; ``excluded`` tasks are never practised nor audited.

    A round for which new and due tasks run short is filled with those that will be due soonest: a round
    number in which nothing was trained would not be time for a model. Audits are held every
    ``audit_every`` rounds, and when there is nothing left to practise.
    """
    n, spare = config.tasks_per_round, len(excluded)
    new: list[str]
    review: list[str]
    if policy.whole_pool:
        drawn = [(t, new) for t, new in deck.anywhere(round, n + spare) if t not in excluded][:n]
        new = [task for task, is_new in drawn if is_new]
        review = [task for task, is_new in drawn if not is_new]
    else:
        new = [task for task in deck.new_ids(n + spare) if task not in excluded][:n]
        _, most = allocate(
            n, config.new_share, len(new), n
        )  # new tasks fill the rest, if there are any
        review = _due(deck, round, policy, most, excluded)
        n_new, n_review = allocate(n, config.new_share, len(new), len(review))
        new, review = new[:n_new], review[:n_review]
        if len(new) + len(review) < n and policy.order is not None:
            review += _early(deck, n - len(new) - len(review), {*review, *excluded})
    audit: list[str] = []
    if config.audit_every and (round % config.audit_every == 0 or not (new or review)):
        retired = deck.retired(round, config.audit_size + spare)
        audit = [task for task in retired if task not in excluded][: config.audit_size]
    return RoundPlan(
        round=round, new=tuple(new), review=tuple(review), audit=tuple(audit), probe=tuple(probe)
    )


def _early(deck: Deck, limit: int, taken: Collection[str]) -> list[str]:
    """Active tasks that aren't due yet, the soonest first."""
    cards = deck.due(NEVER, limit + len(taken), "overdue")
    return [card.task for card in cards if card.task not in taken][:limit]


def _due(
    deck: Deck, round: int, policy: Policy, limit: int, excluded: Collection[str]
) -> list[str]:
    """Due tasks, first ones first; by stages' shares, where a stage's shortfall goes to the others."""
    if policy.order is None:
        return []
    spare = len(excluded)
    if not policy.shares:
        cards = deck.due(round, limit + spare, policy.order)
        return [card.task for card in cards if card.task not in excluded][:limit]
    queues = [
        [
            card.task
            for card in deck.due(round, limit + spare, policy.order, stage=stage)
            if card.task not in excluded
        ]
        for stage in range(len(policy.shares))
    ]
    return interleave(queues, policy.shares, limit)


def interleave(queues: Sequence[Sequence[str]], shares: Sequence[float], limit: int) -> list[str]:
    """Merge queues so that every prefix holds their shares as nearly as it can; the rest fills up.

    Each place goes to the queue that is furthest behind its share of the places so far (the earlier one
    on a tie), among those that have anything left.
    """
    taken = [0] * len(queues)
    merged: list[str] = []
    while len(merged) < limit:
        behind = [
            (shares[i] * (len(merged) + 1) - taken[i], -i)
            for i, queue in enumerate(queues)
            if taken[i] < len(queue)
        ]
        if not behind:
            break
        i = -max(behind)[1]
        merged.append(queues[i][taken[i]])
        taken[i] += 1
    return merged
