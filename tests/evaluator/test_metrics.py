import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.metrics import (
    bootstrap_ci,
    discordant,
    format_error_rate,
    mcnemar_exact,
    mean_pass_at_k,
    paired_bootstrap_ci,
    pass_at_k,
    passes_by_task,
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
