"""How well a policy knows what will pass: the log-loss of its predictions on its own reviews. Pure."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Final

from srs.types import Card, Review

Update = Callable[[Card | None, Review], Card]
Predict = Callable[[Card, int], float | None]
SURE: Final = 0.01
"""Predictions are kept this far from 0 and 1: a single surprise must not cost without bound."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogLoss:
    """Mean nats per candidate over ``n_reviews``; ``policy`` None when it makes no predictions.

    ``constant`` is what the mean pass rate of the reviews so far scores on the same reviews.
    """

    policy: float | None
    constant: float
    n_reviews: int


def log_loss(reviews: Iterable[Review], update: Update, predict: Predict) -> LogLoss | None:
    """Replay a log and predict each review of a known card from the rounds before its own.

    ``update`` and ``predict`` are the policy's. Probes are left out: they leave cards as they are. The
    constant starts at one half, as if one candidate had passed and one failed. None when no card ever
    came back; a policy that has no prediction for one of the reviews has none at all.
    """
    cards: dict[str, Card] = {}
    n_passed, n_seen = 1, 2
    n_reviews = n_candidates = 0
    policy: float | None = 0.0
    constant = 0.0
    recorded = sorted((r for r in reviews if r.kind != "probe"), key=lambda r: r.round)
    for round, group in itertools.groupby(recorded, key=lambda r: r.round):
        together = list(group)
        known = [review for review in together if review.task in cards]
        mean = n_passed / n_seen
        for review in known:
            n_reviews += 1
            n_candidates += review.n_graded
            constant += surprise(mean, review)
            expected = predict(cards[review.task], round)
            if expected is None or policy is None:
                policy = None
            else:
                policy += surprise(expected, review)
        n_passed += sum(review.n_passed for review in known)
        n_seen += sum(review.n_graded for review in known)
        for review in together:
            cards[review.task] = update(cards.get(review.task), review)
    if not n_reviews:
        return None
    return LogLoss(
        policy=None if policy is None else policy / n_candidates,
        constant=constant / n_candidates,
        n_reviews=n_reviews,
    )


def surprise(expected: float, review: Review) -> float:
    """Nats that the review's candidates cost when each was expected to pass with this probability."""
    p = min(max(expected, SURE), 1 - SURE)
    n_failed = review.n_graded - review.n_passed
    return -(review.n_passed * math.log(p) + n_failed * math.log(1 - p))
