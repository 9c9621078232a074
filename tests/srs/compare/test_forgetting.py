"""Falls of the pass rate that are known, on the panel and of frozen tasks."""

import dataclasses
import math
from typing import Any

import pytest
from synthetic import SEEDS, analysed, linear, review, run

from srs import config as configs
from srs.compare.__main__ import DEFAULT_CONFIG
from srs.compare.analysis import Results
from srs.compare.forgetting import starts
from srs.compare.protocol import AVERAGED, LAGS
from srs.compare.results import RunResult

EVALUATED, PANEL_ONLY = (0, 8, 16, 24), (9, 10, 12, 17, 18, 20)
"""Every lag after rounds 8 and 16."""


def forgetting_of(found: Results, name: str, lag: int) -> Any:
    return found["arms"][name]["forgetting"][str(lag)]


@pytest.mark.parametrize("p", [0.6, 0.9])
def test_what_never_changes_is_not_forgotten(p: float) -> None:
    """Tasks picked for 5 of 5 pass 5 of 5 less often afterwards: that is no forgetting."""
    names = ("uniform", "leitner")
    runs = [
        run(n, s, lambda *_: p, rounds=EVALUATED, panel_rounds=PANEL_ONLY, n_panel=120, draw=True)
        for n in names
        for s in SEEDS
    ]
    found = analysed(runs, names)
    picked = [panel for r in runs for panel in r.panels.values()]
    naive = [1 - panel[t][1][0] / panel[t][1][1] for panel in picked for t in panel if panel[t][0] == (5, 5)]  # fmt: skip
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
    runs = []
    for seed in SEEDS:
        one = run("uniform", seed, lambda *_: 0.7, rounds=EVALUATED, panel_rounds=PANEL_ONLY, n_panel=120, draw=True)  # fmt: skip
        same = dict.fromkeys(one.panels, one.panels[0])
        runs.append(dataclasses.replace(one, panels=same))
    assert forgetting_of(analysed(runs, ("uniform",)), "uniform", 4)["value"] == 0.0


def test_a_fall_is_measured_at_its_lag() -> None:
    """Known at both starts; one arm has half of it eight rounds later, the other keeps it."""

    def rate(name: str, _seed: int, task: int, round: int) -> float:
        if task % 2:
            return 0.0  # never mastered: must not count
        return 0.5 if name == "uniform" and round in (0, 24) else 1.0

    names = ("uniform", "leitner")
    runs = [
        run(n, s, rate, rounds=EVALUATED, panel_rounds=PANEL_ONLY, n_panel=10, n=20)
        for n in names
        for s in SEEDS
    ]
    found = analysed(runs, names)
    lost, kept = (forgetting_of(found, name, 8) for name in names)
    assert (lost["value"], lost["n"]) == (0.25, 5 * 5 * 2), "none from 8 to 16, half from 16 to 24"
    assert kept["value"] == 0.0
    assert kept["differences"]["uniform"]["value"] == -0.25
    assert [forgetting_of(found, "uniform", lag)["value"] for lag in (1, 2, 4)] == [0.0] * 3


def test_every_lag_starts_from_the_same_rounds_and_never_from_the_base_model() -> None:
    """Lags 1 and 2 have more pairs than lag 8; those would compare early training with late."""
    rounds = (0, 1, 2, 4, 8, 9, 10, 12, 16, 17, 18)
    runs = [run("uniform", s, lambda *_: 1.0, rounds=rounds, n_panel=10) for s in SEEDS]
    found = analysed(runs, ("uniform",))
    assert [forgetting_of(found, "uniform", lag)["n"] for lag in (1, 2, 4, 8)] == [5 * 10] * 4, (
        "from round 8 alone: 0 is the base model, 2 and 4 have no lag of 1 or 4, 16 none of 4"
    )
    without = [run("uniform", s, lambda *_: 1.0, rounds=rounds[:-4], n_panel=10) for s in SEEDS]
    assert forgetting_of(analysed(without, ("uniform",)), "uniform", 1) is None


