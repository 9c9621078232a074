"""The laws that every policy keeps, whatever its rules."""

import dataclasses
import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_deck import MemoryDeck
from replays import POLICIES, replay, review_of

from scheduler.config import PolicyName, SchedulerConfig
from scheduler.plan import Policy, allocate, draw_plan
from scheduler.policies import policy as policy_of
from srs.types import Card, Review, RoundPlan

every_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: str(policy.name))
counts = st.lists(st.integers(0, 5), min_size=1, max_size=30)
POOL = 150
RETIRING = {"sm2", "seed", "leitner", "adaptive"}
SKIPPING = {"sm2", "seed", "adaptive"}
SPACED: tuple[PolicyName, ...] = ("sm2", "leitner", "fsrs", "adaptive")
FORGETTING = {"fsrs", "adaptive"}
"""Policies whose model says that a pass rate falls with time."""


@every_policy
@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=counts, late=st.integers(0, 40))
def test_cards_keep_their_invariants(policy: Policy, passes: list[int], late: int) -> None:
    cards = replay(policy, passes, late)
    assert cards == replay(policy, passes, late)
    for before, card, n_passed in zip([None, *cards], cards, passes, strict=False):
        reviewed = before.due_round + late if before else 1
        assert card.due_round == reviewed + card.interval_rounds
        assert 1 <= card.interval_rounds <= 1_000
        assert card.ease >= 1.3
        assert card.last_pass_rate == n_passed / 5
        assert card.n_reviews == (before.n_reviews if before else 0) + 1
        assert card.lapses - (before.lapses if before else 0) in (0, 1)
        assert card.streak == (0 if n_passed < 3 else (before.streak if before else 0) + 1)
        assert card.zeros == (0 if n_passed else (before.zeros if before else 0) + 1)
        values = [v for v in dataclasses.asdict(card).values() if isinstance(v, float)]
        assert all(math.isfinite(value) for value in values)
        assert min(card.passes, card.fails, card.stability) >= 0
        assert card.stage in range(max(1, len(policy.shares)) if policy.name != "leitner" else 5)


@every_policy
@settings(deadline=None)  # a busy machine is not a broken law
@given(late=st.integers(0, 40), n_reviews=st.integers(2, 40), n_graded=st.integers(1, 64))
def test_intervals_never_shrink_under_unbroken_success(
    policy: Policy, late: int, n_reviews: int, n_graded: int
) -> None:
    cards: list[Card] = []
    for _ in range(n_reviews):
        card = cards[-1] if cards else None
        review = review_of(card, n_graded, n_graded=n_graded, late=late)
        cards.append(policy.update(card, review))
    for earlier, later in itertools.pairwise(cards):
        assert later.interval_rounds >= earlier.interval_rounds
        assert (later.status, earlier.status) != ("active", "graduated")
    assert cards[-1].lapses == 0
    if policy.name in {"sm2", "leitner", "adaptive"}:
        assert cards[0].status == cards[1].status == "active"  # graduation needs repeated evidence


@pytest.mark.parametrize("name", SPACED)
@settings(deadline=None)  # a busy machine is not a broken law
@given(reviews=st.lists(st.tuples(st.integers(3, 5), st.integers(1, 60)), min_size=2, max_size=12))
def test_no_success_shortens_an_interval_unless_the_task_is_no_longer_held(
    name: PolicyName, reviews: list[tuple[int, int]]
) -> None:
    """Whether every candidate passed or just enough of them, and early, in time or late."""
    policy = policy_of(name)
    cards, round = [], 0
    for n_passed, gap in reviews:
        round += gap
        review = Review(task="t", round=round, n_passed=n_passed, n_graded=5)
        cards.append(policy.update(cards[-1] if cards else None, review))
    for earlier, later in itertools.pairwise(cards):
        let_go = name == "adaptive" and (earlier.stage, later.stage) == (1, 0)
        assert later.interval_rounds >= earlier.interval_rounds or let_go


