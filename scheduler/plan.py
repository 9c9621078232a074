"""What a round consists of: the quota of new and review tasks, and the policy that orders reviews."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Protocol, get_args

from scheduler import seed, sm2
from scheduler.config import PolicyName, SchedulerConfig
from srs.types import Card, DueOrder, Review, RoundPlan, UserError


class Policy(Protocol):
    """When a task returns. One module per policy; pure, so cards are the replay of their reviews."""

    @property
    def name(self) -> str: ...

    @property
    def order(self) -> DueOrder:
        """Which due cards come first when they don't all fit."""
        ...

    def update(self, card: Card | None, review: Review) -> Card:
        """The card after ``review``; ``card`` is None at a task's first one.

        The result's ``due_round`` is ``review.round + interval_rounds``.
        """
        ...


def policy(name: str) -> Policy:
    """The policy of that name. Raises UserError, with the nearest name, for an unknown one."""
    match name:
        case "sm2":
            return sm2
        case "seed":
            return seed
        case _:
            near = difflib.get_close_matches(name, get_args(PolicyName), n=1, cutoff=0.0)[0]
            raise UserError(f"scheduler.policy: unknown policy {name!r}; did you mean {near!r}?")


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


def make_plan(
    round: int, new_ids: Sequence[str], due_cards: Sequence[Card], config: SchedulerConfig
) -> RoundPlan:
    """The round's tasks, from the front of each list; ``tasks_per_round`` of each are enough."""
    n_new, n_review = allocate(
        config.tasks_per_round, config.new_share, len(new_ids), len(due_cards)
    )
    return RoundPlan(
        round=round,
        new=tuple(new_ids[:n_new]),
        review=tuple(card.task for card in due_cards[:n_review]),
    )


def next_round(round: int, *, n_new: int, n_due: int, next_due_round: int | None) -> int | None:
    """The round to run when ``round`` is next in line; later when nothing is due or new until then.

    None when nothing will ever be due again: every task has graduated or is skipped.
    """
    if n_new or n_due:
        return round
    return None if next_due_round is None else max(round, next_due_round)
