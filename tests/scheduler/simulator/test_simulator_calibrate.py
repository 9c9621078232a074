"""Calibration finds the parameters that made a log, and says which ones the log says nothing of."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config import SchedulerConfig
from scheduler.plan import draw_plan
from scheduler.policies import policy
from scheduler.simulator.calibrate import PRIORS, calibrate, fits
from scheduler.simulator.deck import ArrayDeck
from scheduler.simulator.filter import Filter, _transition
from scheduler.simulator.learner import Floats, Integers, Learner
from scheduler.simulator.minimise import gradient, minimise, spread
from scheduler.simulator.parameters import BOUNDS, Parameters
from scheduler.simulator.recorded import RecordedRound, RecordedRun, evaluations_of, reviews_of
from srs.types import Review, RoundPlan

TRUTH = Parameters(
    difficulty_mean=0.8,
    held_out_shift=0.7,
    difficulty_sd=1.6,
    ceiling=0.95,
    skill_gain=0.5,
    skill_loss=0.01,
    reach=0.4,
    own_gain=2.0,
    half_life_rounds=4.0,
    stability_growth=1.0,
    drift_sd=0.8,
    drift_half_life_rounds=4.0,
)


def recorded(name: str, seed: int) -> RecordedRun:
    """A log of the simulated learner under a policy, with an evaluation every fourth round."""
    n_tasks, n_held_out, n = 300, 60, 5
    config = SchedulerConfig(tasks_per_round=24, new_share=0.5, audit_every=0)
    learner = Learner(
        TRUTH, n_tasks + n_held_out, 1, config.tasks_per_round, np.random.default_rng(seed)
    )
    deck = ArrayDeck([f"task-{i}" for i in range(n_tasks)], seed)
    held_out = np.arange(n_tasks, n_tasks + n_held_out)
    learner._difficulty[held_out] += TRUTH.held_out_shift
    rng = np.random.default_rng([seed, 1])

    def graded(round: int, names: Sequence[str], numbers: Integers) -> tuple[Review, ...]:
        passed = learner.sample(numbers, n, rng).tolist()
        return tuple(
            Review(task=task, round=round, n_passed=k, n_graded=n)
            for task, k in zip(names, passed, strict=True)
        )

    def evaluation(round: int) -> tuple[Review, ...]:
        return graded(round, [f"out-{i}" for i in held_out], held_out)

    parts = [RecordedRound(reviews=(), evaluations=evaluation(0))]
    for round in range(1, 13):
        plan = draw_plan(deck, round, policy(name), config)
        numbers = deck.numbers(plan.practised)
        reviews = graded(round, plan.practised, numbers)
        deck.record(reviews, policy(name).update)
        learner.practise(numbers)
        seen = evaluation(round) if round % 4 == 0 else ()
        parts.append(RecordedRound(reviews=reviews, evaluations=seen))
    return RecordedRun(
        name=f"{name}-{seed}",
        tasks_per_round=config.tasks_per_round,
        rounds=tuple(parts),
        held_out=frozenset(f"out-{i}" for i in held_out),
    )


@pytest.fixture(scope="module")
def runs() -> list[RecordedRun]:
    names = ("sm2", "random_review", "hardest", "pools")
    return [recorded(name, seed) for seed, name in enumerate(names)]


def test_calibration_comes_near_the_truth(runs: list[RecordedRun]) -> None:
    heard: list[tuple[int, float, Parameters]] = []
    found = calibrate(runs, lambda *so_far: heard.append(so_far))
    got = found.parameters
    assert found.converged
    assert got.difficulty_mean == pytest.approx(TRUTH.difficulty_mean, abs=0.3)
    assert got.held_out_shift == pytest.approx(TRUTH.held_out_shift, abs=0.3)
    assert got.difficulty_sd == pytest.approx(TRUTH.difficulty_sd, rel=0.2)
    assert got.ceiling == pytest.approx(TRUTH.ceiling, abs=0.03)
    assert lesson_at_half(got) == pytest.approx(lesson_at_half(TRUTH), rel=0.2)
    assert got.own_gain == pytest.approx(TRUTH.own_gain, rel=0.4)
    assert got.drift_sd == pytest.approx(TRUTH.drift_sd, rel=0.4)
    assert set(found.told) == set(PRIORS)
    assert found.told["difficulty_mean"] > 0.8 > 0.5 > found.told["stability_growth"]
    assert all(0 <= told <= 1 for told in found.told.values())
    assert [n for n, _, _ in heard] == list(range(1, len(heard) + 1))
    costs = [cost for _, cost, _ in heard]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0] - 10
    for key, (low, high) in BOUNDS.items():
        assert low <= getattr(got, key) <= high
    # The fit explains the log about as well as the truth does, and better than the defaults do.
    log_likelihood = sum(Filter(r, got).walk() for r in runs)
    assert log_likelihood > sum(Filter(r, TRUTH).walk() for r in runs) - 5
    assert log_likelihood > sum(Filter(r, Parameters()).walk() for r in runs) + 20


def test_a_fit_goes_on_from_where_another_was_cut(runs: list[RecordedRun]) -> None:
    class CutError(Exception):
        pass

    best = Parameters()
    lowest = math.inf

    def cut(evaluations: int, cost: float, parameters: Parameters) -> None:
        nonlocal best, lowest
        best, lowest = parameters, cost
        if evaluations == 60:
            raise CutError

    with pytest.raises(CutError):
        calibrate(runs[:1], cut, dataclasses.replace(Parameters(), forgetting_shape=0.7))
    heard: list[float] = []
    found = calibrate(runs[:1], lambda _, cost, __: heard.append(cost), best)
    assert heard[0] == pytest.approx(lowest, abs=1e-6)
    assert heard[-1] < lowest
    assert found.parameters.forgetting_shape == 0.7


def test_a_start_at_the_end_of_a_range_is_taken_inside(runs: list[RecordedRun]) -> None:
    edges = dataclasses.replace(
        TRUTH, ceiling=1.0, skill_loss=0.0, stability_growth=0.0, half_life_rounds=math.inf
    )
    found = calibrate(runs[:1], start=edges).parameters
    assert math.isfinite(found.half_life_rounds)
    assert 0 < found.skill_loss < 1
    assert found.stability_growth > 0
    assert found.ceiling < 1


def lesson_at_half(p: Parameters) -> float:
    """What a round of tasks with even odds adds: gain and reach, which the data tie to each other."""
    return p.skill_gain * math.pow(0.5, p.reach)


def test_predictions_of_the_truth_are_calibrated(runs: list[RecordedRun]) -> None:
    """Off by what sampling alone explains, and better than a constant."""
    for fit in fits(runs, TRUTH):
        assert fit.log_loss < fit.constant
        assert fit.rmse < 1.5 * fit.expected
        assert fit.n > 500


def test_with_a_single_task_the_filter_is_bayes_rule() -> None:
    """Two probes of one undrifting task, by hand: no practice, so only the difficulty is learnt."""
    p = dataclasses.replace(TRUTH, drift_sd=0.0, ceiling=1.0)
    probe = Review(task="t", round=1, n_passed=2, n_graded=3, kind="probe")
    log = RecordedRun(
        name="x",
        tasks_per_round=1,
        rounds=(RecordedRound(reviews=(), evaluations=(probe,)),) * 2,
    )
    walk = Filter(log, p)
    total = walk.walk()
    rng = np.random.default_rng(0)
    difficulty = p.difficulty_mean + p.difficulty_sd * rng.standard_normal(400_000)
    q = 1 / (1 + np.exp(difficulty))
    assert total == pytest.approx(math.log((q**4 * (1 - q) ** 2).mean()), abs=0.02)
    first, second = walk.predictions
    assert first.mean[0] == pytest.approx(q.mean(), abs=0.01)
    likelihood = q**2 * (1 - q)
    assert second.mean[0] == pytest.approx((q * likelihood).mean() / likelihood.mean(), abs=0.01)


def test_the_filter_practises_as_the_learner_does() -> None:
    """With one difficulty and no drift the grid is a point, and both must have the same skill."""
    p = dataclasses.replace(TRUTH, difficulty_sd=0.0, drift_sd=0.0)
    learner = Learner(p, 20, 10, 10, np.random.default_rng(0))
    deck = ArrayDeck([f"t{i}" for i in range(20)], 0)
    rounds, expected = [], []
    rng = np.random.default_rng(1)
    for number in range(1, 7):
        tasks = [f"t{i}" for i in rng.choice(20, 10, replace=False)]
        expected.append(learner.pass_probability(deck.numbers(tasks)))
        learner.practise(deck.numbers(tasks))
        reviews = tuple(Review(task=t, round=number, n_passed=1, n_graded=2) for t in tasks)
        rounds.append(RecordedRound(reviews=reviews))
    walk = Filter(RecordedRun(name="x", tasks_per_round=10, rounds=tuple(rounds)), p)
    walk.walk()
    means = np.concatenate([np.sort(part.mean) for part in walk.predictions])
    assert np.sort(means) == pytest.approx(np.sort(np.concatenate(expected)))


@given(a=st.floats(0, 1), b=st.floats(0, 1))
def test_drift_states_move_like_an_autoregression(a: float, b: float) -> None:
    moves = _transition(a)
    assert moves.sum(axis=1) == pytest.approx(1)
    states, stationary = np.array([-1.0, 0.0, 1.0]), np.array([0.25, 0.5, 0.25])
    assert stationary @ moves == pytest.approx(stationary)
    assert moves @ states == pytest.approx(a * states)
    assert _transition(a) @ _transition(b) == pytest.approx(_transition(a * b))


def test_the_minimiser_finds_the_valley_of_rosenbrock() -> None:
    def valley(x: Floats) -> float:
        return float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)

    start = np.array([-1.2, 1.0])
    where, value, converged = minimise(valley, start, iterations=200, tolerance=1e-12)
    assert converged
    assert where == pytest.approx([1, 1], abs=1e-3)
    assert value < 1e-6
    _, cut, converged = minimise(valley, start, iterations=5, tolerance=1e-12)
    assert not converged
    assert value < cut < valley(start)
    assert gradient(valley, np.array([0.0, 0.0])) == pytest.approx([-2, 0], abs=1e-3)


def test_spread_is_the_standard_deviation_of_a_gaussian() -> None:
    covariance = np.array([[0.25, 0.3], [0.3, 4.0]])
    inverse = np.linalg.inv(covariance)
    found = spread(lambda x: float(x @ inverse @ x) / 2, np.zeros(2))
    assert found == pytest.approx([0.5, 2.0])
    flat = spread(lambda x: float(x[0] ** 2) / 2, np.zeros(2))
    assert flat.tolist() == [pytest.approx(1), math.inf]
    floored = spread(lambda x: float(x[0] ** 2), np.zeros(2), least=1.0)
    assert floored == pytest.approx([1 / math.sqrt(2), 1])


def test_recorded_files_become_reviews() -> None:
    plan = RoundPlan(round=3, new=("a",), review=("b",), audit=("c",), probe=("d",))
    verdicts = [
        {"task": task, "outcome": outcome}
        for task in "abcd"
        for outcome in ("passed", "failed" if task == "b" else "passed")
    ]
    got = reviews_of(plan, verdicts)
    assert [(r.task, r.n_passed, r.n_graded, r.kind) for r in got] == [
        ("a", 2, 2, "practice"),
        ("b", 1, 2, "practice"),
        ("c", 2, 2, "audit"),
        ("d", 2, 2, "probe"),
    ]
    with pytest.raises(KeyError):
        reviews_of(plan, verdicts[:2])
    evaluation = {"sampled_per_task": {"x": [1, 4], "y": [0, 0]}, "panel": {"a": [[1, 2], [0, 2]]}}
    assert [(r.task, r.n_passed, r.n_graded) for r in evaluations_of(evaluation, 3)] == [
        ("x", 1, 4),
        ("a", 1, 4),
    ]
    assert evaluations_of({"per_task": {"x": [1, 1]}}, 0) == ()
