"""One pass over the pool: every task once, none reviewed. The control that shows what review adds."""

from __future__ import annotations

from typing import Final

from scheduler.evidence import reviewed
from srs.types import Card, DueOrder, Review

name: Final = "onepass"
order: Final[DueOrder | None] = None
shares: Final[tuple[float, ...]] = ()
whole_pool: Final = False


def update(card: Card | None, review: Review) -> Card:
    """The card after one review. Pure; ``card`` is None at the first one."""
    return reviewed(card, review, interval_rounds=1)


def predict(card: Card, round: int) -> float | None:
    """None: there is no model."""
    del card, round
    return None


def why(before: Card | None, review: Review, after: Card) -> str:
    """The reason for ``after``'s interval and status, in words."""
    del before, review, after
    return "had its one pass: this policy draws no task twice"
