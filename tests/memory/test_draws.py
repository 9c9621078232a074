"""What is drawn, and that random draws are uniform: they are the controls of experiments."""

import itertools
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query_plans import whole_scans

from memory import draws
from memory.store import Store
from scheduler.plan import Deck
from srs.types import Card, CardStatus, DueOrder, Review

ORDERS: tuple[DueOrder, ...] = ("overdue", "ease", "priority", "random")
Strategy = Callable[[], None]


@pytest.fixture(params=["ranked", "looked up"])
def strategy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to draw; which one a store takes depends on how many cards match."""
    if request.param == "looked up":
        monkeypatch.setattr(draws, "AT_ONCE", 0)
        monkeypatch.setattr(draws, "LOOK_UP_COST", 0)
    return str(request.param)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory.sqlite", seed=1) as opened:
        yield opened


def card(task: str, number: int, **values: object) -> Card:
    """A card reviewed once, in round 1, with what a policy might have made of it."""
    made: dict[str, object] = {
        "ease": 2.5, "interval_rounds": 1, "streak": 0, "zeros": 0, "lapses": 0, "status": "active",
        "n_reviews": 1, "last_pass_rate": 0.5, **values,
    }  # fmt: skip
    return Card(task=task, due_round=number + int(str(made["interval_rounds"])), **made)  # type: ignore[arg-type]


def fill(memory: Store, cards: dict[str, Card], n_new: int = 0) -> None:
    """These cards as if a policy had given them, and new tasks; reviewed in the order of the dict."""
    memory.add_tasks([*cards, *(f"new{i}" for i in range(n_new))])
    for task, made in cards.items():
        review = Review(task=task, round=1, n_passed=1, n_graded=2)
        memory.record(1, [review], lambda _, __, made=made: made)  # type: ignore[misc]


def deck_of_40(memory: Store) -> tuple[set[str], set[str]]:
    """(due by round 9, retired): 8 and 16 of 40 seen cards, among 60 tasks."""
    kinds: tuple[CardStatus, ...] = ("active", "graduated", "active", "skipped", "active")
    cards = {
        f"t{i}": card(
            f"t{i}", 1, status=kinds[i % 5], interval_rounds=1 + (i % 3) * 20, stage=i % 2
        )
        for i in range(40)
    }
    fill(memory, cards, n_new=20)
    due = {t for t, c in cards.items() if c.status == "active" and c.due_round <= 9}
    return due, {t for t, c in cards.items() if c.status != "active"}


def assert_uniform(drawn: list[list[str]], pool: set[str], k: int) -> None:
    """Singles and pairs of what was drawn lie within 5 standard deviations of a uniform draw's."""
    n = len(pool)
    assert all(len(set(one)) == len(one) == k for one in drawn)
    assert set().union(*drawn) <= pool
    singles = Counter(itertools.chain.from_iterable(drawn))
    pairs = Counter(frozenset(p) for one in drawn for p in itertools.combinations(one, 2))
    firsts = Counter(one[0] for one in drawn)
    for counts, n_events, chance in (
        (singles, n, k / n),
        (pairs, math.comb(n, 2), k * (k - 1) / (n * (n - 1))),
        (firsts, n, 1 / n),
    ):
        sd = math.sqrt(len(drawn) * chance * (1 - chance))
        expected = len(drawn) * chance
        assert len(counts) == n_events
        assert all(abs(count - expected) < 5 * sd for count in counts.values())


@pytest.mark.usefixtures("strategy")
def test_a_random_draw_of_due_cards_is_uniform(memory: Store) -> None:
    pool, _ = deck_of_40(memory)
    assert len(pool) == 8
    rounds = range(9, 21)  # the same cards are due, and each round draws anew
    assert all(memory.n_due(r) == len(pool) for r in rounds)
    seeds = _seeds(memory, 150)
    drawn = [[c.task for c in memory.due(r, 4, "random")] for _ in seeds for r in rounds]
    assert_uniform(drawn, pool, 4)
    staged = {t for t in pool if int(t[1:]) % 2 == 1}
    drawn = [[c.task for c in memory.due(r, 2, "random", stage=1)] for _ in _seeds(memory, 50) for r in rounds]  # fmt: skip
    assert_uniform(drawn, staged, 2)


