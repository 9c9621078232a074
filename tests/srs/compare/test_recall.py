"""Log-loss of predictions on a log whose answer is worked out by hand."""

import dataclasses
import math

import pytest

from srs.compare.recall import SURE, log_loss, surprise
from srs.types import Card, Review, ReviewKind


def review(task: str, round: int, n_passed: int, kind: ReviewKind = "practice") -> Review:
    return Review(task=task, round=round, n_passed=n_passed, n_graded=4, kind=kind)


FRESH = Card(
    task="", ease=2.5, interval_rounds=1, streak=0, zeros=0, lapses=0, due_round=0, status="active",
    n_reviews=0, last_pass_rate=0.0,
)  # fmt: skip


def latest(card: Card | None, review: Review) -> Card:
    """A policy that remembers the last pass rate."""
    return dataclasses.replace(card or FRESH, task=review.task, last_pass_rate=review.pass_rate)


def again(card: Card, _round: int) -> float:
    return card.last_pass_rate


def test_only_known_cards_are_predicted_and_from_earlier_rounds() -> None:
    log = [review("a", 1, 4), review("b", 1, 2), review("a", 2, 4), review("b", 3, 2)]
    found = log_loss(log, latest, again)
    assert found is not None
    assert found.n_reviews == 2
    sure = -4 * math.log(1 - SURE)
    even = -4 * math.log(0.5)
    assert found.policy == pytest.approx((sure + even) / 8)
    # Before round 2 nothing was reviewed: one half. Before round 3 a's 4 of 4: (1 + 4) of (2 + 4).
    third = -(2 * math.log(5 / 6) + 2 * math.log(1 / 6))
    assert found.constant == pytest.approx((even + third) / 8)


def test_a_round_is_predicted_before_any_of_it_is_seen() -> None:
    log = [review("a", 1, 4), review("b", 1, 4), review("a", 2, 0), review("b", 2, 4)]
    assert log_loss(log, latest, again) == log_loss([*log[:2], *log[:1:-1]], latest, again)


def test_probes_teach_nothing_and_audits_do() -> None:
    log = [review("a", 1, 4), review("a", 3, 4)]
    probed = [*log, review("a", 2, 0, "probe")]
    assert log_loss(probed, latest, again) == log_loss(log, latest, again)
    audited = log_loss([*log, review("a", 2, 0, "audit")], latest, again)
    assert audited is not None
    assert audited.n_reviews == 2


def test_no_review_and_no_model() -> None:
    assert log_loss([review("a", 1, 4), review("b", 2, 4)], latest, again) is None
    found = log_loss([review("a", 1, 4), review("a", 2, 4)], latest, lambda *_: None)
    assert found is not None
    assert found.policy is None
    assert found.constant > 0


def test_the_truth_costs_least() -> None:
    costs = {p: surprise(p / 100, review("a", 1, 3)) for p in range(101)}
    assert min(costs, key=costs.__getitem__) == 75
    assert math.isfinite(costs[0])
    assert costs[100] == surprise(1 - SURE, review("a", 1, 3))
