"""A simulated run keeps the rules of a real one, and its numbers are what they are said to be."""

import dataclasses
import math
from collections.abc import Sequence
from typing import get_args

import pytest

from scheduler.config import PolicyName, SchedulerConfig
from scheduler.policies import policy
from scheduler.simulator import summary
from scheduler.simulator.parameters import Parameters
from scheduler.simulator.simulate import SimulatedRound, Simulation, Watcher, run
from srs.types import Review, RoundPlan

CONFIG = SchedulerConfig(tasks_per_round=20, new_share=0.6, audit_every=3, frozen_tasks=5)


def simulate(
    name: str,
    seed: int = 0,
    watch: Watcher | None = None,
    n_tasks: int = 200,
    rounds: int = 16,
    **changes: float,
) -> Simulation:
    parameters = dataclasses.replace(Parameters(), **changes)
    sizes = {"n_tasks": n_tasks, "rounds": rounds, "n": 4}
    return run(policy(name), CONFIG, parameters, seed=seed, watch=watch, **sizes)


@pytest.mark.parametrize("name", get_args(PolicyName))
def test_every_policy_runs_and_reports_what_it_did(name: str) -> None:
    plans: list[RoundPlan] = []
    tried: set[str] = set()
    frozen: set[str] = set()

    def watch(part: SimulatedRound, plan: RoundPlan, reviews: Sequence[Review]) -> None:
        plans.append(plan)
        assert [review.task for review in reviews] == list(plan.task_ids)
        assert len(set(plan.task_ids)) == len(plan.task_ids)
        assert not set(plan.new) & tried
        assert set(plan.review) <= tried
        assert not frozen & {*plan.practised, *plan.audit}  # once set aside, for good
        frozen.update(plan.probe)
        tried.update(plan.practised)
        assert part.n_candidates == 4 * len(plan.practised)
        assert part.active + part.graduated + part.skipped == len(tried)
        rates = [part.pass_rate_new, part.pass_rate_review, part.held_out, part.seen]
        assert all(0 <= rate <= 1 for rate in rates if rate is not None)
        assert (part.pass_rate_review is None) == (not plan.review)
        if part.log_loss is not None:
            assert part.log_loss > 0
            assert part.n_predicted <= 4 * len(plan.review)

    done = simulate(name, seed=1, watch=watch)
    assert len(done.rounds) == len(plans) > 5
    assert len(frozen) <= CONFIG.frozen_tasks
    assert set(done.frozen) <= {1, 2, 4, 8}
    n_probes = sum(part.n_probe for part in done.rounds)
    assert n_probes == len(frozen) + sum(n for _, n in done.frozen.values())


def test_a_seed_decides_everything_and_policies_share_its_tasks() -> None:
    assert simulate("sm2") == simulate("sm2")
    assert simulate("sm2") != simulate("sm2", seed=1)
    sm2, uniform = simulate("sm2"), simulate("uniform")
    assert sm2.base == uniform.base
    assert sm2.rounds[0].held_out != uniform.rounds[0].held_out


def test_without_forgetting_nothing_falls_and_without_learning_nothing_changes() -> None:
    steady = simulate("sm2", skill_loss=0.0, half_life_rounds=math.inf, drift_sd=0.0)
    assert max(fall for part in steady.rounds for fall in part.falls.values()) <= 1e-12
    held_out = [steady.base, *(part.held_out for part in steady.rounds)]
    assert held_out == sorted(held_out)
    idle = simulate("sm2", skill_gain=0.0, own_gain=0.0, drift_sd=0.0)
    assert {part.held_out for part in idle.rounds} == {idle.base}
    assert all(fall == pytest.approx(0) for part in idle.rounds for fall in part.falls.values())


def test_drift_makes_mastered_tasks_fall() -> None:
    drifting = simulate("onepass", skill_gain=0.0, own_gain=0.0, drift_sd=2.0)
    falls = [part.falls[8] for part in drifting.rounds if 8 in part.falls]
    assert sum(falls) / len(falls) > 0.02


def test_it_ends_when_nothing_will_ever_be_due() -> None:
    done = simulate("onepass", n_tasks=50, rounds=99)
    assert [part.n_new for part in done.rounds] == [20, 20, 10]


def round_of(candidates: int, held_out: float, **more: object) -> SimulatedRound:
    blank: dict[str, object] = dict.fromkeys(
        field.name for field in dataclasses.fields(SimulatedRound)
    )
    zeros = dict.fromkeys(("n_audit", "n_probe", "n_predicted"), 0)
    own = {"n_candidates": candidates, "held_out": held_out, "seen": 0.5, "falls": {}}
    return SimulatedRound(**{**blank, **zeros, **own, **more})  # type: ignore[arg-type]


def sim(name: str, seed: int, base: float, *rounds: SimulatedRound) -> Simulation:
    return Simulation(policy=name, seed=seed, base=base, rounds=rounds, frozen={8: (0.25, 4)})


def test_scores_of_curves_known_by_hand() -> None:
    uniform = sim("uniform", 0, 0.2, round_of(100, 0.3), round_of(100, 0.4))
    quick = sim(
        "quick",
        0,
        0.2,
        round_of(100, 0.6, falls={1: 0.1}, n_predicted=10, log_loss=0.5, log_loss_constant=0.7),
        round_of(0, 0.6, falls={1: 0.3}, n_predicted=30, log_loss=0.9, log_loss_constant=0.3),
    )
    slow = sim("slow", 0, 0.2, round_of(100, 0.2), round_of(100, 0.3))
    found = summary.scores([uniform, quick, slow])
    assert found["uniform", 0].share == pytest.approx(1)
    assert found["uniform", 0].area == pytest.approx(0.3)
    best = found["quick", 0]
    assert best.share == pytest.approx(50 / 200)  # halfway up the first hundred of uniform's 200
    assert best.area == pytest.approx((0.4 + 0.6) / 2)  # the last value holds to 200
    assert best.falls == {1: pytest.approx(0.2)}
    assert best.frozen == {8: 0.25}
    assert best.log_loss == pytest.approx(0.8)
    assert best.log_loss_constant == pytest.approx(0.4)
    assert found["slow", 0].share is None
    text = summary.table(found)
    assert "+20.00" in text
    assert "-10.00" in text


def test_intervals_are_students() -> None:
    assert summary.interval([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3))
    assert math.isnan(summary.interval([1.0]))
    assert summary.student(10) == 2.228
    # From tables: 2.131 for 15 degrees of freedom, 1.984 for 100.
    assert summary.student(15) == pytest.approx(2.131, abs=2e-3)
    assert summary.student(100) == pytest.approx(1.984, abs=2e-3)