@pytest.mark.usefixtures("strategy")
def test_a_draw_of_retired_cards_is_uniform(memory: Store) -> None:
    _, pool = deck_of_40(memory)
    assert_uniform([memory.retired(r, 4) for r in range(2_000)], pool, 4)
    assert sorted(memory.retired(1, 99)) == sorted(pool)


def test_a_draw_from_anywhere_is_uniform_and_knows_what_is_new(memory: Store) -> None:
    memory.add_tasks([f"old{i}" for i in range(5)])
    memory.add_tasks([f"old{i}" for i in range(3, 9)])
    fill(memory, {f"t{i}": card(f"t{i}", 1) for i in range(6)}, n_new=5)
    pool = (
        {f"old{i}" for i in range(9)} | {f"t{i}" for i in range(6)} | {f"new{i}" for i in range(5)}
    )
    drawn = [memory.anywhere(r, 5) for r in range(3_000)]
    assert_uniform([[task for task, _ in one] for one in drawn], pool, 5)
    assert all(is_new == (task[0] != "t") for one in drawn for task, is_new in one)
    assert sorted(task for task, _ in memory.anywhere(1, 99)) == sorted(pool)


def _seeds(memory: Store, n: int) -> Iterator[int]:
    """The same cards under other seeds."""
    for seed in range(n):
        memory._draws._seed = seed
        yield seed
    memory._draws._seed = 1


@pytest.mark.usefixtures("strategy")
def test_a_resumed_store_draws_the_same_and_other_rounds_or_seeds_draw_otherwise(
    tmp_path: Path,
) -> None:
    def drawn(memory: Store, round: int) -> list[object]:
        return [
            memory.due(round, 6, "random"),
            memory.due(round, 3, "random", stage=0),
            memory.anywhere(round, 20),
            memory.retired(round, 6),
        ]

    for name, seed in (("a", 1), ("b", 2)):
        with Store.open(tmp_path / name, seed=seed) as memory:
            deck_of_40(memory)
    with Store.open(tmp_path / "a") as memory:
        first = drawn(memory, 10)
        assert first == drawn(memory, 10)
        assert all(x != y for x, y in zip(first, drawn(memory, 11), strict=True))
    with Store.open(tmp_path / "a") as resumed, Store.open(tmp_path / "b") as other:
        assert drawn(resumed, 10) == first
        assert all(x != y for x, y in zip(first, drawn(other, 10), strict=True))
    with Store.open(tmp_path / "a", read_only=True) as reader:
        assert drawn(reader, 10) == first


@pytest.mark.parametrize("limit", [0, 1, 8, 9, 1_000])
@pytest.mark.usefixtures("strategy")
def test_a_draw_gives_what_there_is_up_to_the_limit(memory: Store, limit: int) -> None:
    due, retired = deck_of_40(memory)
    assert len(memory.due(9, limit, "random")) == min(limit, len(due))
    assert len(memory.retired(9, limit)) == min(limit, len(retired))
    assert len(memory.anywhere(9, limit)) == min(limit, 60)
    assert len(memory.new_ids(limit)) == min(limit, 20)
    assert memory.due(1, limit, "random") == memory.due(9, limit, "random", stage=7) == []


def test_an_empty_memory_draws_nothing(memory: Store) -> None:
    for order in ORDERS:
        assert memory.due(9, 5, order) == memory.due(9, 5, order, stage=0) == []
    assert memory.anywhere(9, 5) == []
    assert memory.retired(9, 5) == memory.new_ids(5) == []


