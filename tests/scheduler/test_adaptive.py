"""Golden traces of ours, and the laws of its filter."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replays import replay, review_of

from scheduler import adaptive, evidence, sm2
from scheduler.plan import Policy
from srs.types import Card, Review


def trace(passes: list[int]) -> list[tuple[int, str, str]]:
    cards = replay(adaptive, passes)
    return [(c.interval_rounds, adaptive.STAGES[c.stage], c.status) for c in cards]


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        # √odds of Beta(5.5, 0.5) = √11 rounds; then 1.5 rounds more for each round of gap survived.
        ([5, 5, 5, 5], [(3, "hold", "active"), (7, "hold", "active"), (16, "hold", "active"), (36, "hold", "graduated")]),
        # One miss in five slows it: the fourth success comes with too low a bound to graduate on.
        ([5, 4, 5, 4, 5], [(3, "hold", "active"), (6, "hold", "active"), (13, "hold", "active"), (24, "hold", "active"), (53, "hold", "graduated")]),
        # Three of five is still being acquired, with intervals that grow slowly, and never graduates.
        ([3] * 6, [(1, "acquire", "active"), (2, "acquire", "active"), (3, "acquire", "active"), (4, "acquire", "active"), (6, "acquire", "active"), (9, "acquire", "active")]),
        # Nothing passing: at once, then at doubling distances, then only audits.
        ([0] * 5, [(1, "acquire", "active"), (2, "parole", "active"), (4, "parole", "active"), (8, "parole", "active"), (16, "parole", "skipped")]),
        # A lapse returns at once and costs most of the stability; what is left of it speeds the way back.
        ([5, 5, 1, 5, 5], [(3, "hold", "active"), (7, "hold", "active"), (1, "acquire", "active"), (2, "hold", "active"), (4, "hold", "active")]),
        ([0, 0, 2, 3, 5, 5], [(1, "acquire", "active"), (2, "parole", "active"), (1, "acquire", "active"), (1, "acquire", "active"), (2, "hold", "active"), (4, "hold", "active")]),
    ],
)  # fmt: skip
def test_golden_traces(passes: list[int], expected: list[tuple[int, str, str]]) -> None:
    assert trace(passes) == expected


def test_more_candidates_are_more_evidence() -> None:
    """The same perfect pass rate: 1, 5 and 20 candidates."""
    cards = [adaptive.update(None, review_of(None, n, n_graded=n)) for n in (1, 5, 20)]
    assert [card.interval_rounds for card in cards] == [2, 3, 6]


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    passes=st.lists(st.integers(0, 5), max_size=12),
    n_passed=st.integers(0, 4),
    late=st.integers(0, 20),
)
def test_one_more_pass_never_returns_sooner_nor_expects_less(
    passes: list[int], n_passed: int, late: int
) -> None:
    before = replay(adaptive, passes)[-1] if passes else None
    worse = adaptive.update(before, review_of(before, n_passed, late=late))
    better = adaptive.update(before, review_of(before, n_passed + 1, late=late))
    if n_passed:  # without a pass the distance grows, because trying again is in vain
        assert better.interval_rounds >= worse.interval_rounds
    assert better.stability >= worse.stability
    assert evidence.mean(better.passes, better.fails) > evidence.mean(worse.passes, worse.fails)


@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=st.lists(st.integers(0, 5), min_size=1, max_size=12), late=st.integers(0, 20))
def test_a_gap_survived_is_what_makes_stable(passes: list[int], late: int) -> None:
    *_, card = replay(adaptive, passes)
    sooner = adaptive.update(card, review_of(card, 5, late=late))
    later = adaptive.update(card, review_of(card, 5, late=late + 1))
    assert later.stability > sooner.stability > card.stability
    failed = adaptive.update(card, review_of(card, 2, late=late))
    assert failed.stability <= card.stability
    assert failed.interval_rounds == 1


@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=st.lists(st.integers(3, 5), min_size=1, max_size=12))
def test_a_held_card_is_due_when_the_share_left_is_the_retention(passes: list[int]) -> None:
    *_, card = replay(adaptive, passes)
    reviewed = card.due_round - card.interval_rounds
    now, due = adaptive.predict(card, reviewed), adaptive.predict(card, card.due_round)
    assert now is not None
    assert due is not None
    left = (due / now - adaptive.KEPT) / (1 - adaptive.KEPT)
    assert left == pytest.approx(
        math.pow(adaptive.RETENTION, card.interval_rounds / card.stability)
    )
    assert abs(card.interval_rounds - card.stability) <= 0.5 or card.interval_rounds == 1


def test_practice_is_expected_to_help_and_an_audit_not() -> None:
    *_, card = replay(adaptive, [0] * 5)
    after = {
        kind: adaptive.update(card, Review(task="t", round=80, n_passed=2, n_graded=5, kind=kind))  # type: ignore[arg-type]
        for kind in ("practice", "audit")
    }
    assert adaptive.predict(after["practice"], 81) > adaptive.predict(after["audit"], 81)  # type: ignore[operator]
    assert after["practice"].interval_rounds == after["audit"].interval_rounds == 1
    # The evidence itself is the same: how many candidates there were, discounted.
    assert after["practice"].passes + after["practice"].fails == pytest.approx(
        after["audit"].passes + after["audit"].fails
    )


def test_practice_in_vain_is_expected_to_help_less_each_time() -> None:
    cards = replay(adaptive, [0] * 6)
    expected = [adaptive.predict(card, card.due_round) for card in cards]
    assert expected == sorted(expected, reverse=True)  # type: ignore[type-var]
    assert expected[0] == pytest.approx(
        2.5 / 6 * 0.98
    )  # Beta(2.5, 3.5), a tenth of a fifth forgotten
    assert expected[-1] < 0.1  # type: ignore[operator]


def test_what_is_repaired_first() -> None:
    """Among tasks to acquire: lapses by their surprise, then what is neither easy nor hopeless."""
    lapse, small_lapse = replay(adaptive, [5, 5, 0])[-1], replay(adaptive, [3, 2])[-1]
    middle, nearly = replay(adaptive, [2])[-1], replay(adaptive, [3])[-1]
    assert {card.stage for card in (lapse, small_lapse, middle, nearly)} == {0}
    assert lapse.priority > small_lapse.priority > middle.priority > nearly.priority


def test_among_held_tasks_the_least_stable_come_first() -> None:
    held = replay(adaptive, [5, 5, 5])
    assert {card.stage for card in held} == {1}
    assert [c.priority for c in held] == sorted((c.priority for c in held), reverse=True)


@settings(deadline=None)  # a busy machine is not a broken law
@given(late=st.integers(0, 30), n_graded=st.integers(1, 64))
def test_graduation_needs_three_successes_and_a_long_gap(late: int, n_graded: int) -> None:
    before: Card | None = None
    for n in range(12):
        review = review_of(before, n_graded, n_graded=n_graded, late=late)
        after = adaptive.update(before, review)
        if after.status == "graduated":
            assert before is not None
            assert n + 1 >= adaptive.GRADUATE_STREAK
            gap = review.round - (before.due_round - before.interval_rounds)
            assert gap >= adaptive.GRADUATE_GAP_ROUNDS
            assert n_graded > 3  # fewer at a long gap leave the lower bound below 0.75
            return
        before = after
    assert n_graded <= 3


def graduating(policy: Policy, pass_rate: float) -> float:
    """Of 400 tasks with a fixed pass rate, the share that graduates within eight reviews of 5."""
    rng = random.Random(0)
    runs = [[sum(rng.random() < pass_rate for _ in range(5)) for _ in range(8)] for _ in range(400)]
    return sum("graduated" in {c.status for c in replay(policy, run)} for run in runs) / len(runs)


def test_graduation_by_luck_is_rare() -> None:
    assert graduating(adaptive, 0.5) < 0.02
    assert graduating(adaptive, 0.7) < 0.5 * graduating(sm2, 0.7)
    assert graduating(adaptive, 0.9) > 0.9


def test_evidence_stays_bounded() -> None:
    card = None
    for round in range(1, 400):
        card = adaptive.update(card, Review(task="t", round=round, n_passed=3, n_graded=5))
    assert card is not None
    assert card.passes + card.fails == pytest.approx(5 / (1 - 2 ** (-1 / 4)))
    assert card.stability <= adaptive.MAX_STABILITY
