"""Frozen tasks: when a probe is owed, under which lag it counts, and what is measured against what."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.frozen import LAGS, MARKED_SHARE, Frozen, forgetting, frozen, is_marked, newly_frozen
from srs.types import Review


def probe(round: int, n_passed: int = 5, task: str = "t") -> Review:
    return Review(task=task, round=round, n_passed=n_passed, n_graded=5, kind="probe")


def practice(task: str, n_passed: int = 5) -> Review:
    return Review(task=task, round=3, n_passed=n_passed, n_graded=5)


def probed(baseline: int, rounds: list[int]) -> Frozen:
    """What comes of a frozen task when these rounds run, each probing it if it is due."""
    one = Frozen(task="t", probes=(probe(baseline),))
    for round in rounds:
        if one.is_due(round):
            one = Frozen(task="t", probes=(*one.probes, probe(round)))
    return one


@settings(deadline=None)  # a busy machine is not a broken law
@given(baseline=st.integers(1, 50))
def test_when_every_round_runs_each_lag_is_measured_at_its_round(baseline: int) -> None:
    one = probed(baseline, list(range(baseline + 1, baseline + 40)))
    assert [(lag, p.round - baseline) for lag, p in one.lagged()] == [(n, n) for n in LAGS]


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    baseline=st.integers(1, 20),
    gaps=st.lists(st.integers(1, 12), max_size=20),
)
def test_rounds_that_never_ran(baseline: int, gaps: list[int]) -> None:
    rounds = [baseline + sum(gaps[: i + 1]) for i in range(len(gaps))]
    one = probed(baseline, rounds)
    lags = [lag for lag, _ in one.lagged()]
    assert lags == sorted(set(lags))  # no lag twice
    for lag, found in one.lagged():
        # Measured at the first round that ran once the lag had passed; never before it.
        assert found.round == min(r for r in rounds if r >= baseline + lag)
        # And counted under the largest lag that had passed by then.
        assert not any(baseline + lag < baseline + other <= found.round for other in LAGS)
    # A lag goes unmeasured only when no round ran after it, or the next one already did.
    for lag, following in zip(LAGS, (*LAGS[1:], 10_000), strict=True):
        ran = [r for r in rounds if baseline + lag <= r < baseline + following]
        assert (lag in lags) == bool(ran)


def test_a_probe_is_owed_from_its_lag_on_until_it_is_made() -> None:
    one = Frozen(task="t", probes=(probe(10), probe(11)))
    assert [one.is_due(round) for round in (10, 11, 12, 13, 14)] == [False, False, True, True, True]
    done = Frozen(task="t", probes=(probe(10), probe(11), probe(12), probe(14), probe(18)))
    assert not any(done.is_due(round) for round in range(18, 100))


def test_forgetting_is_measured_from_the_baseline_not_from_what_froze_the_task() -> None:
    """Frozen for passing 5 of 5, a task that really passes 3 of 5 has forgotten nothing."""
    log = [probe(4, 3), probe(5, 3), probe(6, 3), probe(8, 1)]
    (one,) = frozen(log)
    assert one.baseline == log[0]
    assert forgetting([one]) == {1: (0.0, 1), 2: (0.0, 1), 4: (pytest.approx(0.4), 1)}


@settings(deadline=None)  # a busy machine is not a broken law
@given(passed=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=5), min_size=1, max_size=6))
def test_forgetting_is_the_mean_fall_by_lag(passed: list[list[int]]) -> None:
    probes = [
        probe(10 if i == 0 else 10 + LAGS[i - 1], n, task=f"t{t}")
        for t, counts in enumerate(passed)
        for i, n in enumerate(counts)
    ]
    found = forgetting(frozen(sorted(probes, key=lambda p: p.round)))
    for i, lag in enumerate(LAGS, 1):
        falls = [(counts[0] - counts[i]) / 5 for counts in passed if len(counts) > i]
        assert (lag in found) == bool(falls)
        if falls:
            mean, n = found[lag]
            assert n == len(falls)
            assert abs(mean - sum(falls) / len(falls)) < 1e-12


def test_marked_groups_are_a_tenth_by_hash_and_by_seed() -> None:
    groups = [f"group{i}" for i in range(20_000)]
    marked = {seed: {g for g in groups if is_marked(g, seed)} for seed in (0, 1)}
    for found in marked.values():
        assert abs(len(found) / len(groups) - MARKED_SHARE) < 0.01
    shared = len(marked[0] & marked[1]) / len(groups)
    assert abs(shared - MARKED_SHARE**2) < 0.005  # the seeds mark independently


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    passed=st.lists(st.integers(4, 5), max_size=30),
    kinds=st.lists(st.sampled_from(["practice", "audit", "probe"]), min_size=30, max_size=30),
    room=st.integers(0, 4),
    seed=st.integers(0, 3),
    n_taken=st.integers(0, 3),
)
def test_who_is_newly_frozen(
    passed: list[int], kinds: list[str], room: int, seed: int, n_taken: int
) -> None:
    """Mastered in practice, of a marked group that has none yet, one per group, while there is room."""
    marked = [f"g{i}" for i in range(400) if is_marked(f"g{i}", seed)][:8]
    unmarked = [f"g{i}" for i in range(400) if not is_marked(f"g{i}", seed)][:4]
    groups = marked + unmarked
    group_of = {f"t{i}": groups[i % len(groups)] for i in range(len(passed))}
    log = [
        Review(task=f"t{i}", round=3, n_passed=n, n_graded=5, kind=kinds[i])  # type: ignore[arg-type]
        for i, n in enumerate(passed)
    ]
    taken = set(marked[:n_taken])
    found = newly_frozen(log, group_of, seed=seed, taken=taken, room=room)
    eligible = [
        r.task
        for r in log
        if r.n_passed == 5 and r.kind == "practice" and group_of[r.task] in set(marked) - taken
    ]
    assert set(found) <= set(eligible)
    assert len({group_of[task] for task in found}) == len(found)
    assert len(found) == min(room, len({group_of[task] for task in eligible}))


def test_nothing_is_frozen_without_a_perfect_practice() -> None:
    group = next(f"g{i}" for i in range(400) if is_marked(f"g{i}", 0))
    group_of = {"a": group, "b": group}
    assert newly_frozen([practice("a", 4)], group_of, seed=0, taken=(), room=5) == []
    assert newly_frozen([practice("b"), practice("a")], group_of, seed=0, taken=(), room=5) == ["b"]
