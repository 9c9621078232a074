"""The laws of the learner: what practice, forgetting and sampling may and may not do."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.simulator.learner import Learner, grown, lesson, logistic, persistence, retention
from scheduler.simulator.parameters import BOUNDS, Parameters, from_toml, to_toml
from srs.types import UserError

N = 30
STEADY = Parameters(skill_loss=0.0, half_life_rounds=math.inf, drift_sd=0.0)
"""Nothing is ever forgotten."""
parameters = st.builds(
    Parameters,
    difficulty_mean=st.floats(-3, 3),
    difficulty_sd=st.floats(0, 4),
    ceiling=st.floats(0.5, 1),
    skill_gain=st.floats(0, 3),
    skill_loss=st.floats(0, 0.5),
    reach=st.floats(0, 2),
    own_gain=st.floats(0, 5),
    half_life_rounds=st.floats(0.5, 100),
    stability_growth=st.floats(0, 5),
    forgetting_shape=st.floats(0.1, 10),
    drift_sd=st.floats(0, 3),
    drift_half_life_rounds=st.floats(0.5, 50),
)
rounds_of_tasks = st.lists(st.sets(st.integers(0, N - 1), max_size=10), max_size=12)
ALL = np.arange(N)


def learner(p: Parameters, seed: int = 0) -> Learner:
    return Learner(p, N, 50, 10, np.random.default_rng(seed))


def practise(student: Learner, tasks: set[int]) -> None:
    student.practise(np.array(sorted(tasks), dtype=np.int64))


@given(p=parameters, rounds=rounds_of_tasks)
def test_pass_probabilities_stay_below_the_ceiling(p: Parameters, rounds: list[set[int]]) -> None:
    student = learner(p)
    for tasks in rounds:
        practise(student, tasks)
        rates = student.pass_probability(ALL)
        assert ((rates >= 0) & (rates <= p.ceiling)).all()
        assert 0 <= student.held_out() <= p.ceiling


@given(p=parameters, shift=st.floats(-3, 3))
def test_held_out_tasks_may_be_harder_and_no_others(p: Parameters, shift: float) -> None:
    moved = learner(dataclasses.replace(p, held_out_shift=shift))
    assert moved.pass_probability(ALL) == pytest.approx(learner(p).pass_probability(ALL))
    all_harder = dataclasses.replace(p, difficulty_mean=p.difficulty_mean + shift)
    assert moved.held_out() == pytest.approx(learner(all_harder).held_out())


@given(p=parameters, rounds=rounds_of_tasks)
def test_without_forgetting_practice_never_lowers_anything(
    p: Parameters, rounds: list[set[int]]
) -> None:
    p = dataclasses.replace(p, skill_loss=0.0, half_life_rounds=math.inf, drift_sd=0.0)
    student = learner(p)
    for tasks in rounds:
        before, held_out = student.pass_probability(ALL), student.held_out()
        practise(student, tasks)
        assert (student.pass_probability(ALL) >= before - 1e-12).all()
        assert student.held_out() >= held_out - 1e-12


@given(p=parameters, task=st.integers(0, N - 1))
def test_what_was_practised_only_falls_while_others_are_trained_on(
    p: Parameters, task: int
) -> None:
    p = dataclasses.replace(p, drift_sd=0.0, skill_gain=0.0)
    student = learner(p)
    practise(student, {task})
    rates = [student.pass_probability(np.array([task]))[0]]
    for _ in range(8):
        practise(student, set(range(N)) - {task})
        rates.append(student.pass_probability(np.array([task]))[0])
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates))


@given(
    elapsed=st.floats(0, 1e4),
    more=st.floats(0, 1e4),
    half_life=st.floats(0.01, 1e4),
    shape=st.floats(0.01, 100),
)
def test_retention_falls_with_time_and_less_for_what_is_stable(
    elapsed: float, more: float, half_life: float, shape: float
) -> None:
    now = retention(elapsed, half_life, shape)
    assert 0 <= now <= 1
    assert retention(elapsed + more, half_life, shape) <= now
    assert retention(elapsed, half_life + more, shape) >= now
    assert retention(half_life, half_life, shape) == pytest.approx(0.5)
    assert retention(0, half_life, shape) == 1


def test_a_large_shape_forgets_exponentially() -> None:
    times = np.array([1.0, 2.0, 5.0, 9.0])
    assert retention(times, 3.0, 1e4) == pytest.approx(persistence(times, 3.0), rel=1e-3)


@given(half_life=st.floats(0.01, 1e4), kept=st.floats(0, 1), growth=st.floats(0, 10))
def test_spaced_practice_makes_more_stable_than_massed(
    half_life: float, kept: float, growth: float
) -> None:
    spaced, massed = (grown(np.array(half_life), np.array(k), growth) for k in (kept, 1.0))
    assert spaced >= massed == half_life


@given(p=parameters, wait=st.integers(0, 8))
def test_a_first_practice_is_not_a_spaced_one(p: Parameters, wait: int) -> None:
    """When a task first comes up says nothing about how long it will be kept."""
    p = dataclasses.replace(p, drift_sd=0.0, skill_gain=0.0)
    at_once, later = learner(p), learner(p)
    for _ in range(wait):
        practise(later, {1, 2, 3})
    rates = []
    for student in (at_once, later):
        practise(student, {0})
        for _ in range(4):
            practise(student, {1, 2, 3})
        rates.append(student.pass_probability(np.array([0]))[0])
    assert rates[1] == pytest.approx(rates[0])


@given(q=st.floats(0, 1))
def test_a_lesson_is_the_error_or_the_learnability(q: float) -> None:
    assert lesson(np.array(q), 0.0) == pytest.approx(1 - q)
    assert lesson(np.array(q), 1.0) == pytest.approx(q * (1 - q))


def test_samples_have_the_mean_and_the_spread_of_a_binomial() -> None:
    student = learner(STEADY)
    rng, p = np.random.default_rng(1), student.pass_probability(ALL)
    draws = np.array([student.sample(ALL, 5, rng) for _ in range(4_000)])
    error = np.sqrt(5 * p * (1 - p) / len(draws))
    assert (np.abs(draws.mean(axis=0) - 5 * p) < 5 * error + 1e-9).all()
    assert draws.var(axis=0) == pytest.approx(5 * p * (1 - p), rel=0.2, abs=0.01)


def test_drift_keeps_its_spread_and_forgets_where_it_was() -> None:
    p = Parameters(difficulty_sd=0.0, drift_sd=1.5, drift_half_life_rounds=4.0, skill_gain=0.0)
    p = dataclasses.replace(p, own_gain=0.0, ceiling=1.0, difficulty_mean=0.0)
    n = 20_000
    student = Learner(p, n + 10, 1, 10, np.random.default_rng(2))
    tasks, others = np.arange(n), np.arange(n, n + 10)

    def drift() -> np.ndarray:
        q = student.pass_probability(tasks)
        return np.log(q / (1 - q))

    start = drift()
    assert (drift() == start).all()  # looking twice changes nothing
    for _ in range(4):
        student.practise(others)
        drift()  # nor does looking on the way change the law
    end = drift()
    assert end.std() == pytest.approx(1.5, rel=0.03)
    assert np.corrcoef(start, end)[0, 1] == pytest.approx(0.5, abs=0.03)


def test_half_a_round_counts_half() -> None:
    student = learner(STEADY)
    practise(student, {1, 2, 3, 4, 5})
    assert student.clock == 0.5
    practise(student, set())
    assert student.clock == 0.5


def test_the_logistic_neither_overflows_nor_loses_its_tails() -> None:
    assert logistic(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert logistic(2.0) == pytest.approx(1 / (1 + math.exp(-2)))


@given(p=parameters)
def test_toml_brings_the_parameters_back(p: Parameters) -> None:
    assert from_toml(to_toml(p, "two\nlines"), "x.toml") == p
    assert from_toml("", "x.toml") == Parameters()
    assert set(BOUNDS) == {field.name for field in dataclasses.fields(Parameters)}


def test_infinity_stands_in_a_file() -> None:
    assert from_toml(to_toml(STEADY), "x.toml") == STEADY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("halflife = 3", r"x\.toml: unknown key halflife; did you mean half_life_rounds\?"),
        ("ceiling = 1.5", r"x\.toml: ceiling must be from 0.01 to 1, got 1.5"),
        ("reach = nan", r"x\.toml: reach must be from 0 to 10, got nan"),
        ("reach = true", r"x\.toml: reach must be a number, got True"),
        ("reach = ", r"x\.toml: not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_key(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_toml(text, "x.toml")