@every_policy
@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=counts)
def test_predictions_are_pass_rates(policy: Policy, passes: list[int]) -> None:
    *_, card = replay(policy, passes)
    reviewed = card.due_round - card.interval_rounds
    predicted = [policy.predict(card, reviewed + gap) for gap in (0, 1, 2, 4, 8, 100, 10_000)]
    if policy.name in FORGETTING | {"hardest", "learnability"}:
        assert all(p is not None and 0 <= p <= 1 for p in predicted)
        falls = [a - b for a, b in itertools.pairwise(predicted)]  # type: ignore[operator]
        assert min(falls) >= 0
        assert (max(falls) > 0) == (policy.name in FORGETTING)
        assert policy.predict(card, reviewed - 3) == predicted[0]
    else:
        assert set(predicted) == {None}


@every_policy
def test_better_results_predict_no_worse(policy: Policy) -> None:
    for before in ([], [0], [5], [3, 3], [5, 5, 5, 5]):
        cards = [replay(policy, [*before, n])[-1] for n in range(6)]
        rounds = [card.due_round - card.interval_rounds + 1 for card in cards]
        predicted = [policy.predict(c, r) for c, r in zip(cards, rounds, strict=True)]
        if predicted[0] is not None:
            assert predicted == sorted(predicted)  # type: ignore[type-var]


@every_policy
@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=counts)
def test_only_some_policies_retire_cards(policy: Policy, passes: list[int]) -> None:
    statuses = {card.status for card in replay(policy, passes)}
    assert policy.name in RETIRING or statuses == {"active"}
    assert policy.name in SKIPPING or "skipped" not in statuses


@every_policy
def test_what_always_and_never_passes(policy: Policy) -> None:
    assert {card.status for card in replay(policy, [5] * 12)} == (
        {"graduated"}
        if policy.name == "seed"
        else {"active", "graduated"}
        if policy.name in RETIRING
        else {"active"}
    )
    assert ("skipped" in {c.status for c in replay(policy, [0] * 12)}) == (policy.name in SKIPPING)


@pytest.mark.parametrize(
    "policy",
    [p for p in POLICIES if p.name in RETIRING - {"seed"}],
    ids=lambda policy: str(policy.name),
)
@pytest.mark.parametrize("n_passed", range(6))
def test_audits_of_graduated_cards(policy: Policy, n_passed: int) -> None:
    *_, graduated = replay(policy, [5] * 6)
    assert graduated.status == "graduated"
    audit = review_of(graduated, n_passed)
    assert audit.kind == "audit"
    after = policy.update(graduated, audit)
    if n_passed >= 3:
        assert (after.status, after.lapses) == ("graduated", 0)
    else:
        assert (after.status, after.lapses) == ("active", 1)
        assert (
            after.interval_rounds == policy.update(None, review_of(None, n_passed)).interval_rounds
        )


@pytest.mark.parametrize(
    "policy",
    [p for p in POLICIES if p.name in SKIPPING - {"seed"}],
    ids=lambda policy: str(policy.name),
)
@pytest.mark.parametrize("n_passed", range(6))
def test_audits_of_skipped_cards(policy: Policy, n_passed: int) -> None:
    *_, skipped = replay(policy, [0] * 6)
    assert skipped.status == "skipped"
    after = policy.update(skipped, review_of(skipped, n_passed))
    assert after.status == ("active" if n_passed else "skipped")


@pytest.mark.parametrize("passes", [[5, 0, 0], [0, 0, 0, 0, 0, 5, 5]])
def test_the_published_rules_are_final_even_for_audits(passes: list[int]) -> None:
    (seed,) = (policy for policy in POLICIES if policy.name == "seed")
    cards = replay(seed, passes)
    retired = [card.status for card in cards if card.status != "active"]
    assert len(set(retired)) == 1
    assert len(retired) == len([c for c in cards if c.status == retired[0]]) >= 3


