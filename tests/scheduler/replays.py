"""Replays that the tests of policies share."""

from collections.abc import Sequence
from typing import get_args

from scheduler.config import PolicyName
from scheduler.plan import Policy
from scheduler.policies import policy
from srs.types import Card, Review

POLICIES: tuple[Policy, ...] = tuple(policy(name) for name in get_args(PolicyName))


def replay(policy: Policy, passes: Sequence[int], late: int = 0) -> list[Card]:
    """One review of 5 samples whenever the card is due, or ``late`` rounds after that.

    A review of a graduated or skipped card is an audit.
    """
    cards: list[Card] = []
    for n_passed in passes:
        card = cards[-1] if cards else None
        cards.append(policy.update(card, review_of(card, n_passed, late=late)))
    return cards


def review_of(card: Card | None, n_passed: int, *, n_graded: int = 5, late: int = 0) -> Review:
    """The review that comes ``late`` rounds after a card is due; the first one is in round 1."""
    return Review(
        task="t",
        round=card.due_round + late if card else 1,
        n_passed=n_passed,
        n_graded=n_graded,
        kind="audit" if card and card.status != "active" else "practice",
    )
