"""Runs with known answers → the numbers, intervals and differences that they must give."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import NAMES, PER_ROUND, SEEDS, analysed, linear, review, run

from srs.compare.bootstrap import Resamples, interval, p_value
from srs.compare.curves import crossing
from srs.compare.gaps import gaps, growth
from srs.types import UserError


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


def test_the_final_pass_rate_is_the_mean_of_the_last_evaluations_of_each_seed_and_task() -> None:
    def rate(name: str, _seed: int, task: int, round: int) -> float:
        ahead = name == "leitner" and round == 20  # in the last one only
        return {0: 0.9, 8: 0.0, 16: 0.2, 18: 0.4, 20: 0.6}[round] + 0.3 * ahead + 0.1 * (task % 2)

    rounds = (0, 8, 16, 18, 20)
    runs = [run(n, s, rate, rounds=rounds, n=100) for n in NAMES for s in SEEDS]
    arms = analysed(runs, averaged=3)["arms"]
    assert arms["uniform"]["final"]["value"] == pytest.approx((0.2 + 0.4 + 0.6) / 3 + 0.05)
    assert arms["uniform"]["last"]["value"] == pytest.approx(0.6 + 0.05)
    assert arms["leitner"]["final"]["value"] == pytest.approx((0.2 + 0.4 + 0.9) / 3 + 0.05)
    d = arms["leitner"]["differences"]["random_review"]
    assert (d["low"], d["value"]) == pytest.approx((0.1, 0.1)), (
        "the rule judges the mean of the three"
    )
    fewer = analysed([run(n, s, rate, rounds=(0, 8, 18, 20), n=100) for n in NAMES for s in SEEDS], averaged=3)  # fmt: skip
    assert fewer["arms"]["uniform"]["final"]["value"] == pytest.approx(0.55), (
        "none from long before"
    )


def test_an_arm_that_ends_early_or_skips_a_round_takes_no_points_from_others() -> None:
    own = {"uniform": (0, 2, 4, 6, 8), "random_review": (0, 2, 4), "leitner": (0, 2, 5, 6, 8)}
    names = tuple(own)
    runs = [run(n, s, linear, rounds=own[n], n=100) for n in names for s in SEEDS]
    arms = analysed(runs, names)["arms"]
    for name, rounds in own.items():
        assert tuple(point["round"] for point in arms[name]["curve"]) == rounds
    expected = PER_ROUND * 8 * (0.6 - 0.2) / (0.8 - 0.2)
    assert arms["leitner"]["candidates_to_target"]["value"] == pytest.approx(expected, rel=0.05)
    assert arms["uniform"]["candidates_to_target"]["share"] == 1.0


def test_the_curve_ends_where_the_runs_of_an_arm_end_though_each_ends_elsewhere() -> None:
    """One that reaches the target only in its last rounds."""

    def late(name: str, seed: int, task: int, round: int) -> float:
        return 0.9 if name == "leitner" and round > 4 else linear(name, seed, task, round)

    names = ("uniform", "leitner")
    ends = {s: (0, 4, 6 + s % 3) for s in SEEDS}
    runs = [run("leitner", s, late, rounds=ends[s], n=100) for s in SEEDS]
    runs += [run("uniform", s, late, rounds=(0, 4, 8), n=100) for s in SEEDS]
    leitner = analysed(runs, names)["arms"]["leitner"]
    ended = PER_ROUND * sum(rounds[-1] for rounds in ends.values()) / len(ends)
    assert [(p["round"], p["candidates"]) for p in leitner["curve"]] == [
        (0, 0),
        (4, 400),
        (8, ended),
    ]
    assert leitner["curve"][-1]["value"] == leitner["final"]["value"] == pytest.approx(0.9)
    assert 400 < leitner["candidates_to_target"]["value"] < ended


def test_every_arm_is_compared_with_every_other_one_that_is_not_spaced() -> None:
    names = (*NAMES, "onepass", "sm2")
    arms = analysed([run(n, s, linear) for n in names for s in SEEDS], names)["arms"]
    unspaced = ["uniform", "random_review", "learnability", "onepass"]
    assert list(arms["sm2"]["differences"]) == unspaced
    assert list(arms["onepass"]["differences"]) == unspaced[:-1]


def test_shares_of_the_targets_candidates_have_an_interval() -> None:
    def rate(name: str, seed: int, _task: int, round: int) -> float:
        return min(1.0, 0.2 + (0.05 + 0.01 * (seed % 2 if name == "leitner" else 0)) * round)

    arms = analysed([run(n, s, rate, n=100) for n in NAMES for s in SEEDS])["arms"]
    reach = arms["leitner"]["candidates_to_target"]
    assert reach["share_low"] < reach["share"] < reach["share_high"] <= 1.0
    for key, share in (("low", "share_low"), ("high", "share_high")):
        assert reach[share] == pytest.approx(reach[key] / (PER_ROUND * 8))


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
        "candidates: 900 in leitner, 800 in the other arms",
        "DPO pairs: 6 in leitner, 7 in the other arms",
        "SFT tokens: 1,020 in leitner, 1,000 in the other arms",
    ]


# What the schedules did


def test_gaps_are_those_between_practices() -> None:
    log = [review("a", r) for r in (1, 2, 10)] + [review("b", 3), review("b", 5), review("c", 4)]
    log += [review("a", 5, "audit"), review("b", 4, "probe")]
    one, other = (run("sm2", s, linear, reviews=log[s:]) for s in (0, 1))
    assert gaps([one]) == {
        "mean": (1 + 8 + 2) / 3, "median": 2.0, "long": 1 / 3, "n": 3,
        "after_success": (1 + 8 + 2) / 3, "after_failure": None,
    }  # fmt: skip
    both = gaps([one, other])
    assert both
    assert (both["mean"], both["long"], both["n"]) == ((1 + 8 + 2 + 8 + 2) / 5, 2 / 5, 5)
    mixed = [review("a", 1, passed=1), review("a", 3), review("a", 9), review("b", 9, passed=2), review("b", 13)]  # fmt: skip
    found = gaps([run("sm2", 0, linear, reviews=mixed)])
    assert found
    assert (found["after_success"], found["after_failure"]) == (6, 3)
    assert growth(found) == 2
    assert growth(gaps([one])) is None
    assert gaps([run("onepass", 0, linear, reviews=[review("a", 1)])]) is None


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