@every_policy
@settings(deadline=None)  # a busy machine is not a broken law
@given(passes=counts, late=st.integers(0, 9))
def test_reasons_tell_the_changes_of_status(policy: Policy, passes: list[int], late: int) -> None:
    before: Card | None = None
    for n_passed in passes:
        review = review_of(before, n_passed, late=late)
        after = policy.update(before, review)
        reason = policy.why(before, review, after)
        assert reason
        assert "\n" not in reason
        for status in ("graduated", "skipped"):
            entered = after.status == status and (before is None or before.status != status)
            left = after.status == "active" and before is not None and before.status == status
            if entered or (left and policy.name != "leitner"):  # whose failures all read alike
                assert status in reason
            elif after.status != status:
                assert status not in reason
        before = after


def run(
    policy: Policy, config: SchedulerConfig, seed: int, rounds: int
) -> tuple[MemoryDeck, list[RoundPlan], list[int]]:
    """Rounds against tasks whose pass rates rise with practice, by derived random streams.

    The last: how many cards were active before each.
    """
    deck = MemoryDeck((f"task{i}" for i in range(POOL)), seed)
    plans, active = [], []
    for round in range(1, rounds + 1):
        active.append(sum(card.status == "active" for card in deck.cards.values()))
        plan = draw_plan(deck, round, policy, config)
        kinds = [(t, "practice") for t in plan.practised] + [(t, "audit") for t in plan.audit]
        reviews = []
        for task, kind in kinds:
            rng = random.Random(f"{seed}/{round}/{task}")
            skill = random.Random(task).random() + 0.1 * (
                deck.cards[task].n_reviews if task in deck.cards else 0
            )
            n_passed = sum(rng.random() < skill for _ in range(5))
            reviews.append(Review(task=task, round=round, n_passed=n_passed, n_graded=5, kind=kind))  # type: ignore[arg-type]
        deck.record(policy, reviews)
        plans.append(plan)
    return deck, plans, active


@every_policy
def test_rounds_keep_their_quotas_and_repeat_nothing(policy: Policy) -> None:
    config = SchedulerConfig(tasks_per_round=10, new_share=0.5, audit_every=3, audit_size=4)
    deck, plans, active = run(policy, config, seed=1, rounds=140)
    seen: set[str] = set()
    for plan, n_active in zip(plans, active, strict=True):
        assert len(set(plan.task_ids)) == len(plan.task_ids)
        assert not seen & set(plan.new)
        assert seen.issuperset((*plan.review, *plan.audit))
        if policy.order is None and not policy.whole_pool:
            assert len(plan.practised) == min(10, POOL - len(seen))
            assert not plan.review
        elif policy.whole_pool:
            assert len(plan.practised) == 10
        else:
            assert len(plan.new) == allocate(10, 0.5, POOL - len(seen), len(plan.review))[0]
            assert len(plan.new) >= min(5, POOL - len(seen))
            assert len(plan.practised) == min(10, len(plan.new) + n_active)  # due or not
        assert len(plan.audit) <= 4
        assert not (plan.audit and plan.round % 3 and plan.practised)
        seen.update(plan.new)
    assert {card.task for card in deck.cards.values()} == seen
    assert any(plan.audit for plan in plans) == (policy.name in RETIRING)


@every_policy
def test_cards_are_the_replay_of_their_reviews(policy: Policy) -> None:
    """An interrupted run that replays its log goes on as if nothing had happened."""
    log: list[Review] = []
    deck = MemoryDeck(f"task{i}" for i in range(30))
    config = SchedulerConfig(tasks_per_round=6, new_share=0.5, audit_every=2, audit_size=2)
    for round in range(1, 25):
        resumed = MemoryDeck(deck.tasks)
        resumed.record(policy, log)
        assert resumed.cards == deck.cards
        plan = draw_plan(deck, round, policy, config)
        assert draw_plan(resumed, round, policy, config) == plan
        reviews = [
            Review(
                task=task,
                round=round,
                n_passed=random.Random(f"{task}/{round}").randint(0, 5),
                n_graded=5,
                kind="audit" if task in plan.audit else "practice",
            )
            for task in plan.task_ids
        ]
        deck.record(policy, reviews)
        log += reviews
