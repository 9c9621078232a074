"""Uniform sampling: every round is drawn from the whole pool alike, whatever was tried before.

The baseline without a memory. A task may come again in any round, yet not twice in one.
"""

from __future__ import annotations

from typing import Final

from scheduler.evidence import reviewed
from srs.types import Card, DueOrder, Review

name: Final = "uniform"
order: Final[DueOrder | None] = None
shares: Final[tuple[float, ...]] = ()
whole_pool: Final = True


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
    return "any task may be drawn in any round, whatever its results"
