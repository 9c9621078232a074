"""Runs with known answers → the numbers, intervals and differences that they must give."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import PER_ROUND, arm, run

from srs.compare.analysis import Results, analyse
from srs.compare.bootstrap import Resamples, interval, p_value
from srs.compare.curves import crossing
from srs.compare.results import RunResult
from srs.types import UserError

SEEDS = range(5)
NAMES = ("uniform", "random_review", "learnability", "leitner")


def analysed(runs: list[RunResult], names: tuple[str, ...] = NAMES) -> Results:
    found = analyse(runs, [arm(n) for n in names], level=0.95, resamples=2000, lags=(1, 2, 4, 8))
    json.dumps(found, allow_nan=False)
    return found


def linear(name: str, _seed: int, _task: int, round: int) -> float:
    """Everyone starts at 0.2; after 8 rounds uniform is at 0.6, leitner at 0.8, the rest at 0.5."""
    final = {"uniform": 0.6, "leitner": 0.8}.get(name, 0.5)
    return 0.2 + (final - 0.2) * round / 8


def test_final_area_and_candidates_to_target_of_straight_curves() -> None:
    found = analysed([run(name, seed, linear) for name in NAMES for seed in SEEDS])
    arms = found["arms"]
    assert {name: a["final"]["value"] for name, a in arms.items()} == pytest.approx(
        {"uniform": 0.6, "random_review": 0.5, "learnability": 0.5, "leitner": 0.8}
    )
    assert arms["leitner"]["area"]["value"] == pytest.approx(0.5)
    reach = arms["leitner"]["candidates_to_target"]
    expected = PER_ROUND * 8 * (0.6 - 0.2) / (0.8 - 0.2)
    assert reach["value"] == pytest.approx(expected, rel=0.05), "0.8 after round 4 is 0.5"
    assert reach["share"] == pytest.approx(reach["value"] / (PER_ROUND * 8))
    assert arms["uniform"]["candidates_to_target"]["value"] == PER_ROUND * 8
    assert arms["uniform"]["candidates_to_target"]["share"] == 1.0
    never = arms["random_review"]["candidates_to_target"]
    assert (never["value"], never["low"], never["reached"]) == (None, None, 0.0)
    d = arms["leitner"]["differences"]["learnability"]
    assert d["value"] == pytest.approx(0.3)
    assert d["low"] == pytest.approx(0.3), "no variance: every seed and task differs by as much"
    assert d["seeds_better"] == 5
    assert "uniform" not in arms["uniform"]["differences"]
    assert found["notes"] == []


def test_without_the_target_arm_nothing_is_counted_up_to_it() -> None:
    names = ("random_review", "leitner")
    found = analysed([run(n, s, linear) for n in names for s in SEEDS], names)
    assert found["arms"]["leitner"]["candidates_to_target"] is None


def test_pairing_removes_what_seeds_and_tasks_share() -> None:
    """Hard tasks and lucky seeds move both arms alike: the difference is exact, the levels are not."""

    def rate(name: str, seed: int, task: int, _round: int) -> float:
        return 0.1 + 0.03 * task + 0.02 * seed + (0.1 if name == "leitner" else 0.0)

    found = analysed([run(n, s, rate, n=1000) for n in NAMES for s in SEEDS])
    leitner = found["arms"]["leitner"]
    assert leitner["final"]["high"] - leitner["final"]["low"] > 0.1
    d = leitner["differences"]["random_review"]
    assert (d["low"], d["value"], d["high"]) == pytest.approx((0.1, 0.1, 0.1))


def test_only_seeds_that_every_arm_has_finished_count() -> None:
    runs = [run(n, s, linear) for n in NAMES for s in SEEDS if (n, s) != ("leitner", 3)]
    assert analysed(runs)["seeds"] == [0, 1, 2, 4]
    with pytest.raises(UserError, match=r"no seed is finished in every arm \(leitner has 0\)"):
        analysed([r for r in runs if r.arm != "leitner"])


def test_other_held_out_tasks_are_refused() -> None:
    runs = [run(n, s, linear) for n in NAMES for s in SEEDS]
    runs[-1] = run("leitner", 4, linear, n_tasks=19)
    with pytest.raises(UserError, match="other held-out tasks"):
        analysed(runs)


def test_budgets_that_differ_are_named() -> None:
    runs = [run(n, 0, linear, tokens=1000, pairs=7) for n in NAMES[:-1]]
    close = analysed([*runs, run("leitner", 0, linear, tokens=1009, pairs=7)])
    assert close["notes"] == []
    far = analysed([*runs, run("leitner", 0, linear, rounds=(0, 4, 9), tokens=1020, pairs=6)])
    assert far["notes"] == [
        "candidates: 800 (uniform, seed 0) to 900 (leitner, seed 0)",
        "DPO pairs: 6 (leitner, seed 0) to 7 (uniform, seed 0)",
        "SFT tokens: 1,000 (uniform, seed 0) to 1,020 (leitner, seed 0)",
    ]


# Forgetting


def forgetting_of(found: Results, name: str, lag: int) -> Any:
    return found["arms"][name]["forgetting"][str(lag)]


@pytest.mark.parametrize("p", [0.6, 0.9])
def test_what_never_changes_is_not_forgotten(p: float) -> None:
    """Tasks picked for 5 of 5 pass 5 of 5 less often afterwards: that is no forgetting."""
    names = ("uniform", "leitner")
    rounds = (0, 4, 8, 9, 10, 12, 16, 20)
    runs = [
        run(n, s, lambda *_: p, rounds=rounds, n_panel=120, draw=True) for n in names for s in SEEDS
    ]
    found = analysed(runs, names)
    picked = [m for r in runs for m in r.measurements[:-1]]
    naive = [
        1 - m.panel[t][1][0] / m.panel[t][1][1]
        for m in picked
        for t in m.panel
        if m.panel[t][0] == (5, 5)
    ]
    assert sum(naive) / len(naive) == pytest.approx(1 - p, abs=0.03), "the naive fall"
    for name in names:
        for lag in (1, 2, 4, 8):
            fall = forgetting_of(found, name, lag)
            assert fall["n"] > 50
            assert abs(fall["value"]) < 4 * math.sqrt(2 * p * (1 - p) / 5 / fall["n"]), (name, lag)
            assert fall["low"] < 0 < fall["high"]
            assert fall["high"] < 1 - p


def test_the_same_streams_at_every_evaluation_bring_no_bias() -> None:
    """An adapter that never changes answers the same each time: half of a flattering half stays."""
    names = ("uniform",)
    runs = []
    for seed in SEEDS:
        one = run("uniform", seed, lambda *_: 0.7, n_panel=120, draw=True)
        first = one.measurements[0].panel
        same = [type(m)(round=m.round, candidates=m.candidates, held_out=m.held_out, greedy=m.greedy, panel=first) for m in one.measurements]  # fmt: skip
        fields = {f: getattr(one, f) for f in one.__slots__}
        runs.append(RunResult(**{**fields, "measurements": tuple(same)}))
    assert forgetting_of(analysed(runs, names), "uniform", 4)["value"] == 0.0


def test_a_fall_is_measured_at_its_lag() -> None:
    """Known by round 4, half lost by round 8 in one arm and kept in the other."""

    def rate(name: str, _seed: int, task: int, round: int) -> float:
        if task % 2:
            return 0.0  # never mastered: must not count
        return 0.5 if name == "uniform" and round == 8 else 1.0

    names = ("uniform", "leitner")
    found = analysed([run(n, s, rate, n_panel=10, n=20) for n in names for s in SEEDS], names)
    lost, kept = (forgetting_of(found, name, 4) for name in names)
    assert (lost["value"], lost["n"]) == (0.25, 5 * 5 * 2), "none from 0 to 4, half from 4 to 8"
    assert kept["value"] == 0.0
    assert kept["differences"]["uniform"]["value"] == -0.25
    assert forgetting_of(found, "uniform", 8)["value"] == 0.5
    assert forgetting_of(found, "uniform", 1) is None, "no two evaluations lie one round apart"


# The bootstrap


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100() -> None:
    """Crossed effects of seeds and tasks, and noise in each cell, at the size of a real comparison."""
    rng = np.random.default_rng(1)
    trials, hits = 400, 0
    for trial in range(trials):
        seeds, tasks = rng.normal(0, 0.02, (8, 1)), rng.normal(0, 0.15, (1, 100))
        values = 0.05 + seeds + tasks + rng.normal(0, 0.15, (8, 100))
        draws = Resamples.draw(8, 100, n=400, seed=trial)
        found = interval(float(values.mean()), draws.means(values), 0.95)
        hits += found.low <= 0.05 <= found.high
    assert 0.91 <= hits / trials <= 0.995


def test_nested_resampling_would_be_too_narrow_and_ours_is_not() -> None:
    """One effect per task, the same under every seed: as many observations as tasks, not as cells."""
    values = np.tile(np.random.default_rng(0).normal(0, 1, (1, 50)), (20, 1))
    draws = Resamples.draw(20, 50, n=4000)
    spread = float(draws.means(values).std())
    assert spread == pytest.approx(values[0].std() / math.sqrt(50), rel=0.1)


@settings(deadline=None)  # a busy machine is not a broken law
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6), st.integers(1, 9))
def test_a_resample_of_constants_is_that_constant(rows: list[float], n_tasks: int) -> None:
    values = np.full((len(rows), n_tasks), rows[0])
    draws = Resamples.draw(len(rows), n_tasks, n=50)
    assert np.allclose(draws.means(values), rows[0])
    assert np.allclose(draws.ratios(values, np.ones_like(values)), rows[0])


def test_p_agrees_with_the_interval() -> None:
    rng = np.random.default_rng(0)
    for shift in np.linspace(0, 4, 30):
        resampled = rng.normal(shift, 1, 4000)
        found = interval(shift, resampled, 0.95)
        if found.low > 0.05:
            assert p_value(resampled) < 0.05
        if found.low < -0.05:
            assert p_value(resampled) > 0.05
    assert p_value(np.zeros(10)) == 1.0


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.floats(0, 1),
)
def test_a_crossing_lies_where_the_curve_first_has_the_target(
    rates: list[float], target: float
) -> None:
    spent = np.arange(len(rates)) * 10.0
    (found,) = crossing(spent, np.array([rates]), np.array([target]))
    if max(rates) < target:
        assert math.isinf(found)
        return
    assert float(np.interp(found, spent, rates)) == pytest.approx(max(target, rates[0]), abs=1e-6)
    before = [rate for rate, x in zip(rates, spent, strict=True) if x < found - 1e-9]
    assert all(rate < target for rate in before)
