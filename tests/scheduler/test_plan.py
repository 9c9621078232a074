import itertools
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_deck import MemoryDeck

from scheduler import onepass, pools, seed, sm2, uniform
from scheduler.adaptive import Adaptive
from scheduler.config import PolicyName, SchedulerConfig
from scheduler.plan import allocate, draw_plan, interleave
from scheduler.policies import policy
from srs.types import Review, UserError

ADAPTIVE = Adaptive()


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        ((100, 100), (28, 12)),  # both suffice: the quota
        ((10, 100), (10, 30)),  # too few new: reviews fill up
        ((100, 5), (35, 5)),  # too few due: new ones fill up
        ((10, 5), (10, 5)),  # neither: everything there is
        ((0, 0), (0, 0)),
    ],
)
def test_allocation_of_forty_tasks(available: tuple[int, int], expected: tuple[int, int]) -> None:
    assert allocate(40, 0.7, *available) == expected


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    n_tasks=st.integers(0, 500),
    share=st.floats(0, 1),
    n_new=st.integers(0, 500),
    n_due=st.integers(0, 500),
)
def test_allocation_law(n_tasks: int, share: float, n_new: int, n_due: int) -> None:
    new, review = allocate(n_tasks, share, n_new, n_due)
    assert 0 <= new <= n_new
    assert 0 <= review <= n_due
    assert new + review == min(n_tasks, n_new + n_due)
    quota = int(n_tasks * share + 0.5)
    # Either side leaves its quota only to fill the other's shortfall, or because it has no more.
    assert new in (quota, n_new) or review == n_due
    if n_new >= quota and n_due >= n_tasks - quota:
        assert new == quota


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    n_tasks=st.integers(1, 60),
    share=st.floats(0, 1),
    n_new=st.integers(0, 60),
    n_due=st.integers(0, 60),
    n_excluded=st.integers(0, 20),
)
def test_plan_takes_the_front_of_each_list_without_duplicates(
    n_tasks: int, share: float, n_new: int, n_due: int, n_excluded: int
) -> None:
    deck = MemoryDeck(f"task{i}" for i in range(n_new + n_due))
    reviewed = deck.tasks[:n_due]
    deck.record(
        sm2, (Review(task=t, round=1, n_passed=i % 5, n_graded=5) for i, t in enumerate(reviewed))
    )
    excluded = set(deck.tasks[::3][:n_excluded])
    config = SchedulerConfig(tasks_per_round=n_tasks, new_share=share)
    plan = draw_plan(deck, 9, sm2, config, excluded=excluded)
    new = [task for task in deck.new_ids(200) if task not in excluded]
    due = [card.task for card in deck.due(9, 200, "overdue") if card.task not in excluded]
    assert plan.new == tuple(new[: len(plan.new)])
    assert plan.review == tuple(due[: len(plan.review)])
    assert (len(plan.new), len(plan.review)) == allocate(
        n_tasks, share, min(len(new), n_tasks), min(len(due), n_tasks)
    )
    assert len(set(plan.task_ids)) == len(plan.task_ids) == min(n_tasks, len(new) + len(due))


def test_uniform_draws_from_tried_and_new_tasks_alike() -> None:
    deck = MemoryDeck(f"task{i}" for i in range(400))
    deck.record(
        uniform, (Review(task=t, round=1, n_passed=0, n_graded=5) for t in deck.tasks[:300])
    )
    config = SchedulerConfig(tasks_per_round=100, new_share=1.0)  # the quota doesn't bind it
    plans = [draw_plan(deck, round, uniform, config, excluded={"task7"}) for round in range(2, 42)]
    assert all(len(set(plan.practised)) == 100 for plan in plans)
    assert not any("task7" in plan.task_ids for plan in plans)
    assert all(set(plan.new) == set(plan.practised) - set(deck.cards) for plan in plans)
    # 300 of 400 were tried: mean 75 of 100; the standard deviation of a mean of 40 is about 0.6.
    assert 72 < sum(len(plan.review) for plan in plans) / 40 < 78


def test_onepass_reviews_nothing_even_with_room() -> None:
    deck = MemoryDeck(f"task{i}" for i in range(10))
    deck.record(onepass, (Review(task=t, round=1, n_passed=5, n_graded=5) for t in deck.tasks[:6]))
    plan = draw_plan(deck, 2, onepass, SchedulerConfig(tasks_per_round=8, new_share=0.5))
    assert (plan.new, plan.review) == (tuple(deck.tasks[6:]), ())


