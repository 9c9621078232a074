"""Golden traces of ours, and the laws of its filter."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_deck import MemoryDeck
from replays import replay, review_of

from scheduler import adaptive, evidence, sm2
from scheduler.adaptive import Adaptive
from scheduler.config import SchedulerConfig
from scheduler.plan import Policy, draw_plan
from scheduler.policies import policy
from srs.types import Card, Review, UserError

POLICY = Adaptive()


def trace(passes: list[int]) -> list[tuple[int, str, str]]:
    cards = replay(POLICY, passes)
    return [(c.interval_rounds, adaptive.STAGES[c.stage], c.status) for c in cards]


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        # √odds of Beta(5.5, 0.5) = √11 rounds of stability, and 2.1 times that to wait; then 1.5 rounds
        # of stability more for each round of gap survived.
        ([5, 5, 5, 5], [(7, "hold", "active"), (25, "hold", "active"), (92, "hold", "active"), (335, "hold", "graduated")]),
        ([5, 4, 5, 5], [(7, "hold", "active"), (20, "hold", "active"), (72, "hold", "active"), (263, "hold", "graduated")]),
        # Three of five is still being acquired: it waits its stability, and four rounds at least.
        ([3] * 6, [(4, "acquire", "active"), (4, "acquire", "active"), (10, "hold", "active"), (8, "acquire", "active"), (11, "acquire", "active"), (15, "acquire", "active")]),
        # Nothing passing: soon, then at doubling distances, then only audits.
        ([0] * 5, [(4, "acquire", "active"), (4, "parole", "active"), (4, "parole", "active"), (8, "parole", "active"), (16, "parole", "skipped")]),
        # A lapse costs most of the stability; what is left of it speeds the way back.
        ([5, 5, 1, 5, 5], [(7, "hold", "active"), (25, "hold", "active"), (4, "acquire", "active"), (13, "hold", "active"), (47, "hold", "active")]),
        ([0, 0, 2, 3, 5, 5], [(4, "acquire", "active"), (4, "parole", "active"), (4, "acquire", "active"), (4, "acquire", "active"), (14, "hold", "active"), (51, "hold", "active")]),
    ],
)  # fmt: skip
def test_golden_traces(passes: list[int], expected: list[tuple[int, str, str]]) -> None:
    assert trace(passes) == expected


def test_more_candidates_are_more_evidence() -> None:
    """The same perfect pass rate: 1, 5 and 20 candidates."""
    cards = [POLICY.update(None, review_of(None, n, n_graded=n)) for n in (1, 5, 20)]
    assert [card.interval_rounds for card in cards] == [4, 7, 14]


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    passes=st.lists(st.integers(0, 5), max_size=12),
    n_passed=st.integers(0, 4),
    late=st.integers(0, 20),
)
def test_one_more_pass_never_returns_sooner_nor_expects_less(
    passes: list[int], n_passed: int, late: int
) -> None:
    before = replay(POLICY, passes)[-1] if passes else None
    worse = POLICY.update(before, review_of(before, n_passed, late=late))
    better = POLICY.update(before, review_of(before, n_passed + 1, late=late))
    if n_passed:  # without a pass the distance grows, because trying again is in vain
        assert better.interval_rounds >= worse.interval_rounds
    assert better.stability >= worse.stability
    assert evidence.mean(better.passes, better.fails) > evidence.mean(worse.passes, worse.fails)


@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=st.lists(st.integers(0, 5), min_size=1, max_size=12), late=st.integers(0, 20))
def test_a_gap_survived_is_what_makes_stable(passes: list[int], late: int) -> None:
    *_, card = replay(POLICY, passes)
    sooner = POLICY.update(card, review_of(card, 5, late=late))
    later = POLICY.update(card, review_of(card, 5, late=late + 1))
    assert later.stability >= sooner.stability >= card.stability
    if later.stability < adaptive.MAX_STABILITY:
        assert later.stability > sooner.stability > card.stability
    failed = POLICY.update(card, review_of(card, 2, late=late))
    assert failed.stability <= card.stability
    assert failed.interval_rounds == adaptive.MIN_WAIT_ROUNDS


@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=st.lists(st.integers(3, 5), max_size=2))
def test_a_held_card_is_due_when_so_much_is_left(passes: list[int]) -> None:
    *_, card = replay(POLICY, [*passes, 5])
    assert adaptive.STAGES[card.stage] == "hold"
    reviewed = card.due_round - card.interval_rounds
    now, due = POLICY.predict(card, reviewed), POLICY.predict(card, card.due_round)
    assert now is not None
    assert due is not None
    left = (due / now - adaptive.KEPT) / (1 - adaptive.KEPT)
    assert left == pytest.approx(
        math.pow(adaptive.RETENTION, card.interval_rounds / card.stability)
    )
    half_a_round = math.pow(adaptive.RETENTION, 0.5 / card.stability)
    assert left * half_a_round <= adaptive.DUE_AT <= left / half_a_round


def test_practice_is_expected_to_help_and_an_audit_not() -> None:
    *_, card = replay(POLICY, [0] * 5)
    after = {
        kind: POLICY.update(card, Review(task="t", round=80, n_passed=2, n_graded=5, kind=kind))  # type: ignore[arg-type]
        for kind in ("practice", "audit")
    }
    assert POLICY.predict(after["practice"], 81) > POLICY.predict(after["audit"], 81)  # type: ignore[operator]
    assert after["practice"].interval_rounds == after["audit"].interval_rounds == 4
    # The evidence itself is the same: how many candidates there were, discounted.
    assert after["practice"].passes + after["practice"].fails == pytest.approx(
        after["audit"].passes + after["audit"].fails
    )


def test_practice_in_vain_is_expected_to_help_less_each_time() -> None:
    cards = replay(POLICY, [0] * 6)
    expected = [POLICY.predict(card, card.due_round) for card in cards]
    assert expected == sorted(expected, reverse=True)  # type: ignore[type-var]
    assert expected[0] == pytest.approx(
        3 / 6 * (0.95 + 0.05 * 0.9**4)
    )  # Beta(3, 3), four rounds' part of a twentieth forgotten
    assert expected[-1] < 0.1  # type: ignore[operator]


def test_what_is_repaired_first() -> None:
    """Among tasks to acquire: lapses by their surprise, then what is neither easy nor hopeless."""
    lapse, small_lapse = replay(POLICY, [5, 5, 0])[-1], replay(POLICY, [3, 2])[-1]
    middle, nearly = replay(POLICY, [2])[-1], replay(POLICY, [3])[-1]
    assert {card.stage for card in (lapse, small_lapse, middle, nearly)} == {0}
    assert lapse.priority > small_lapse.priority > middle.priority > nearly.priority


def test_held_tasks_come_in_the_order_in_which_they_fall_due() -> None:
    held = replay(POLICY, [5, 5, 5])
    assert {card.stage for card in held} == {1}
    assert [c.priority for c in held] == [-c.due_round for c in held]


def test_no_held_task_waits_for_ever() -> None:
    """However many tasks have just been learned: the stable ones are overdue longer, and come first."""
    deck = MemoryDeck(f"task{i}" for i in range(600))
    config = SchedulerConfig(tasks_per_round=20, new_share=0.5, audit_every=0)
    waited: list[int] = []
    for round in range(1, 61):
        plan = draw_plan(deck, round, POLICY, config)
        waited += [round - deck.cards[task].due_round for task in plan.review]
        reviews = [Review(task=t, round=round, n_passed=5, n_graded=5) for t in plan.practised]
        deck.record(POLICY, reviews)
    # Ten places a round, and each of ten new tasks a round wants two reviews within 33 rounds.
    assert {card.n_reviews for card in deck.cards.values()} == {1, 2, 3}
    assert max(waited) <= 20
    held = [card for card in deck.cards.values() if card.status == "active"]
    assert max(60 - card.due_round for card in held) <= 20


def test_held_tasks_get_their_share_of_the_reviews() -> None:
    deck = MemoryDeck(f"task{i}" for i in range(90))
    for round in (1, 5):
        for passed, tasks in ((5, deck.tasks[:30]), (2, deck.tasks[30:60]), (0, deck.tasks[60:])):
            deck.record(
                POLICY, (Review(task=t, round=round, n_passed=passed, n_graded=5) for t in tasks)
            )
    for hold_share, expected in ((0.1, [16, 2, 2]), (0.4, [10, 8, 2]), (0.85, [1, 17, 2])):
        config = SchedulerConfig(
            policy="adaptive", hold_share=hold_share, tasks_per_round=20, new_share=0.0
        )
        plan = draw_plan(deck, 60, policy(config), config)
        stages = [deck.cards[task].stage for task in plan.review]
        assert [stages.count(stage) for stage in range(3)] == expected


@pytest.mark.parametrize("hold_share", [0.0, 0.9])
def test_a_share_that_starves_the_others_is_refused(hold_share: float) -> None:
    with pytest.raises(UserError, match=r"scheduler\.hold_share: must be above 0 and below 0\.9"):
        policy(SchedulerConfig(policy="adaptive", hold_share=hold_share))


@settings(deadline=None)  # a busy machine is not a broken law
@given(late=st.integers(0, 30), n_graded=st.integers(1, 64))
def test_graduation_needs_successes_and_a_long_gap(late: int, n_graded: int) -> None:
    before: Card | None = None
    for n in range(12):
        review = review_of(before, n_graded, n_graded=n_graded, late=late)
        after = POLICY.update(before, review)
        if after.status == "graduated":
            assert before is not None
            assert n + 1 >= adaptive.GRADUATE_STREAK
            gap = review.round - (before.due_round - before.interval_rounds)
            assert gap >= adaptive.GRADUATE_GAP_ROUNDS
            assert n_graded > 3  # fewer at a long gap leave the lower bound below 0.75
            return
        before = after
    assert n_graded <= 3


def test_three_candidates_prove_enough_only_close_together() -> None:
    card: Card | None = None
    for round in (1, 2, 3, 4, 12):
        assert card is None or card.status == "active"
        card = POLICY.update(card, Review(task="t", round=round, n_passed=3, n_graded=3))
    assert card is not None
    assert card.status == "graduated"


def graduating(policy: Policy, pass_rate: float) -> float:
    """Of 400 tasks with a fixed pass rate, the share that graduates within eight reviews of 5."""
    rng = random.Random(0)
    runs = [[sum(rng.random() < pass_rate for _ in range(5)) for _ in range(8)] for _ in range(400)]
    return sum("graduated" in {c.status for c in replay(policy, run)} for run in runs) / len(runs)


def test_graduation_by_luck_is_rare() -> None:
    assert graduating(POLICY, 0.5) < 0.02
    assert graduating(POLICY, 0.7) < 0.5 * graduating(sm2, 0.7)
    assert graduating(POLICY, 0.9) > 0.9


def test_evidence_stays_bounded() -> None:
    card = None
    for round in range(1, 400):
        card = POLICY.update(card, Review(task="t", round=round, n_passed=3, n_graded=5))
    assert card is not None
    assert card.passes + card.fails == pytest.approx(5 / (1 - 2 ** (-1 / 4)))
    assert card.stability <= adaptive.MAX_STABILITY
