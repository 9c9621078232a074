"""The array deck draws what the memory store draws, after the same reviews."""

import collections
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.store import Store
from scheduler.config import PolicyName, SchedulerConfig
from scheduler.plan import Deck, draw_plan
from scheduler.policies import policy
from scheduler.simulator.deck import ArrayDeck, first
from srs.types import Card, CardStatus, DueOrder, Review

EXACT: tuple[DueOrder, ...] = ("overdue", "ease", "priority")
TASKS = [f"task-{i}" for i in range(40)]
STATUSES: tuple[CardStatus, ...] = ("active", "active", "active", "graduated", "skipped")


def scattered(card: Card | None, review: Review) -> Card:
    """A policy's update with many equal keys, so that every tie-break matters."""
    draw = np.random.default_rng([int(review.task[5:]), review.round])
    interval = int(draw.integers(1, 5))
    return Card(
        task=review.task,
        ease=float(draw.integers(13, 16)) / 10,
        interval_rounds=interval,
        streak=0,
        zeros=0,
        lapses=(0 if card is None else card.lapses) + int(draw.integers(0, 2)),
        due_round=review.round + interval,
        status=STATUSES[int(draw.integers(0, len(STATUSES)))],
        n_reviews=1 if card is None else card.n_reviews + 1,
        last_pass_rate=review.pass_rate,
        stage=int(draw.integers(0, 3)),
        priority=float(draw.integers(0, 3)) / 4,
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rounds=st.lists(st.sets(st.sampled_from(TASKS), max_size=25), max_size=6),
    limit=st.integers(0, 50),
)
def test_the_store_and_the_deck_choose_the_same(
    seed: int, rounds: list[set[str]], limit: int
) -> None:
    deck = ArrayDeck(TASKS, seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder) / "m.sqlite", seed=seed) as store,
    ):
        store.add_tasks(TASKS)
        for number, tasks in enumerate(rounds, 1):
            reviews = [
                Review(task=task, round=number, n_passed=1, n_graded=5) for task in sorted(tasks)
            ]
            result = store.record(number, reviews, scattered)
            assert deck.record(reviews, scattered) == result.lapses
        counts, theirs = deck.counts(), store.counts()
        assert [counts.new, counts.active, counts.graduated, counts.skipped] == [
            theirs[status] for status in ("new", "active", "graduated", "skipped")
        ]
        assert deck.new_ids(limit) == store.new_ids(limit)
        for round in range(len(rounds), len(rounds) + 4):
            for stage in (None, 0, 1, 2):
                for order in EXACT:
                    assert deck.due(round, limit, order, stage=stage) == store.due(
                        round, limit, order, stage=stage
                    )
                ours, its = (d.due(round, limit, "random", stage=stage) for d in decks(deck, store))
                assert len(ours) == len(its)
                everyone = store.due(round, len(TASKS), "overdue", stage=stage)
                assert {card.task for card in ours} <= {card.task for card in everyone}
            assert len(deck.anywhere(round, limit)) == len(store.anywhere(round, limit))
            assert dict(deck.anywhere(round, 99)) == dict(store.anywhere(round, 99))
            assert len(deck.retired(round, limit)) == len(store.retired(round, limit))
            assert set(deck.retired(round, 99)) == set(store.retired(round, 99))


def decks(deck: ArrayDeck, store: Store) -> tuple[Deck, Deck]:
    """Both are decks: a type checker sees it here."""
    return deck, store


NOTHING_AT_RANDOM = [
    name
    for name in get_args(PolicyName)
    if not policy(name).whole_pool and policy(name).order != "random"
]


@pytest.mark.parametrize("name", NOTHING_AT_RANDOM)
def test_a_shipped_policy_gets_the_same_rounds_from_both(name: str, tmp_path: Path) -> None:
    """Round for round. Policies that draw at random get other members by the same law."""
    chosen = policy(name)
    config = SchedulerConfig(tasks_per_round=12, new_share=0.5, audit_every=0)
    deck = ArrayDeck(TASKS, 7)
    with Store.open(tmp_path / "m.sqlite", seed=7) as store:
        store.add_tasks(TASKS)
        for round in range(1, 16):
            plan = draw_plan(store, round, chosen, config)
            assert draw_plan(deck, round, chosen, config) == plan
            reviews = [
                Review(
                    task=task,
                    round=round,
                    n_passed=int(np.random.default_rng([int(task[5:]), round]).integers(0, 6)),
                    n_graded=5,
                )
                for task in plan.practised
            ]
            result = store.record(round, reviews, chosen.update)
            assert deck.record(reviews, chosen.update) == result.lapses


@pytest.mark.parametrize("draw", ["due", "anywhere", "retired"])
def test_random_draws_are_uniform_and_repeat_themselves(draw: str) -> None:
    deck = ArrayDeck(TASKS, 3)
    reviews = [Review(task=task, round=1, n_passed=1, n_graded=5) for task in TASKS]
    deck.record(reviews, scattered)

    def drawn(round: int) -> list[str]:
        match draw:
            case "due":
                return [card.task for card in deck.due(round, 5, "random")]
            case "anywhere":
                return [task for task, _ in deck.anywhere(round, 5)]
            case _:
                return deck.retired(round, 5)

    assert drawn(9) == drawn(9)
    n_rounds = 4_000
    counted = collections.Counter(t for r in range(10, 10 + n_rounds) for t in drawn(r))
    counts = deck.counts()
    among = {"due": counts.active, "anywhere": len(TASKS)}.get(
        draw, counts.graduated + counts.skipped
    )
    assert len(counted) == among
    expected = 5 * n_rounds / among
    # Five standard deviations of a binomial; the draws of 4,000 seeds are fixed, so this can't flicker.
    assert all(abs(n - expected) < 5 * expected**0.5 for n in counted.values())


@given(
    columns=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30),
    limit=st.integers(0, 35),
    picked=st.sets(st.integers(0, 29)),
)
def test_the_first_are_those_of_a_whole_sort(
    columns: list[tuple[int, int]], limit: int, picked: set[int]
) -> None:
    numbers = np.array(sorted(i for i in picked if i < len(columns)), dtype=np.int64)
    keys = [np.array([column[k] for column in columns], dtype=np.int64) for k in range(2)]
    whole = sorted(numbers.tolist(), key=lambda i: (*columns[i], i))
    assert first(numbers, keys, limit).tolist() == whole[:limit]


def test_probes_leave_cards_alone_and_unknown_tasks_are_an_error() -> None:
    deck = ArrayDeck(TASKS, 0)
    probe = Review(task=TASKS[0], round=1, n_passed=5, n_graded=5, kind="probe")
    assert deck.record([probe], scattered) == 0
    assert deck.card(TASKS[0]) is None
    with pytest.raises(KeyError):
        deck.card("nobody")