def test_reviews_follow_the_shares_of_the_stages() -> None:
    deck = MemoryDeck(f"task{i}" for i in range(90))
    deck.record(
        pools,
        (
            Review(task=t, round=1, n_passed=(0, 3, 5)[i % 3], n_graded=5)
            for i, t in enumerate(deck.tasks)
        ),
    )
    plan = draw_plan(deck, 2, pools, SchedulerConfig(tasks_per_round=40, new_share=0.5))
    stages = [deck.cards[task].stage for task in plan.review]
    assert [stages.count(stage) for stage in range(3)] == [8, 24, 8]
    # With only 30 normal ones for 36 places, the other pools fill up.
    plan = draw_plan(deck, 2, pools, SchedulerConfig(tasks_per_round=60, new_share=0.0))
    stages = [deck.cards[task].stage for task in plan.review]
    assert [stages.count(stage) for stage in range(3)] == [15, 30, 15]


def test_audits_come_every_few_rounds_from_retired_cards_only() -> None:
    deck = MemoryDeck(f"task{i}" for i in range(60))
    for passed, tasks in ((5, deck.tasks[:20]), (0, deck.tasks[20:30])):
        for round in (1, 5, 20, 60, 200):
            deck.record(
                ADAPTIVE, (Review(task=t, round=round, n_passed=passed, n_graded=5) for t in tasks)
            )
    assert {deck.cards[t].status for t in deck.tasks[:20]} == {"graduated"}
    assert {deck.cards[t].status for t in deck.tasks[20:30]} == {"skipped"}
    config = SchedulerConfig(tasks_per_round=10, audit_every=5, audit_size=8)
    excluded = set(deck.tasks[:10])
    plans = {r: draw_plan(deck, r, ADAPTIVE, config, excluded=excluded) for r in range(201, 221)}
    assert {r for r, plan in plans.items() if plan.audit} == {205, 210, 215, 220}
    for round in (205, 210, 215, 220):
        audit = plans[round].audit
        assert len(set(audit)) == 8
        assert set(audit) <= set(deck.tasks[10:30])
    assert plans[205].audit != plans[210].audit
    never = SchedulerConfig(tasks_per_round=10, audit_every=0)
    assert draw_plan(deck, 205, ADAPTIVE, never).audit == ()


def test_probes_are_the_callers() -> None:
    deck = MemoryDeck(["a", "b"])
    config = SchedulerConfig(tasks_per_round=5)
    plan = draw_plan(deck, 3, sm2, config, excluded={"a"}, probe=["a"])
    assert (plan.new, plan.probe, plan.practised) == (("b",), ("a",), ("b",))


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    weights=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    limit=st.integers(0, 60),
)
def test_every_prefix_of_interleaved_queues_holds_their_shares(
    sizes: list[int], weights: list[int], limit: int
) -> None:
    queues = [[f"{i}.{j}" for j in range(size)] for i, size in enumerate(sizes)]
    total = sum(weights[: len(sizes)])
    shares = [weight / total for weight in weights[: len(sizes)]]
    merged = interleave(queues, shares, limit)
    assert len(merged) == min(limit, sum(sizes))
    for i, queue in enumerate(queues):  # each queue's order is kept
        assert [t for t in merged if t.startswith(f"{i}.")] == queue[
            : sum(t.startswith(f"{i}.") for t in merged)
        ]
    taken = [0] * len(queues)
    for n, task in enumerate(merged, 1):
        taken[int(task.partition(".")[0])] += 1
        if all(count < size for count, size in zip(taken, sizes, strict=True)):
            assert all(
                abs(share * n - count) < len(queues)
                for share, count in zip(shares, taken, strict=True)
            )


@pytest.mark.parametrize("name", get_args(PolicyName))
def test_policies_by_name_or_config(name: PolicyName) -> None:
    assert policy(name).name == name
    assert policy(SchedulerConfig(policy=name)) == policy(name)


def test_policies_have_names_of_their_own() -> None:
    names = get_args(PolicyName)
    assert all(policy(a) != policy(b) for a, b in itertools.combinations(names, 2))
    assert (policy("sm2"), policy("seed")) == (sm2, seed)


def test_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown policy 'sead'; did you mean 'seed'\?"):
        policy("sead")
