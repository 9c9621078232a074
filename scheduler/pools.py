"""Difficulty pools: reviews are drawn by lot from a hard, a normal and an easy pool, by fixed shares.

A task's pool follows its latest mean reward only, as in prime-rl (PrimeIntellect, its orchestrator's
buffer: ``easy_threshold``, ``hard_threshold``, ``easy_fraction``, ``hard_fraction``). There a pool's
shortfall goes to the normal pool; here to whichever pool is furthest behind its share.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from scheduler.evidence import reviewed
from srs.types import Card, DueOrder, Review

name: Final = "pools"
order: Final[DueOrder] = "random"
shares: Final[tuple[float, ...]] = (0.2, 0.6, 0.2)
"""Of the hard, the normal and the easy pool."""
whole_pool: Final = False

POOLS: Final = ("hard", "normal", "easy")
HARD: Final = 0.2
"""The latest pass rate of a hard task is at most this."""
EASY: Final = 0.8
"""The latest pass rate of an easy task is at least this."""


def update(card: Card | None, review: Review) -> Card:
    """The card after one review. Pure; ``card`` is None at the first one."""
    stage = 0 if review.pass_rate <= HARD else 2 if review.pass_rate >= EASY else 1
    return dataclasses.replace(reviewed(card, review, interval_rounds=1), stage=stage)


def predict(card: Card, round: int) -> float | None:
    """None: there is no model."""
    del card, round
    return None


def why(before: Card | None, review: Review, after: Card) -> str:
    """The reason for ``after``'s interval and status, in words."""
    del before, review
    return f"in the {POOLS[after.stage]} pool, which gets {shares[after.stage]:.0%} of the reviews by lot"
