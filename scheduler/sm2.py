"""SM-2 corrected for training rounds: an ease that really multiplies intervals, and lapses.

Source: P. A. Woźniak, "Optimization of learning", 1990, algorithm SM-2 (ease formula, floor 1.3,
quality 3 = recalled, restart after a failure with the ease unchanged). Where rounds and k samples
differ from days and one answer, docs/policies.md says what changed and why.
"""

from __future__ import annotations

from typing import Final

from scheduler.evidence import RECALLED, START_EASE, last_round, zeros
from srs.types import Card, CardStatus, DueOrder, Review

name: Final = "sm2"
order: Final[DueOrder] = "overdue"
shares: Final[tuple[float, ...]] = ()
whole_pool: Final = False

MIN_EASE: Final = 1.3
LAPSE_EASE: Final = 0.2
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
    n_zeros = zeros(card, review)
    if recalled:
        streak = 1 if card is None else card.streak + 1
        ease = next_ease(ease, 5 * review.pass_rate)
        gap = 0
        interval = _first(review)
        if card is not None and card.streak:
            gap = _gap(card, review)
            interval = _grown(card, gap, ease)
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
            interval = min(n_zeros, SKIP_ZEROS)
            status = "skipped" if n_zeros >= SKIP_ZEROS else "active"
    return Card(
        task=review.task,
        ease=ease,
        interval_rounds=interval,
        streak=streak,
        zeros=n_zeros,
        lapses=lapses,
        due_round=review.round + interval,
        status=status,
        n_reviews=1 if card is None else card.n_reviews + 1,
        last_pass_rate=review.pass_rate,
    )


def predict(card: Card, round: int) -> float | None:
    """None: SM-2 has no model of recall, only intervals."""
    del card, round
    return None


def why(before: Card | None, review: Review, after: Card) -> str:
    """The reason for ``after``'s interval and status, in words."""
    if review.pass_rate < RECALLED:
        return _why_failed(before, review, after)
    if after.streak == 1:
        first = "all passed" if after.interval_rounds == 2 else f"at least {RECALLED:.0%} passed"
        return f"first success in a row ({first}): the start interval"
    assert before is not None
    words = f"success {after.streak} in a row: gap {_gap(before, review)} x ease {after.ease:.2f}"
    if after.interval_rounds != round(_gap(before, review) * after.ease):
        words += ", within its bounds"
    if after.status != "graduated":
        return words
    if before.status == "graduated":
        return f"{words}; stays graduated"
    return (
        f"{words}; graduated: {GRADUATE_STREAK} successes or more, a gap of "
        f"{GRADUATE_INTERVAL_ROUNDS} rounds or more survived, {GRADUATE_PASS_RATE:.0%} or more passed"
    )


def _why_failed(before: Card | None, review: Review, after: Card) -> str:
    words = f"failed (less than {RECALLED:.0%} passed)"
    if before is not None and before.streak > 0:
        words += f", a lapse: ease {before.ease:.2f} to {after.ease:.2f}"
    if review.n_passed == 0:
        words += f"; review {after.zeros} in a row without a pass waits as many rounds, at most {SKIP_ZEROS}"
        if after.status == "skipped":
            words += "; skipped until an audit sees one pass"
    else:
        words += "; again next round"
    if before is not None and before.status != "active" and after.status == "active":
        words += f"; no longer {before.status}"
    return words


def next_ease(ease: float, quality: float) -> float:
    """SM-2's ease after an answer of ``quality`` 0…5: EF + (0.1 - (5-q)(0.08 + (5-q)·0.02)) ≥ 1.3."""
    missing = 5 - quality
    # Bracketed so that quality 4 leaves the ease exactly as it was: 0.1 - 0.1, not ease + 0.1 - 0.1.
    return max(MIN_EASE, ease + (0.1 - missing * (0.08 + missing * 0.02)))


def _first(review: Review) -> int:
    # Every sample passing is weak evidence, yet better than most passing: wait one round longer.
    return 2 if review.n_passed == review.n_graded else 1


def _gap(card: Card, review: Review) -> int:
    """Rounds since the last review: what an overdue card has proved, and an early one not yet."""
    return review.round - last_round(card)


def _grown(card: Card, gap: int, ease: float) -> int:
    """The next interval: a success before its time doesn't take back what was proved before."""
    grown = max(gap + 1, round(gap * ease), card.interval_rounds)
    return min(MAX_INTERVAL_ROUNDS, grown)
