"""SM-2 corrected for training rounds: an ease that really multiplies intervals, and lapses.

Source: P. A. Woźniak, "Optimization of learning", 1990, algorithm SM-2 (ease formula, floor 1.3,
quality 3 = recalled, restart after a failure with the ease unchanged). Where rounds and k samples
differ from days and one answer, docs/policies.md says what changed and why.
"""

from __future__ import annotations

from typing import Final

from srs.types import Card, CardStatus, DueOrder, Review

name: Final = "sm2"
order: Final[DueOrder] = "overdue"

START_EASE: Final = 2.5
MIN_EASE: Final = 1.3
LAPSE_EASE: Final = 0.2
RECALLED: Final = 0.6
"""A review with at least this pass rate is a success: quality 3 of 5."""
GRADUATE_STREAK: Final = 3
GRADUATE_INTERVAL_ROUNDS: Final = 3
GRADUATE_PASS_RATE: Final = 0.8
SKIP_ZEROS: Final = 5
MAX_INTERVAL_ROUNDS: Final = 1_000


def update(card: Card | None, review: Review) -> Card:
    """The card after one review. Pure; ``card`` is None at the first one."""
    recalled = review.pass_rate >= RECALLED
    ease = START_EASE if card is None else card.ease
    lapses = 0 if card is None else card.lapses
    status: CardStatus = "active"
    zeros = 0
    if recalled:
        streak = 1 if card is None else card.streak + 1
        ease = next_ease(ease, 5 * review.pass_rate)
        gap = 0 if card is None or card.streak == 0 else _gap(card, review)
        interval = _grown(gap, ease) if gap else _first(review)
        proven = (
            streak >= GRADUATE_STREAK
            and gap >= GRADUATE_INTERVAL_ROUNDS
            and review.pass_rate >= GRADUATE_PASS_RATE
        )
        if proven or (card is not None and card.status == "graduated"):
            status = "graduated"
    else:
        streak = 0
        if card is not None and card.streak > 0:
            lapses += 1
            ease = max(MIN_EASE, ease - LAPSE_EASE)
        interval = 1
        if review.n_passed == 0:
            zeros = 1 if card is None else card.zeros + 1
            interval = min(zeros, SKIP_ZEROS)
            status = "skipped" if zeros >= SKIP_ZEROS else "active"
    return Card(
        task=review.task,
        ease=ease,
        interval_rounds=interval,
        streak=streak,
        zeros=zeros,
        lapses=lapses,
        due_round=review.round + interval,
        status=status,
        n_reviews=1 if card is None else card.n_reviews + 1,
        last_pass_rate=review.pass_rate,
    )


def next_ease(ease: float, quality: float) -> float:
    """SM-2's ease after an answer of ``quality`` 0…5: EF + (0.1 - (5-q)(0.08 + (5-q)·0.02)) ≥ 1.3."""
    missing = 5 - quality
    # Bracketed so that quality 4 leaves the ease exactly as it was: 0.1 - 0.1, not ease + 0.1 - 0.1.
    return max(MIN_EASE, ease + (0.1 - missing * (0.08 + missing * 0.02)))


def _first(review: Review) -> int:
    # Every sample passing is weak evidence, yet better than most passing: wait one round longer.
    return 2 if review.n_passed == review.n_graded else 1


def _gap(card: Card, review: Review) -> int:
    """Rounds since the last review: a card that was overdue has proved the longer interval."""
    return max(card.interval_rounds, review.round - (card.due_round - card.interval_rounds))


def _grown(gap: int, ease: float) -> int:
    return min(MAX_INTERVAL_ROUNDS, max(gap + 1, round(gap * ease)))
