"""Leitner's boxes: a success moves a task one box on, a failure back to the first.

Source: S. Leitner, "So lernt man lernen", Herder 1972: five compartments, each visited more rarely than
the one before; what passes the last one leaves the file. Here each box waits twice as long as the last.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from scheduler.evidence import RECALLED, reviewed
from srs.types import Card, CardStatus, DueOrder, Review

name: Final = "leitner"
order: Final[DueOrder] = "overdue"
shares: Final[tuple[float, ...]] = ()
whole_pool: Final = False

LAST_BOX: Final = 4


def update(card: Card | None, review: Review) -> Card:
    """The card after one review; ``stage`` is its box. Pure; ``card`` is None at the first one."""
    box, status = 0, _status(card, review)
    if review.pass_rate >= RECALLED:
        # A new task stands in the first box, as every new card of Leitner's does.
        box = 0 if card is None else card.stage
        if not _is_early(card, review):
            box = min(LAST_BOX, box + 1)
    after = reviewed(card, review, interval_rounds=2**box, status=status)
    return dataclasses.replace(after, stage=box)


def _status(card: Card | None, review: Review) -> CardStatus:
    if card is None or card.stage < LAST_BOX or review.pass_rate < RECALLED:
        return "active"
    return card.status if _is_early(card, review) else "graduated"


def _is_early(card: Card | None, review: Review) -> bool:
    """Reviewed before its box's turn, because a round had room: that proves nothing about the wait."""
    return card is not None and review.round < card.due_round


def predict(card: Card, round: int) -> float | None:
    """None: there is no model."""
    del card, round
    return None


def why(before: Card | None, review: Review, after: Card) -> str:
    """The reason for ``after``'s interval and status, in words."""
    wait = f"box {after.stage + 1} of {LAST_BOX + 1} waits {after.interval_rounds} rounds"
    if review.pass_rate < RECALLED:
        return f"failed (less than {RECALLED:.0%} passed): back to box 1, which waits 1 round"
    if after.status == "graduated":
        if before is not None and before.status == "graduated":
            return "passed again after graduation: stays graduated"
        return "passed in the last box: graduated"
    if _is_early(before, review):
        return f"passed before its turn: {wait} from now on"
    return f"passed: {wait}"
