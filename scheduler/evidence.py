"""What reviews say of a card: successes and lapses in a row, and a posterior of its pass rate.

The pass rate over k candidates is a noisy observation: a task that passes 70% of the time shows 5 of 5
every sixth review. So evidence is kept as two counts, and read through a Beta posterior.
"""

from __future__ import annotations

import math
from typing import Final

from srs.types import Card, CardStatus, Review

PRIOR: Final = 0.5
"""Jeffreys' prior Beta(1/2, 1/2) of a binomial rate: half a pass and half a fail."""
HALF_LIFE_ROUNDS: Final = 4.0
"""Evidence so old counts half, because the model that gave it has been trained since."""
RECALLED: Final = 0.6
"""A review with at least this pass rate is a success: quality 3 of 5 in SM-2's terms."""
START_EASE: Final = 2.5
GAIN: Final = 0.5
"""Share of the failures that one practice turns into passes: fitted to the tiny lab (docs/policies.md)."""


def reviewed(
    card: Card | None,
    review: Review,
    *,
    interval_rounds: int,
    status: CardStatus = "active",
) -> Card:
    """The card with the counts that every policy keeps; a policy's own fields are at their defaults."""
    streak, lapses = (0, 0) if card is None else (card.streak, card.lapses)
    success = review.pass_rate >= RECALLED
    return Card(
        task=review.task,
        ease=START_EASE,
        interval_rounds=interval_rounds,
        streak=streak + 1 if success else 0,
        zeros=zeros(card, review),
        lapses=lapses + (streak > 0 and not success),
        due_round=review.round + interval_rounds,
        status=status,
        n_reviews=1 if card is None else card.n_reviews + 1,
        last_pass_rate=review.pass_rate,
    )


def zeros(card: Card | None, review: Review) -> int:
    """Reviews in a row, this one included, in which nothing passed."""
    return 0 if review.n_passed else 1 + (0 if card is None else card.zeros)


def last_round(card: Card) -> int:
    return card.due_round - card.interval_rounds


def weight(age_rounds: int) -> float:
    """What evidence of that age counts, from 1 (now) towards 0."""
    return math.pow(0.5, age_rounds / HALF_LIFE_ROUNDS)


def gathered(card: Card | None, review: Review) -> tuple[float, float]:
    """(passes, fails) after ``review``: its candidates, and the older ones for what their age leaves."""
    passes, fails = float(review.n_passed), float(review.n_graded - review.n_passed)
    if card is not None:
        kept = weight(review.round - last_round(card))
        passes, fails = passes + card.passes * kept, fails + card.fails * kept
    return passes, fails


def after_practice(
    card: Card | None, review: Review, passes: float, fails: float
) -> tuple[float, float]:
    """(passes, fails) as they are expected once the round has trained on the task.

    Practice in vain is trusted less each time; what is not practised, such as an audit, gains nothing.
    """
    if review.kind != "practice":
        return passes, fails
    gained = fails * GAIN / max(1, zeros(card, review))
    return passes + gained, fails - gained


def mean(passes: float, fails: float) -> float:
    """The posterior mean of the pass rate, a/(a+b) of Beta(a, b)."""
    return (PRIOR + passes) / (2 * PRIOR + passes + fails)


def learnability(passes: float, fails: float) -> float:
    """The posterior mean of p(1-p), ab/((a+b)(a+b+1)) of Beta(a, b); at most 1/4."""
    a, b = PRIOR + passes, PRIOR + fails
    return a * b / ((a + b) * (a + b + 1))


def lower_bound(passes: float, fails: float) -> float:
    """One posterior standard deviation below the mean: about 5 to 1 that the pass rate is higher."""
    total = 2 * PRIOR + passes + fails
    p = mean(passes, fails)
    return p - math.sqrt(p * (1 - p) / (total + 1))
