"""Plans over a real memory: what is frozen is left alone and probed in time, and no round is empty."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memory.store import Store
from scheduler.config import SchedulerConfig
from scheduler.frozen import LAGS, is_marked
from scheduler.plan import Policy
from scheduler.policies import policy
from srs.planning import Planner
from srs.types import Review, RoundPlan, Task

SEED = 3
CONFIG = SchedulerConfig(
    tasks_per_round=30, new_share=0.6, audit_every=2, audit_size=4, frozen_tasks=5
)


def task(name: str, group: str) -> Task:
    return Task(
        id=name, group=group, kind="pytest", style="instruct", subset="s", question="",
        declaration=None, entry_point=None, test="", reference=None,
    )  # fmt: skip


TASKS = [task(f"t{i}_{twin}", f"g{i}") for i in range(150) for twin in "IC"]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory.sqlite", seed=SEED) as store:
        store.add_tasks(t.id for t in TASKS)
        yield store


def planner(memory: Store, scheduling: Policy, config: SchedulerConfig = CONFIG) -> Planner:
    return Planner.over(TASKS, memory=memory, policy=scheduling, config=config, seed=SEED)


def run(
    planner: Planner, rounds: int, passed: Callable[[str, int], int] = lambda *_: 5
) -> list[RoundPlan]:
    plans: list[RoundPlan] = []
    for number in range(1, rounds + 1):
        if not planner.has_work(number):
            break
        plan = planner.plan(number)
        kinds = dict.fromkeys(plan.audit, "audit") | dict.fromkeys(plan.probe, "probe")
        reviews = [
            Review(
                task=name,
                round=number,
                n_passed=passed(name, number),
                n_graded=5,
                kind=kinds.get(name, "practice"),  # type: ignore[arg-type]
            )
            for name in plan.task_ids
        ]
        planner.memory.record(number, reviews, planner.policy.update)
        plans.append(plan)
    return plans


@pytest.mark.parametrize("name", ["sm2", "uniform", "random_review"])
def test_frozen_groups_are_probed_at_their_lags_and_never_practised_again(
    memory: Store, name: str
) -> None:
    group_of = {t.id: t.group for t in TASKS}
    plans = run(planner(memory, policy(name)), 14)
    probes: dict[str, list[int]] = defaultdict(list)
    for plan in plans:
        assert len({*plan.task_ids}) == len(plan.task_ids)
        frozen = {group_of[t] for t in probes} | {group_of[t] for t in plan.probe}
        assert not frozen & {group_of[t] for t in (*plan.practised, *plan.audit)}
        for t in plan.probe:
            probes[t].append(plan.round)
    assert len(probes) == CONFIG.frozen_tasks
    assert len({group_of[t] for t in probes}) == len(probes)
    last = plans[-1].round
    for t, rounds in probes.items():
        assert is_marked(group_of[t], SEED)
        mastered = [plan.round for plan in plans if t in plan.practised]
        assert rounds[0] == mastered[-1] + 1
        assert rounds[1:] == [rounds[0] + lag for lag in LAGS if rounds[0] + lag <= last]


def test_forgetting_is_measured_against_the_baseline_not_the_round_that_froze(
    memory: Store,
) -> None:
    """Five of five freezes a task whose real rate is 3 of 5: nothing was forgotten."""
    frozen: set[str] = set()

    def passed(name: str, _: int) -> int:
        if name in frozen:
            return 3
        frozen.add(name)
        return 5

    plans = run(made := planner(memory, policy("sm2")), 12, passed)
    assert any(plan.probe for plan in plans)
    falls = made.forgetting()
    assert set(falls) == set(LAGS)
    assert all(fall == 0 and n == CONFIG.frozen_tasks for fall, n in falls.values())


def test_what_falls_after_the_baseline_is_forgetting(memory: Store) -> None:
    first: dict[str, int] = {}

    def passed(name: str, number: int) -> int:
        return 5 if number - first.setdefault(name, number) <= 1 else 2

    run(made := planner(memory, policy("onepass")), 9, passed)
    falls = made.forgetting()
    assert falls[1][0] == pytest.approx(0.6)
    assert falls[4][0] == pytest.approx(0.6)


def test_audits_come_in_their_rounds_and_only_from_retired_cards(memory: Store) -> None:
    made = planner(memory, policy("sm2"), CONFIG)
    n_audited = 0
    retired: set[str] = set()
    for plan in run(made, 30):
        assert bool(plan.audit) <= (plan.round % CONFIG.audit_every == 0)
        n_audited += len(plan.audit)
    retired = {t.id for t in TASKS if (c := memory.card(t.id)) and c.status != "active"}
    assert n_audited
    audits = [r for r in memory.reviews() if r.kind == "audit"]
    assert len(audits) == n_audited
    assert {r.task for r in audits} <= retired  # all passed, so they stayed


def test_a_run_ends_when_only_frozen_tasks_are_left(memory: Store) -> None:
    config = SchedulerConfig(tasks_per_round=100, new_share=1.0, frozen_tasks=1000, audit_every=0)
    plans = run(made := planner(memory, policy("seed"), config), 400)
    assert len(plans) < 400
    assert all(plan.practised for plan in plans)
    assert not made.has_work(plans[-1].round + 1)


def test_without_frozen_tasks_nothing_is_probed(memory: Store) -> None:
    config = SchedulerConfig(tasks_per_round=30, audit_every=0)
    for plan in run(planner(memory, policy("sm2"), config), 10):
        assert not plan.probe
        assert not plan.audit


def test_rounds_follow_each_other_though_nothing_is_due(memory: Store) -> None:
    """A model is the same after a round in which nothing was trained: no number may be skipped."""
    config = SchedulerConfig(tasks_per_round=150, audit_every=0)
    plans = run(planner(memory, policy("fsrs"), config), 8)
    assert [plan.round for plan in plans] == list(range(1, 9))
    assert all(len(plan.practised) == 150 for plan in plans)
    early = [
        task for plan in plans for task in plan.review
        if plan.round < min(r.round for r in memory.reviews(task)) + 8
    ]  # fmt: skip
    assert early  # the first interval of a perfect task is 8 rounds


@pytest.mark.parametrize(("name", "n_passed"), [("sm2", 0), ("adaptive", 0), ("seed", 5)])
def test_before_a_run_ends_what_retired_is_looked_at_once_more(
    memory: Store, name: str, n_passed: int
) -> None:
    config = SchedulerConfig(tasks_per_round=300, new_share=1.0, audit_every=1_000, audit_size=3)
    plans = run(made := planner(memory, policy(name), config), 60, lambda *_: n_passed)
    *before, last = plans
    assert not any(plan.audit for plan in before)
    assert len(last.audit) == 3
    assert not last.practised
    assert memory.counts()["active"] == 0
    assert not made.has_work(last.round + 1)


def test_what_that_look_revives_is_practised_again(memory: Store) -> None:
    config = SchedulerConfig(tasks_per_round=300, new_share=1.0, audit_every=1_000, audit_size=3)
    made = planner(memory, policy("sm2"), config)
    plans = run(made, 6, lambda _, number: int(number == 6))
    assert len(plans) == 6
    assert len(plans[-1].audit) == 3
    assert not plans[-1].practised
    assert made.has_work(7)
    assert {*made.plan(7).review} == {*plans[-1].audit}
