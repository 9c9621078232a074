"""Golden traces (pass counts out of 5 → interval, ease, state) and the laws that every policy keeps."""

import dataclasses
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import seed, sm2
from scheduler.plan import Policy
from srs.types import Card, Review

POLICIES: tuple[Policy, ...] = (sm2, seed)
counts = st.lists(st.integers(0, 5), min_size=1, max_size=30)


def replay(policy: Policy, passes: Sequence[int], late: int = 0) -> list[Card]:
    """One review of 5 samples whenever the card is due, or ``late`` rounds after that."""
    cards: list[Card] = []
    for n_passed in passes:
        card = cards[-1] if cards else None
        round = card.due_round + late if card else 1
        cards.append(
            policy.update(card, Review(task="t", round=round, n_passed=n_passed, n_graded=5))
        )
    return cards


def trace(cards: Sequence[Card]) -> list[tuple[int, float, str]]:
    return [(card.interval_rounds, round(card.ease, 2), card.status) for card in cards]


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        # A perfect score waits 2 rounds, then the ease (2.5 + 0.1 each) multiplies: 2 · 2.7, 5 · 2.8.
        ([5, 5, 5], [(2, 2.6, "active"), (5, 2.7, "active"), (14, 2.8, "graduated")]),
        # Quality 4 leaves the ease, quality 3 lowers it by 0.14; the third proves 2 rounds, not 3.
        ([4, 4, 4], [(1, 2.5, "active"), (2, 2.5, "active"), (5, 2.5, "active")]),
        ([4, 4, 4, 4], [(1, 2.5, "active"), (2, 2.5, "active"), (5, 2.5, "active"), (12, 2.5, "graduated")]),
        ([3, 3, 3], [(1, 2.36, "active"), (2, 2.22, "active"), (4, 2.08, "active")]),
        # Three of five recalls the task, yet never graduates it.
        ([3] * 6, [(1, 2.36, "active"), (2, 2.22, "active"), (4, 2.08, "active"), (8, 1.94, "active"), (14, 1.8, "active"), (23, 1.66, "active")]),
        # A lapse restarts the interval and costs 0.2 of ease; failing what was never known costs none.
        ([5, 5, 1, 5, 5], [(2, 2.6, "active"), (5, 2.7, "active"), (1, 2.5, "active"), (2, 2.6, "active"), (5, 2.7, "active")]),
        ([2, 2, 5], [(1, 2.5, "active"), (1, 2.5, "active"), (2, 2.6, "active")]),
        # Rounds without a single pass come at growing distances; the fifth in a row skips the task.
        ([0] * 5, [(1, 2.5, "active"), (2, 2.5, "active"), (3, 2.5, "active"), (4, 2.5, "active"), (5, 2.5, "skipped")]),
        ([0, 0, 1, 0], [(1, 2.5, "active"), (2, 2.5, "active"), (1, 2.5, "active"), (1, 2.5, "active")]),
    ],
)  # fmt: skip
def test_sm2_golden_traces(passes: list[int], expected: list[tuple[int, float, str]]) -> None:
    assert trace(replay(sm2, passes)) == expected


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        ([5], [(1, 2.6, "graduated")]),
        ([4, 4, 4], [(1, 2.5, "active"), (2, 2.5, "active"), (4, 2.5, "graduated")]),
        ([3, 3, 3], [(1, 2.36, "active"), (2, 2.22, "active"), (4, 2.08, "graduated")]),
        # After streak 3 the interval is multiplied by the ease, though nothing schedules it any more.
        ([4, 4, 4, 4], [(1, 2.5, "active"), (2, 2.5, "active"), (4, 2.5, "graduated"), (10, 2.5, "graduated")]),
        # .4 is quality 2 (-0.32), anything less quality 1 (-0.54), down to the floor of 1.3.
        ([2, 1, 1], [(1, 2.18, "active"), (1, 1.64, "active"), (1, 1.3, "active")]),
        ([4, 4, 2, 4], [(1, 2.5, "active"), (2, 2.5, "active"), (1, 2.18, "active"), (1, 2.18, "active")]),
        # Graduated is for good, and so is skipped.
        ([5, 0], [(1, 2.6, "graduated"), (1, 2.06, "graduated")]),
        ([0] * 5 + [5], [(1, 1.96, "active"), (1, 1.42, "active"), (1, 1.3, "active"), (1, 1.3, "active"), (1, 1.3, "skipped"), (1, 1.4, "skipped")]),
    ],
)  # fmt: skip
def test_seed_golden_traces(passes: list[int], expected: list[tuple[int, float, str]]) -> None:
    assert trace(replay(seed, passes)) == expected


