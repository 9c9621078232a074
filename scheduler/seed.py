"""The published rules, kept as they were: the baseline that other policies are compared with.

Known weaknesses, left in on purpose: one perfect score graduates a task for good; a streak of 3 does
too, so the interval of 4 and the ease never schedule anything; nothing brings a graduated or skipped
task back. See docs/policies.md.
"""

from __future__ import annotations

from typing import Final

from scheduler.sm2 import START_EASE, next_ease
from srs.types import Card, CardStatus, DueOrder, Review

name: Final = "seed"
order: Final[DueOrder] = "ease"

INTERVALS: Final = {1: 1, 2: 2, 3: 4}
GRADUATE_STREAK: Final = 3
SKIP_ZEROS: Final = 5


def update(card: Card | None, review: Review) -> Card:
    """The card after one review. Pure; ``card`` is None at the first one."""
    quality = _quality(review.pass_rate)
    correct = quality >= 3
    ease = next_ease(START_EASE if card is None else card.ease, quality)
    last_streak, last_interval = (0, 1) if card is None else (card.streak, card.interval_rounds)
    streak = last_streak + 1 if correct else 0
    zeros = 0 if review.n_passed else 1 + (card.zeros if card is not None else 0)
    interval = INTERVALS.get(streak, round(last_interval * ease)) if correct else 1
    status: CardStatus = "active"
    if card is not None and card.status != "active":
        status = card.status
    elif review.n_passed == review.n_graded or streak >= GRADUATE_STREAK:
        status = "graduated"
    elif zeros >= SKIP_ZEROS:
        status = "skipped"
    return Card(
        task=review.task,
        ease=ease,
        interval_rounds=interval,
        streak=streak,
        zeros=zeros,
        lapses=(0 if card is None else card.lapses) + (last_streak > 0 and not correct),
        due_round=review.round + interval,
        status=status,
        n_reviews=1 if card is None else card.n_reviews + 1,
        last_pass_rate=review.pass_rate,
    )


def _quality(pass_rate: float) -> int:
    for least, quality in ((1.0, 5), (0.8, 4), (0.6, 3), (0.4, 2)):
        if pass_rate >= least:
            return quality
    return 1
