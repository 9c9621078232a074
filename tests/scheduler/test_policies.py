"""Golden traces (pass counts out of 5 → interval and state) of the policies with plain rules."""

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replays import replay

from scheduler import (
    evidence,
    hardest,
    learnability,
    leitner,
    onepass,
    pools,
    random_review,
    seed,
    sm2,
    uniform,
)
from srs.types import Card, Review


def trace(cards: list[Card]) -> list[tuple[int, float, str]]:
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


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        # Box by box, twice the wait each time; a success in the last box graduates.
        ([5, 4, 3, 5, 5], [(2, 1, "active"), (4, 2, "active"), (8, 3, "active"), (16, 4, "active"), (16, 4, "graduated")]),
        # Any failure goes back to the first box, and hopeless tasks stay there.
        ([5, 5, 2, 5], [(2, 1, "active"), (4, 2, "active"), (1, 0, "active"), (2, 1, "active")]),
        ([0] * 6, [(1, 0, "active")] * 6),
        ([5] * 4 + [0, 5], [(2, 1, "active"), (4, 2, "active"), (8, 3, "active"), (16, 4, "active"), (1, 0, "active"), (2, 1, "active")]),
    ],
)  # fmt: skip
def test_leitner_golden_traces(passes: list[int], expected: list[tuple[int, int, str]]) -> None:
    cards = replay(leitner, passes)
    assert [(card.interval_rounds, card.stage, card.status) for card in cards] == expected


def test_pools_follow_the_latest_result_alone() -> None:
    cards = replay(pools, [0, 5, 1, 2, 3, 4, 0])
    assert [card.stage for card in cards] == [0, 2, 0, 1, 1, 2, 0]
    assert sum(pools.shares) == pytest.approx(1)


@pytest.mark.parametrize("policy", [uniform, onepass, random_review, hardest, learnability, pools])
def test_policies_without_intervals_are_due_every_round(policy: object) -> None:
    cards = replay(policy, [5, 0, 3, 0, 0, 0, 0, 0, 5, 5, 5, 5])
    assert {(card.interval_rounds, card.status) for card in cards} == {(1, "active")}


def test_hardest_orders_by_the_posterior_pass_rate() -> None:
    # Beta(1/2, 1/2): 0 of 5 has a mean of 0.5 / 6, 5 of 5 of 5.5 / 6.
    priorities = {n: replay(hardest, [n])[-1].priority for n in range(6)}
    assert priorities == pytest.approx({n: (5.5 - n) / 6 for n in range(6)})
    # Two reviews without a pass are worse news than one; a pass long ago counts less than a recent one.
    assert replay(hardest, [0, 0])[-1].priority > priorities[0]
    early, late = replay(hardest, [5, 0, 0])[-1], replay(hardest, [0, 0, 5])[-1]
    assert early.priority > late.priority


def test_learnability_is_highest_in_the_middle_and_smoothed_at_the_ends() -> None:
    audits = [Review(task="t", round=1, n_passed=n, n_graded=5, kind="audit") for n in range(6)]
    priorities = [learnability.update(None, audit).priority for audit in audits]
    # E[p(1-p)] of Beta(n + 1/2, 5 - n + 1/2).
    assert priorities == pytest.approx([(n + 0.5) * (5.5 - n) / 42 for n in range(6)])
    assert priorities == pytest.approx(priorities[::-1])
    assert max(priorities) == priorities[2]
    assert priorities[0] > 0


def test_learnability_reckons_with_what_practice_teaches() -> None:
    """Half of the fails are expected to pass after a round on the task; less where it was in vain."""
    priorities = [replay(learnability, [n])[-1].priority for n in range(6)]
    assert priorities == pytest.approx([(3 + n / 2) * (3 - n / 2) / 42 for n in range(6)])
    _, *in_vain = (card.priority for card in replay(learnability, [0] * 6))
    assert in_vain == sorted(in_vain, reverse=True)
    assert in_vain[-1] > 0


@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=st.floats(0, 1e3), fails=st.floats(0, 1e3))
def test_posterior_formulas_agree_with_their_moments(passes: float, fails: float) -> None:
    a, b = passes + 0.5, fails + 0.5
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    assert evidence.mean(passes, fails) == pytest.approx(mean)
    # E[p(1-p)] = E[p] - E[p]² - Var[p]
    assert evidence.learnability(passes, fails) == pytest.approx(mean - mean**2 - variance)
    assert evidence.lower_bound(passes, fails) == pytest.approx(mean - variance**0.5)


def test_evidence_halves_every_four_rounds() -> None:
    first = hardest.update(None, Review(task="t", round=1, n_passed=4, n_graded=4))
    again = hardest.update(first, Review(task="t", round=5, n_passed=0, n_graded=4))
    assert (again.passes, again.fails) == (2.0, 4.0)


def test_lapses_count_falls_from_success_only() -> None:
    for policy in (sm2, seed, leitner, hardest):
        cards = replay(policy, [0, 4, 0, 0, 4, 1])
        assert [card.lapses for card in cards] == [0, 0, 1, 1, 1, 2]
        assert [card.zeros for card in cards] == [1, 0, 1, 2, 0, 0]
        assert [card.streak for card in cards] == [0, 1, 0, 0, 1, 0]


def test_sm2_credits_the_rounds_that_an_overdue_card_survived() -> None:
    on_time, late = replay(sm2, [4, 4])[-1], replay(sm2, [4, 4], late=3)[-1]
    assert (on_time.interval_rounds, late.interval_rounds) == (2, 10)  # 1 · 2.5 and (1 + 3) · 2.5


@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=st.lists(st.integers(3, 5), min_size=2, max_size=60), late=st.integers(0, 40))
def test_sm2_intervals_grow_under_success(passes: list[int], late: int) -> None:
    intervals = [card.interval_rounds for card in replay(sm2, passes, late)]
    for shorter, longer in itertools.pairwise(intervals):
        assert longer > shorter or longer == sm2.MAX_INTERVAL_ROUNDS


@settings(deadline=None)  # a busy machine is not a broken law
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


@settings(deadline=None)  # a busy machine is not a broken law
@given(n_graded=st.integers(1, 64), late=st.integers(0, 9))
def test_sm2_never_graduates_on_fewer_than_three_successes(n_graded: int, late: int) -> None:
    card: Card | None = None
    for _ in range(sm2.GRADUATE_STREAK - 1):
        round = card.due_round + late if card else 1
        card = sm2.update(card, Review(task="t", round=round, n_passed=n_graded, n_graded=n_graded))
        assert card.status == "active"
