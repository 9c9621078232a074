"""The published rules, kept as they were: the baseline that other policies are compared with.

Known weaknesses, left in on purpose: one perfect score graduates a task for good; a streak of 3 does
too, so the interval of 4 and the ease never schedule anything; nothing brings a graduated or skipped
task back, not even a failed audit, which is only counted. See docs/policies.md.
"""

from __future__ import annotations

from typing import Final

from scheduler.evidence import START_EASE, zeros
from scheduler.sm2 import next_ease
from srs.types import Card, CardStatus, DueOrder, Review

name: Final = "seed"
order: Final[DueOrder] = "ease"
shares: Final[tuple[float, ...]] = ()
whole_pool: Final = False

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
    n_zeros = zeros(card, review)
    interval = INTERVALS.get(streak, round(last_interval * ease)) if correct else 1
    status: CardStatus = "active"
    if card is not None and card.status != "active":
        status = card.status
    elif review.n_passed == review.n_graded or streak >= GRADUATE_STREAK:
        status = "graduated"
    elif n_zeros >= SKIP_ZEROS:
        status = "skipped"
    return Card(
        task=review.task,
        ease=ease,
        interval_rounds=interval,
        streak=streak,
        zeros=n_zeros,
        lapses=(0 if card is None else card.lapses) + (last_streak > 0 and not correct),
        due_round=review.round + interval,
        status=status,
        n_reviews=1 if card is None else card.n_reviews + 1,
        last_pass_rate=review.pass_rate,
    )


def predict(card: Card, round: int) -> float | None:
    """None: the published rules have no model of recall."""
    del card, round
    return None


def why(before: Card | None, review: Review, after: Card) -> str:
    """The reason for ``after``'s interval and status, in words."""
    quality = _quality(review.pass_rate)
    words = f"quality {quality} ({'correct' if quality >= 3 else 'wrong'}), "
    if quality < 3:
        words += "so the interval starts again at 1"
    elif after.streak in INTERVALS:
        words += f"streak {after.streak}: the fixed interval of {after.interval_rounds}"
    else:
        words += f"streak {after.streak}: the last interval x ease {after.ease:.2f}"
    if after.status == "active":
        return words
    if before is not None and before.status == after.status:
        return f"{words}; stays {after.status}, which is final"
    reason = f"{SKIP_ZEROS} in a row without a pass"
    if after.status == "graduated":
        perfect = review.n_passed == review.n_graded
        reason = "every candidate passed" if perfect else f"a streak of {GRADUATE_STREAK}"
    return f"{words}; {after.status}: {reason}"


def _quality(pass_rate: float) -> int:
    for least, quality in ((1.0, 5), (0.8, 4), (0.6, 3), (0.4, 2)):
        if pass_rate >= least:
            return quality
    return 1
