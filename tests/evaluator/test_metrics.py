import itertools
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.metrics import (
    CleanShare,
    bootstrap_ci,
    compile_rate,
    compiles,
    difference_with_interval,
    discordant,
    error_free_rate,
    format_error_rate,
    mcnemar_exact,
    mean_pass_at_k,
    mean_with_interval,
    paired_bootstrap_ci,
    parse_rate,
    parses,
    pass_and_clean,
    pass_at_k,
    passes_by_task,
    ratio_ci,
    wilson_interval,
)
from srs.types import Outcome, Verdict


def verdict(task: str, outcome: Outcome) -> Verdict:
    return Verdict(
        task=task, round=1, index=0, outcome=outcome, n_passed=0, n_collected=1, wall_s=0
    )


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (5, 0, 5, 0.0),
        (5, 2, 1, 2 / 5),
        (5, 2, 2, 1 - 3 / 10),  # of the 10 pairs, 3 hold no passing sample
        (5, 1, 5, 1.0),
        (10, 3, 5, 1 - 21 / 252),
        (1, 1, 1, 1.0),
    ],
)
def test_pass_at_k_by_hand(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(expected)


@given(
    st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
)
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(case: tuple[int, int, int]) -> None:
    n, c, k = case
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_stays_exact_where_binomials_overflow_a_float() -> None:
    exact = 1 - math.comb(4000, 1000) / math.comb(4100, 1000)
    assert pass_at_k(4100, 100, 1000) == pytest.approx(exact)


@pytest.mark.parametrize(("n", "c", "k"), [(5, 2, 6), (5, 6, 1), (5, -1, 1), (5, 2, 0), (0, 0, 1)])
def test_pass_at_k_refuses_what_it_cannot_estimate(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="needs 1 <= k <= n"):
        pass_at_k(n, c, k)


def test_mean_pass_at_k_weighs_tasks_alike() -> None:
    assert mean_pass_at_k([(5, 5), (10, 0), (2, 1)], 1) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no tasks"):
        mean_pass_at_k([], 1)


def test_verdict_counts() -> None:
    verdicts = [
        verdict("b", "passed"),
        verdict("a", "no_code"),
        verdict("b", "failed"),
        verdict("a", "error"),
    ]
    assert list(passes_by_task(verdicts).items()) == [("b", (2, 1)), ("a", (2, 0))]
    assert format_error_rate(verdicts) == 0.25
    assert format_error_rate([]) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f():\n    return 1\n", (True, True)),
        ("", (True, True)),
        ("x = undefined_name\n", (True, True)),
        ("return 1\n", (True, False)),
        ("def f(a, a): pass\n", (True, False)),
        ("def f(:\n", (False, False)),
        ("x = '\ud800'", (False, False)),
        ("x\0", (False, False)),
        ("a" + ".b" * 100_000, (False, False)),
        ("not " * 100_000 + "a", (False, False)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_parsing_and_compiling_are_different(code: str, expected: tuple[bool, bool]) -> None:
    assert (parses(code), compiles(code)) == expected


@pytest.mark.filterwarnings("error")
def test_a_warning_about_a_candidate_stays_its_own() -> None:
    assert compiles("x = '\\d'\n1 is 1\n")


def test_a_candidate_does_not_inherit_our_future_imports() -> None:
    assert compiles("x: (y := 1) = 2\n")
    assert not compiles("from __future__ import annotations\nx: (y := 1) = 2\n")


def test_parse_and_compile_rates_by_hand() -> None:
    codes = ["x = 1", "return", "f(", None]
    assert parse_rate(codes) == 2 / 4
    assert compile_rate(codes) == 1 / 4
    assert parse_rate([]) is compile_rate([]) is None


@given(st.lists(st.none() | st.sampled_from(["x = 1", "return", "f(", "break"]) | st.text()))
def test_compiling_is_at_most_parsing(codes: list[str | None]) -> None:
    parsed, compiled = parse_rate(codes), compile_rate(codes)
    if codes:
        assert parsed is not None
        assert compiled is not None
        assert 0 <= compiled <= parsed <= 1
    assert parse_rate(codes[::-1]) == parsed


def test_error_free_rate_by_hand() -> None:
    share = error_free_rate([True, None, False, True, True])
    assert share == CleanShare(n=5, n_analysed=4, n_clean=3)
    assert share.value == 3 / 5  # not 3 of the 4 analysed
    assert share.coverage == 4 / 5
    assert error_free_rate([]).value is error_free_rate([]).coverage is None


def test_pass_and_clean_by_hand() -> None:
    results = [(True, True), (True, False), (True, None), (False, True), (False, None)]
    assert pass_and_clean(results) == CleanShare(n=5, n_analysed=3, n_clean=1)


@given(st.lists(st.tuples(st.booleans(), st.none() | st.booleans()), min_size=1), st.randoms())
def test_pass_and_clean_is_bounded_by_both(
    results: list[tuple[bool, bool | None]], random: Random
) -> None:
    both = pass_and_clean(results)
    clean = error_free_rate(value for _, value in results)
    assert both.n_clean <= sum(passed for passed, _ in results)
    assert both.n_clean <= clean.n_clean <= clean.n_analysed == both.n_analysed <= both.n
    random.shuffle(results)
    assert pass_and_clean(results) == both


def test_bootstrap_is_deterministic_and_agrees_with_the_normal_approximation() -> None:
    values = [1.0] * 120 + [0.0] * 80
    low, high = bootstrap_ci(values, seed=1)
    assert (low, high) == bootstrap_ci(values, seed=1)
    half = 1.96 * math.sqrt(0.6 * 0.4 / 200)
    assert low == pytest.approx(0.6 - half, abs=0.01)
    assert high == pytest.approx(0.6 + half, abs=0.01)
    narrower = bootstrap_ci(values, seed=1, level=0.5)
    assert low < narrower[0] < 0.6 < narrower[1] < high


def test_bootstrap_of_a_constant_is_a_point() -> None:
    assert bootstrap_ci([0.25] * 7, seed=3) == (0.25, 0.25)


def test_bootstrap_in_chunks_covers_every_resample() -> None:
    low, high = bootstrap_ci([0.0, 1.0] * 3000, seed=0, n_resamples=1_000)
    assert 0.48 < low < 0.5 < high < 0.52


@pytest.mark.parametrize(("values", "level"), [([], 0.95), ([1.0], 0.0), ([1.0], 1.0)])
def test_bootstrap_refuses_nonsense(values: list[float], level: float) -> None:
    with pytest.raises(ValueError, match="bootstrap of"):
        bootstrap_ci(values, seed=0, level=level)


def test_wilson_by_hand() -> None:
    """z = 1.959964, z² = 3.841459. 8 of 10: (0.8 + 0.19207 ± 1.959964·√(0.016 + 0.0096036)) / 1.3841459."""
    low, high = wilson_interval(8, 10)
    assert low == pytest.approx((0.99207 - 0.31361) / 1.3841459, abs=1e-4)
    assert high == pytest.approx((0.99207 + 0.31361) / 1.3841459, abs=1e-4)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)


def test_wilson_at_the_ends() -> None:
    """0 of n: [0, z²/(n + z²)]: 3.8415/13.8415 for n = 10."""
    assert wilson_interval(0, 10) == (0.0, pytest.approx(0.27753, abs=1e-5))
    assert wilson_interval(10, 10) == (pytest.approx(0.72247, abs=1e-5), 1.0)


@settings(deadline=None)
@given(st.integers(1, 500), st.data(), st.floats(0.5, 0.999))
def test_wilson_holds_the_share_and_mirrors(n: int, data: st.DataObject, level: float) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson_interval(k, n, level=level)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = wilson_interval(n - k, n, level=level)
    assert mirrored == (pytest.approx(1 - high), pytest.approx(1 - low))


@pytest.mark.parametrize(
    ("k", "n", "level"), [(1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1)]
)
def test_wilson_of_nonsense(k: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(k, n, level=level)


def test_all_at_one_bound_gets_wilsons_interval() -> None:
    """z² = 3.841459: of 40 zeros [0, 3.841459/43.841459]; of a scale from 1 to 10 nine times as wide."""
    zeros = {"value": 0.0, "low": 0.0, "high": pytest.approx(0.0876216, abs=1e-6)}
    assert mean_with_interval([0.0] * 40) == {**zeros, "interval": "wilson"}
    ones = {"value": 1.0, "low": pytest.approx(1 - 0.0876216, abs=1e-6), "high": 1.0}
    assert mean_with_interval([1] * 40) == {**ones, "interval": "wilson"}
    worst = mean_with_interval([1] * 40, bounds=(1, 10))
    assert (worst["low"], worst["high"]) == (1.0, pytest.approx(1.788594, abs=1e-5))
    best = mean_with_interval([10] * 40, bounds=(1, 10))
    assert (best["low"], best["high"]) == (pytest.approx(9.211406, abs=1e-5), 10.0)
    wide = mean_with_interval([0.0], level=0.5)  # z = 0.674490
    assert wide["high"] == pytest.approx(0.454937 / 1.454937, abs=1e-5)


def test_all_others_get_the_bootstrap() -> None:
    values = [0.0] * 39 + [1.0]
    low, high = bootstrap_ci(values, seed=2)
    expected = {"value": 0.025, "low": low, "high": high, "interval": "bootstrap"}
    assert mean_with_interval(values, seed=2) == expected
    assert mean_with_interval([0.5] * 9)["high"] == 0.5  # between the bounds: nothing bounds it
    assert mean_with_interval([1] * 9, bounds=(0, 10))["interval"] == "bootstrap"


@pytest.mark.parametrize(
    ("values", "message"),
    [([], "bootstrap of 0"), ([0.0, 1.5], "outside"), ([-1.0], "outside"), ([math.nan], "outside")],
)
def test_a_mean_of_nonsense(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_with_interval(values)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=12))
def test_an_interval_holds_its_mean_mirrors_and_is_a_point_only_between_the_bounds(
    values: list[float],
) -> None:
    found = mean_with_interval(values, n_resamples=200)
    assert 0 <= found["low"] <= found["value"] + 1e-12
    assert found["value"] - 1e-12 <= found["high"] <= 1
    if set(values) in ({0.0}, {1.0}):
        assert found["low"] < found["high"]
        mirrored = mean_with_interval([1 - v for v in values], n_resamples=200)
        assert mirrored["low"] == pytest.approx(1 - found["high"])


def test_no_task_that_differs_leaves_wilsons_room_for_some() -> None:
    """0 of 40 differ: the share that does is below 3.841459/43.841459, and so is the difference."""
    for same in ([0.0] * 40, [0.0, 1.0] * 20):
        found = difference_with_interval(same, same)
        assert found["value"] == 0
        assert -found["low"] == found["high"] == pytest.approx(0.0876216, abs=1e-6)
        assert found["interval"] == "wilson"
    a, b = [1.0, 0.0, 1.0, 0.5], [0.0, 0.0, 1.0, 0.0]
    low, high = paired_bootstrap_ci(a, b)
    expected = {"value": 0.375, "low": low, "high": high, "interval": "bootstrap"}
    assert difference_with_interval(a, b) == expected
    for x, y in (([], []), ([1.0], []), ([1.0], [1.0, 0.0])):
        with pytest.raises(ValueError, match=r"bootstrap of 0|argument 2"):
            difference_with_interval(x, y)


def test_clusters_are_drawn_whole() -> None:
    # Two users: both times the first (1/1), the second (0/1) or one of each, with chances ¼, ¼, ½.
    assert ratio_ci([(1, 1), (0, 1)]) == (0, 1)
    assert ratio_ci([(1, 1), (0, 1)], level=0.4) == (0.5, 0.5)
    # A ratio of sums, not a mean of ratios: 100 times as many suggestions weigh 100 times as much.
    low, high = ratio_ci([(1, 1), (50, 100)] * 50, seed=1)
    assert low < 51 / 101 < high < 0.52
    assert (low, high) == ratio_ci([(1, 1), (50, 100)] * 50, seed=1)


def test_ratio_interval_of_equal_clusters_of_size_one_is_the_bootstrap_of_a_mean() -> None:
    values = [1.0] * 60 + [0.0] * 40
    assert ratio_ci([(v, 1) for v in values]) == pytest.approx(bootstrap_ci(values), abs=0.011)


def test_resamples_without_a_denominator_are_left_out() -> None:
    assert ratio_ci([(0, 0), (1, 2)]) == (0.5, 0.5)
    for sums in ([], [(1, 0)], [(1, 3), (1, -1)]):
        with pytest.raises(ValueError, match="bootstrap of"):
            ratio_ci(sums)


def test_pairing_removes_what_the_tasks_have_in_common() -> None:
    before = [0.0, 1.0] * 50
    after = [x + 0.1 for x in before]
    assert paired_bootstrap_ci(after, before, seed=0) == pytest.approx((0.1, 0.1))
    low, high = paired_bootstrap_ci(before, after, seed=0)
    assert low == high == pytest.approx(-0.1)
    with pytest.raises(ValueError, match="argument 2"):
        paired_bootstrap_ci(before, after[1:])


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 2 / 32),
        (1, 9, 2 * (1 + 10) / 1024),
        (9, 1, 2 * (1 + 10) / 1024),
    ],
)
def test_mcnemar_by_hand(b: int, c: int, p: float) -> None:
    assert mcnemar_exact(b, c) == pytest.approx(p)


def test_mcnemar_of_large_counts_does_not_overflow() -> None:
    assert 0 < mcnemar_exact(900, 1100) < 1e-4
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar_exact(-1, 3)


def test_discordant_counts_each_direction() -> None:
    assert discordant([True, True, False, True], [True, False, True, False]) == (2, 1)
