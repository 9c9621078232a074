"""Hardest first: reviews go to the tasks with the lowest pass rate, by their posterior mean."""

from __future__ import annotations

import dataclasses
from typing import Final

from scheduler import evidence
from srs.types import Card, DueOrder, Review

name: Final = "hardest"
order: Final[DueOrder] = "priority"
shares: Final[tuple[float, ...]] = ()
whole_pool: Final = False


def update(card: Card | None, review: Review) -> Card:
    """The card after one review. Pure; ``card`` is None at the first one."""
    passes, fails = evidence.gathered(card, review)
    return dataclasses.replace(
        evidence.reviewed(card, review, interval_rounds=1),
        priority=1 - evidence.mean(passes, fails),
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
    return f"due in every round; its place in the queue is its expected failure rate, {after.priority:.2f}"
