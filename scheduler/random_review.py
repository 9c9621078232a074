"""Random review: the quota of new and review tasks that spaced policies have, reviews drawn by lot.

The control that tells spacing from mere replay: the same number of reviews, at no chosen time.
"""

from __future__ import annotations

from typing import Final

from scheduler.evidence import reviewed
from srs.types import Card, DueOrder, Review

name: Final = "random_review"
order: Final[DueOrder] = "random"
shares: Final[tuple[float, ...]] = ()
whole_pool: Final = False


def update(card: Card | None, review: Review) -> Card:
    """The card after one review: due in every later round. Pure; ``card`` is None at the first one."""
    return reviewed(card, review, interval_rounds=1)


def predict(card: Card, round: int) -> float | None:
    """None: there is no model."""
    del card, round
    return None


def why(before: Card | None, review: Review, after: Card) -> str:
    """The reason for ``after``'s interval and status, in words."""
    del before, review, after
    return "may be drawn by lot in any later round, whatever its results"
