import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import seed, sm2
from scheduler.config import SchedulerConfig
from scheduler.plan import allocate, make_plan, next_round, policy
from srs.types import Review, UserError


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


@given(
    n_tasks=st.integers(1, 60),
    share=st.floats(0, 1),
    n_new=st.integers(0, 60),
    n_due=st.integers(0, 60),
)
def test_plan_takes_the_front_of_each_list_without_duplicates(
    n_tasks: int, share: float, n_new: int, n_due: int
) -> None:
    new = [f"new{i}" for i in range(n_new)]
    due = [
        sm2.update(None, Review(task=f"due{i}", round=1, n_passed=1, n_graded=5))
        for i in range(n_due)
    ]
    config = SchedulerConfig(tasks_per_round=n_tasks, new_share=share)
    plan = make_plan(3, new, due, config)
    assert plan == make_plan(3, new[:n_tasks], due[:n_tasks], config)
    assert plan.new == tuple(new[: len(plan.new)])
    assert plan.review == tuple(card.task for card in due[: len(plan.review)])
    assert len(set(plan.task_ids)) == len(plan.task_ids) == min(n_tasks, n_new + n_due)


def test_next_round_jumps_only_when_there_is_nothing_to_do() -> None:
    assert next_round(4, n_new=1, n_due=0, next_due_round=9) == 4
    assert next_round(4, n_new=0, n_due=1, next_due_round=2) == 4
    assert next_round(4, n_new=0, n_due=0, next_due_round=9) == 9
    assert next_round(4, n_new=0, n_due=0, next_due_round=None) is None


def test_policies_by_name() -> None:
    assert (policy("sm2"), policy("seed")) == (sm2, seed)
    assert (policy("sm2").name, policy("sm2").order) == ("sm2", "overdue")
    assert (policy("seed").name, policy("seed").order) == ("seed", "ease")


def test_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown policy 'sead'; did you mean 'seed'\?"):
        policy("sead")