@settings(max_examples=40, deadline=None)  # each one makes a file
@given(
    cards=st.lists(
        st.tuples(
            st.sampled_from(["active", "active", "graduated", "skipped"]),
            st.integers(1, 4),
            st.sampled_from([1.3, 2.5, 2.6]),
            st.sampled_from([-1.0, 0.0, 0.5]),
            st.integers(0, 2),
        ),
        max_size=25,
    ),
    at_once=st.sampled_from([0, 5_000]),
)
def test_ordered_draws_are_the_head_of_a_sort(
    tmp_path_factory: pytest.TempPathFactory,
    cards: list[tuple[CardStatus, int, float, float, int]],
    at_once: int,
) -> None:
    """However they are found, they are what sorting every card would give first."""
    keys: dict[DueOrder, Callable[[Card], tuple[float, ...]]] = {
        "overdue": lambda c: (c.due_round, c.ease, lot[c.task]),
        "ease": lambda c: (c.ease, lot[c.task]),
        "priority": lambda c: (-c.priority, c.due_round, lot[c.task]),
    }
    made = {
        f"t{i}": card(f"t{i}", 1, status=s, interval_rounds=n, ease=e, priority=p, stage=g)
        for i, (s, n, e, p, g) in enumerate(cards)
    }
    path = tmp_path_factory.mktemp("draws") / "memory.sqlite"
    with pytest.MonkeyPatch.context() as patch, Store.open(path) as memory:
        patch.setattr(draws, "AT_ONCE", at_once)
        fill(memory, made)
        lot = dict(memory._db.execute("SELECT task, lot FROM cards"))
        for order, key in keys.items():
            for round, stage, limit in itertools.product((2, 4), (None, 1), (1, 5, 99)):
                due = [
                    c
                    for c in made.values()
                    if c.status == "active" and c.due_round <= round and stage in (None, c.stage)
                ]
                assert memory.due(round, limit, order, stage=stage) == sorted(due, key=key)[:limit]
                assert memory.n_due(round) == sum(
                    c.status == "active" and c.due_round <= round for c in made.values()
                )


def test_indexes_are_made_when_an_order_first_asks_and_go_with_a_rebuild(memory: Store) -> None:
    def indexes() -> set[str]:
        rows = memory._db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        return {name.removeprefix("cards_by_") for (name,) in rows if "cards_by_" in name}

    deck_of_40(memory)
    assert indexes() == set()
    memory.due(9, 3, "overdue")
    memory.due(9, 3, "ease")  # so few are sorted, by the same index
    assert indexes() == {"due_round_ease_lot"}
    memory.due(9, 3, "random", stage=0)
    memory.retired(9, 3)
    assert indexes() == {"due_round_ease_lot", "stage_due_round", "retired"}
    cards = {review.task: memory.card(review.task) for review in memory.reviews()}
    memory.rebuild(lambda _, review: cards[review.task])  # type: ignore[arg-type, return-value]
    assert indexes() == set()


def test_no_draw_reads_the_table_from_end_to_end(memory: Store, tmp_path: Path) -> None:
    """SQLite's own plan: every statement that touches cards goes through an index, on both strategies."""
    deck_of_40(memory)
    seen: list[str] = []
    memory._db.set_trace_callback(seen.append)
    for at_once, cost in ((5_000, 16), (0, 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(draws, "AT_ONCE", at_once)
            patch.setattr(draws, "LOOK_UP_COST", cost)
            for order, stage in itertools.product(ORDERS, (None, 1)):
                memory.due(9, 3, order, stage=stage)
            memory.anywhere(9, 3), memory.retired(9, 3), memory.new_ids(3)
            list(memory.reviews_of(["t1", "t2"]))
    memory._db.set_trace_callback(None)
    checked = 0
    with sqlite3.connect(tmp_path / "memory.sqlite") as db:
        for sql in seen:
            if sql.startswith("SELECT") and ("cards" in sql or "reviews" in sql):
                assert not whole_scans(db, sql), sql
                checked += 1
    db.close()
    assert checked > 30


def test_a_store_is_a_deck(memory: Store) -> None:
    deck: Deck = memory  # checked by mypy as well
    assert deck.new_ids(1) == []
