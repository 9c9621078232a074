"""Kappas against published and hand-computed values, and their laws."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.judging.agreement import cohen_kappa, fleiss_kappa


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
