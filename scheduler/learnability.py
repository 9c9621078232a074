"""Learnability: reviews go to the tasks whose results vary most, p(1-p), smoothed by a posterior.

Source: T. Foster, A. Sims, J. Forkel, J. Foerster, "LILO: Learning to Reason at the Frontier of
Learnability", NeurIPS 2025. There p comes from fresh samples of many candidates; here it comes from the
memory, and what is used is the posterior mean of p(1-p), so that 0 of 5 isn't taken for certainty; the
round's own practice is reckoned in, or the tasks just learned would seem the most learnable.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from scheduler import evidence
from srs.types import Card, DueOrder, Review

name: Final = "learnability"
order: Final[DueOrder] = "priority"
shares: Final[tuple[float, ...]] = ()
whole_pool: Final = False


def update(card: Card | None, review: Review) -> Card:
    """The card after one review. Pure; ``card`` is None at the first one."""
    passes, fails = evidence.after_practice(card, review, *evidence.gathered(card, review))
    return dataclasses.replace(
        evidence.reviewed(card, review, interval_rounds=1),
        priority=evidence.learnability(passes, fails),
        passes=passes,
        fails=fails,
    )


def predict(card: Card, round: int) -> float | None:
    """The posterior mean of the pass rate; this model has no forgetting."""
    del round
    return evidence.mean(card.passes, card.fails)


def why(before: Card | None, review: Review, after: Card) -> str:
    """The reason for ``after``'s interval and status, in words."""
    del before, review
    return f"due in every round; its place in the queue is its learnability p(1-p), {after.priority:.2f}"
