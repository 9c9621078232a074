"""Intervals and kappas against published and hand-computed values, and their laws."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.judging.agreement import cohen_kappa, fleiss_kappa, wilson_interval


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


def test_cohen_by_hand() -> None:
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: o = 0.7, e = 0.5·0.6 + 0.5·0.4 = 0.5, κ = 0.4."""
    a = [1] * 25 + [0] * 25
    b = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohen_kappa(a, b) == pytest.approx(0.4)


def test_quadratic_weights_by_hand() -> None:
    """(1,1) (2,3) (3,3): observed Σ(x-y)² / 3 = 1/3. Expected over all 9 pairs of {1,2,3} and {1,3,3}:
    (0+4+4) + (1+1+1) + (4+0+0) = 15, /9. κ = 1 - (1/3)/(15/9) = 0.8."""
    assert cohen_kappa([1, 2, 3], [1, 3, 3], quadratic=True) == pytest.approx(0.8)
    assert cohen_kappa([1, 2, 3], [1, 3, 3]) == pytest.approx(1 - (1 / 3) / (1 - 3 / 9))


def test_kappa_where_chance_explains_all() -> None:
    assert cohen_kappa([1, 1], [1, 1]) is None
    assert cohen_kappa([1, 1], [0, 0]) == 0.0
    assert fleiss_kappa([[1, 1, 1], [1, 1, 1]]) is None


ratings = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(deadline=None)
@given(ratings, st.booleans())
def test_kappa_is_symmetric_and_at_most_one(pairs: list[tuple[int, int]], quadratic: bool) -> None:
    a, b = ([p[i] for p in pairs] for i in (0, 1))
    kappa = cohen_kappa(a, b, quadratic=quadratic)
    back = cohen_kappa(b, a, quadratic=quadratic)
    if kappa is None:
        assert back is None
        assert len({*a, *b}) == 1
    else:
        assert back == pytest.approx(kappa)
        assert kappa <= 1
        assert (kappa == pytest.approx(1)) == (a == b)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_weights_change_nothing_with_two_values(pairs: list[tuple[int, int]]) -> None:
    a, b = ([p[i] for p in pairs] for i in (0, 1))
    plain, weighted = cohen_kappa(a, b), cohen_kappa(a, b, quadratic=True)
    assert plain == (None if weighted is None else pytest.approx(weighted))


# Ten subjects, fourteen raters, five categories: the worked example that is known for Fleiss' kappa.
FLEISS = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip


def test_fleiss_worked_example() -> None:
    """P̄ = 0.378, P̄e = 0.213, κ = 0.210."""
    items = [[v for v, n in enumerate(row) for _ in range(n)] for row in FLEISS]
    assert fleiss_kappa(items) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_by_hand() -> None:
    """(1,1,0) (0,0,0): P = 1/3 and 1, P̄ = 2/3; shares 1/3 and 2/3, P̄e = 5/9; κ = (1/9)/(4/9)."""
    assert fleiss_kappa([[1, 1, 0], [0, 0, 0]]) == pytest.approx(0.25)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1))
def test_fleiss_does_not_know_the_raters_order(items: list[list[int]]) -> None:
    shuffled = [sorted(item) for item in items]
    kappa = fleiss_kappa(items)
    assert fleiss_kappa(shuffled) == (None if kappa is None else pytest.approx(kappa))
    assert kappa is None or kappa <= 1 + 1e-12


@pytest.mark.parametrize("items", [[], [[1]], [[1, 0], [1]]])
def test_fleiss_of_nonsense(items: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="Fleiss"):
        fleiss_kappa(items)


def test_cohen_of_nonsense() -> None:
    for a, b in (([], []), ([1], [1, 0])):
        with pytest.raises(ValueError, match="kappa"):
            cohen_kappa(a, b)