def test_lapses_count_falls_from_success_only() -> None:
    for policy in POLICIES:
        cards = replay(policy, [0, 4, 0, 0, 4, 1])
        assert [card.lapses for card in cards] == [0, 0, 1, 1, 1, 2]
        assert [card.zeros for card in cards] == [1, 0, 1, 2, 0, 0]
        assert [card.streak for card in cards] == [0, 1, 0, 0, 1, 0]


def test_sm2_credits_the_rounds_that_an_overdue_card_survived() -> None:
    on_time, late = replay(sm2, [4, 4])[-1], replay(sm2, [4, 4], late=3)[-1]
    assert (on_time.interval_rounds, late.interval_rounds) == (2, 10)  # 1 · 2.5 and (1 + 3) · 2.5


def test_sm2_failing_an_audit_revives_a_graduated_card() -> None:
    *_, graduated, revived = replay(sm2, [5, 5, 5, 1])
    assert graduated.status == "graduated"
    assert (revived.status, revived.lapses, revived.interval_rounds) == ("active", 1, 1)


def test_sm2_a_graduated_card_that_passes_an_audit_stays_graduated() -> None:
    assert replay(sm2, [5, 5, 5, 3])[-1].status == "graduated"


def test_sm2_a_skipped_card_that_passes_once_is_active_again() -> None:
    assert [card.status for card in replay(sm2, [0] * 5 + [1])][-2:] == ["skipped", "active"]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: str(policy.name))
@given(passes=counts, late=st.integers(0, 40))
def test_cards_keep_their_invariants(policy: Policy, passes: list[int], late: int) -> None:
    cards = replay(policy, passes, late)
    assert cards == replay(policy, passes, late)
    for before, card, n_passed in zip([None, *cards], cards, passes, strict=False):
        reviewed = before.due_round + late if before else 1
        assert card.due_round == reviewed + card.interval_rounds
        assert card.interval_rounds >= 1
        assert card.ease >= 1.3
        assert card.last_pass_rate == n_passed / 5
        assert card.n_reviews == (before.n_reviews if before else 0) + 1
        assert card.lapses - (before.lapses if before else 0) in (0, 1)


@given(passes=st.lists(st.integers(3, 5), min_size=2, max_size=60), late=st.integers(0, 40))
def test_sm2_intervals_grow_under_success(passes: list[int], late: int) -> None:
    intervals = [card.interval_rounds for card in replay(sm2, passes, late)]
    for shorter, longer in itertools.pairwise(intervals):
        assert longer > shorter or longer == sm2.MAX_INTERVAL_ROUNDS


@given(passes=st.lists(st.integers(3, 5), min_size=1, max_size=4))
def test_sm2_ease_multiplies_the_interval(passes: list[int]) -> None:
    *_, card = replay(sm2, passes)
    again = Review(
        task="t", round=card.due_round, n_passed=4, n_graded=5
    )  # quality 4: ease unchanged
    for ease in (1.3, 1.9, 2.5, 3.0):
        after = sm2.update(dataclasses.replace(card, ease=ease), again)
        assert after.interval_rounds == max(
            card.interval_rounds + 1, round(ease * card.interval_rounds)
        )


@given(n_graded=st.integers(1, 64), late=st.integers(0, 9))
def test_sm2_never_graduates_on_fewer_than_three_successes(n_graded: int, late: int) -> None:
    card: Card | None = None
    for _ in range(sm2.GRADUATE_STREAK - 1):
        round = card.due_round + late if card else 1
        card = sm2.update(card, Review(task="t", round=round, n_passed=n_graded, n_graded=n_graded))
        assert card.status == "active"