def test_the_tiny_comparison_measures_every_lag_from_the_same_three_rounds() -> None:
    config = configs.load(DEFAULT_CONFIG)
    one = run("sm2", 0, linear, rounds=(0, *config.eval.rounds), panel_rounds=config.eval.panel_rounds, n_panel=1)  # fmt: skip
    assert starts(one, LAGS) == [16, 24, 32]
    assert [m.round for m in one.last(AVERAGED)] == [32, 36, 40]


def test_only_what_an_arm_has_practised_by_then_can_be_forgotten_by_it() -> None:
    """p0, p1, … was first practised in round 1, 2, …; audits and probes teach nothing."""

    def practised(one: RunResult) -> RunResult:
        late = [review(f"p{i}", 1 + i) for i in range(1, 20)]
        seen = [review(f"p{i}", 1, kind) for i in range(12, 20) for kind in ("audit", "probe")]
        return dataclasses.replace(one, reviews=(review("p0", 1), *seen, *late))

    runs = [
        practised(run("uniform", s, lambda *_: 1.0, rounds=EVALUATED, panel_rounds=PANEL_ONLY, n_panel=30))
        for s in SEEDS
    ]  # fmt: skip
    fall = forgetting_of(analysed(runs, ("uniform",)), "uniform", 2)
    assert fall["n"] == 5 * (8 + 16), "by round 8 and by round 16"


def test_seeds_have_panels_of_their_own() -> None:
    def named(one: RunResult, seed: int) -> RunResult:
        new = {f"p{i}": f"s{seed}-p{i}" for i in range(10)}
        panels = {r: {new[t]: v for t, v in panel.items()} for r, panel in one.panels.items()}
        return dataclasses.replace(one, panels=panels, reviews=tuple(review(t, 1) for t in new.values()))  # fmt: skip

    def rate(name: str, _seed: int, task: int, round: int) -> float:
        return 0.5 if name == "uniform" and round == 9 and task < 4 else 1.0

    names = ("uniform", "leitner")
    runs = [
        named(run(n, s, rate, rounds=EVALUATED, panel_rounds=PANEL_ONLY, n_panel=10, n=20), s)
        for n in names
        for s in SEEDS
    ]
    found = analysed(runs, names)
    assert found["n_panel"] == 10
    fall = forgetting_of(found, "uniform", 1)
    assert (fall["value"], fall["n"]) == (pytest.approx(0.5 * 4 / 10 / 2), 5 * 10 * 2)
    assert fall["low"] < fall["value"] < fall["high"]


def frozen_run(name: str, seed: int, *, later: int, n_tasks: int) -> RunResult:
    """Frozen after round 1: a baseline of 4 of 4, then ``later`` of 4 one round on, and 4 of 4 again."""
    probes = [
        review(f"f{i}", round, "probe", passed=passed)
        for i in range(n_tasks)
        for round, passed in ((2, 4), (3, later + (i % 2)), (4, 4))
    ]
    return run(name, seed, lambda *_: 0.5, reviews=probes)


def test_what_frozen_tasks_lose_has_an_interval_and_a_difference() -> None:
    names = ("uniform", "leitner", "sm2")
    runs = [frozen_run("uniform", s, later=1, n_tasks=6) for s in SEEDS]
    runs += [frozen_run("leitner", s, later=3, n_tasks=6) for s in SEEDS]
    runs += [frozen_run("sm2", s, later=3, n_tasks=1) for s in SEEDS]
    arms = analysed(runs, names)["arms"]
    lost, kept = (arms[name]["frozen"]["1"] for name in names[:2])
    assert (lost["value"], lost["n"]) == (pytest.approx((3 + 2) / 2 / 4), 30)
    assert lost["low"] < lost["value"] < lost["high"]
    assert kept["differences"]["uniform"]["value"] == pytest.approx(-0.5)
    assert kept["differences"]["uniform"]["high"] == pytest.approx(-0.5), "task by task"
    assert arms["uniform"]["frozen"]["2"]["value"] == 0.0
    assert arms["uniform"]["frozen"]["4"] is None
    assert arms["sm2"]["frozen"]["1"] is None, "five falls are too few to resample"
