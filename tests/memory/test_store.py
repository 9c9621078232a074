"""The store against a real SQLite file: rounds, order of drawing and of due cards, replay."""

import dataclasses
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query_plans import whole_scans

from memory import draws, store
from memory.ledger import RecordResult
from memory.store import Store
from scheduler import seed, sm2
from scheduler.config import PolicyName, SchedulerConfig
from scheduler.plan import NEVER, Policy, draw_plan
from scheduler.policies import policy as policy_of
from srs.types import Card, DueOrder, Review, ReviewKind, UserError


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "memory.sqlite", seed=1) as opened:
        yield opened


def review(task: str, round: int, n_passed: int, kind: ReviewKind = "practice") -> Review:
    return Review(task=task, round=round, n_passed=n_passed, n_graded=5, kind=kind)


def run(memory: Store, policy: Policy, rounds: int, *, randomness: int = 0) -> list[RecordResult]:
    """Rounds of 10 of the tasks t0…t59, some hard and some easy; ends when all have retired."""
    rng = random.Random(randomness)
    memory.add_tasks(f"t{i}" for i in range(60))
    config = SchedulerConfig(tasks_per_round=10)
    results: list[RecordResult] = []
    for number in range(1, rounds + 1):
        plan = draw_plan(memory, number, policy, config)
        if not plan.practised:
            break
        chance = {task: int(task[1:]) / 60 for task in plan.task_ids}
        reviews = [
            review(task, number, sum(rng.random() < p for _ in range(5)))
            for task, p in chance.items()
        ]
        results.append(memory.record(number, reviews, policy.update))
    return results


def state(memory: Store) -> tuple[object, ...]:
    cards = [memory.card(f"t{i}") for i in range(60)]
    rounds = [memory.result(i) for i in range(60)]
    return cards, rounds, memory.counts(), memory.intervals(), list(memory.reviews())


def test_a_new_pool_is_all_new(memory: Store) -> None:
    assert memory.add_tasks(["a", "b", "a"]) == 2
    assert memory.add_tasks(["b", "c"]) == 1
    assert memory.counts() == {"new": 3, "active": 0, "graduated": 0, "skipped": 0}
    assert (memory.card("a"), memory.last_round()) == (None, None)
    assert (memory.n_due(99), memory.n_new(), memory.intervals()) == (0, 3, {})


def test_recording_a_round_moves_its_tasks_only(memory: Store) -> None:
    memory.add_tasks("abc")
    result = memory.record(1, [review("a", 1, 5), review("b", 1, 0)], sm2.update)
    assert result == RecordResult(round=1, n_reviews=2)
    assert memory.card("a") == sm2.update(None, review("a", 1, 5))
    assert memory.new_ids(9) == ["c"]
    assert (memory.n_due(1), memory.n_due(2), memory.n_due(3)) == (0, 1, 2)
    assert memory.intervals() == {1: 1, 2: 1}
    assert set(memory.reviews()) == {review("a", 1, 5), review("b", 1, 0)}
    assert list(memory.reviews("b")) == [review("b", 1, 0)]


def test_results_count_lapses_and_new_states(memory: Store) -> None:
    memory.add_tasks("abc")
    first = memory.record(1, [review("a", 1, 4), review("b", 1, 5), review("c", 1, 0)], seed.update)
    second = memory.record(2, [review("a", 2, 1), review("c", 2, 0)], seed.update)
    for round in (3, 4, 5):
        last = memory.record(round, [review("c", round, 0)], seed.update)
    assert first == RecordResult(round=1, n_reviews=3, graduated=1)
    assert second == RecordResult(round=2, n_reviews=2, lapses=1)
    assert last == RecordResult(round=5, n_reviews=1, skipped=1)
    assert [memory.lapses_in(round) for round in (1, 2, 3, 77)] == [0, 1, 0, 0]
    assert memory.counts() == {"new": 0, "active": 1, "graduated": 1, "skipped": 1}


@pytest.mark.parametrize("policy", [sm2, seed], ids=lambda policy: str(policy.name))
def test_recording_again_changes_nothing_and_returns_the_same(
    memory: Store, policy: Policy
) -> None:
    results = run(memory, policy, 12)
    before = state(memory)
    for result in results:
        reviews = [r for r in memory.reviews() if r.round == result.round]
        assert memory.record(result.round, reviews, policy.update) == result
    assert state(memory) == before


def test_a_round_recorded_in_parts_is_one_round(memory: Store) -> None:
    memory.add_tasks("ab")
    a, b = review("a", 1, 4), review("b", 1, 0)
    memory.record(1, [a], sm2.update)
    assert memory.record(1, [a, b, b], sm2.update) == RecordResult(round=1, n_reviews=2)
    assert Counter(memory.reviews()) == Counter([a, b])


def test_other_results_for_a_recorded_round_are_refused_whole(memory: Store) -> None:
    memory.add_tasks("ab")
    memory.record(1, [review("a", 1, 4)], sm2.update)
    words = r"memory\.sqlite: round 1 of task a is recorded as practice, 4 of 5 passed, not .* 3 of"
    with pytest.raises(UserError, match=words):
        memory.record(1, [review("b", 1, 1), review("a", 1, 3)], sm2.update)
    assert memory.new_ids(9) == ["b"]


@pytest.mark.parametrize(
    "bad", [review("b", 3, 1), review("stranger", 2, 1), review("a", 2, 1)], ids=str
)
def test_reviews_that_a_replay_could_not_repeat_are_refused_whole(
    memory: Store, bad: Review
) -> None:
    memory.add_tasks("ab")
    memory.record(5, [review("a", 5, 4)], sm2.update)
    with pytest.raises(ValueError, match="task"):
        memory.record(2, [review("b", 2, 4), bad], sm2.update)
    assert (memory.new_ids(9), memory.last_round()) == (["b"], 5)


def test_a_policy_that_breaks_the_invariants_is_refused(memory: Store) -> None:
    memory.add_tasks("a")

    def wrong(card: Card | None, review: Review) -> Card:
        return dataclasses.replace(sm2.update(card, review), due_round=77)

    with pytest.raises(ValueError, match="invariants"):
        memory.record(1, [review("a", 1, 4)], wrong)
    assert memory.n_new() == 1


def test_the_log_is_append_only(memory: Store, tmp_path: Path) -> None:
    memory.add_tasks("a")
    memory.record(1, [review("a", 1, 4)], sm2.update)
    db = sqlite3.connect(tmp_path / "memory.sqlite")
    for sql in ("DELETE FROM reviews", "UPDATE reviews SET n_passed = 5"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(sql)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        db.execute("INSERT INTO reviews VALUES (2, 1, 6, 5, 0)")
    db.close()


def test_new_tasks_come_in_an_order_that_only_the_seed_decides(tmp_path: Path) -> None:
    ids = [f"t{i}" for i in range(200)]
    orders = []
    for name, run_seed, tasks in (("a", 1, ids), ("b", 1, ids[::-1]), ("c", 2, ids)):
        with Store.open(tmp_path / name, seed=run_seed) as opened:
            opened.add_tasks(tasks[:50])
            opened.add_tasks(tasks)
            orders.append(opened.new_ids(200))
            assert opened.new_ids(7) == orders[-1][:7]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(ids)
    assert orders[0] != ids


def test_the_seed_stays_with_the_file(tmp_path: Path) -> None:
    Store.open(tmp_path / "m", seed=4).close()
    Store.open(tmp_path / "m").close()
    with pytest.raises(UserError, match="drawn with seed 4, not 5"):
        Store.open(tmp_path / "m", seed=5)


@pytest.mark.parametrize("order", ["overdue", "ease"])
@pytest.mark.parametrize("at_once", [0, 5_000])
def test_due_cards_come_in_the_order_asked_for(
    memory: Store, monkeypatch: pytest.MonkeyPatch, order: DueOrder, at_once: int
) -> None:
    monkeypatch.setattr(
        draws, "AT_ONCE", at_once
    )  # 0: walk the index of the order when it is shorter
    run(memory, sm2, 9)
    cards = [card for i in range(60) if (card := memory.card(f"t{i}")) is not None]
    for round in (1, 5, 9, 12, 40):
        due = [card for card in cards if card.status == "active" and card.due_round <= round]
        found = memory.due(round, 100, order)
        keys = [(c.due_round, c.ease) if order == "overdue" else (c.ease,) for c in found]
        assert keys == sorted(keys)
        assert Counter(found) == Counter(due)
        assert memory.due(round, 4, order) == found[:4]
        assert memory.n_due(round) == len(due)


@pytest.mark.parametrize("name", get_args(PolicyName))
@pytest.mark.parametrize("chunk", [7, 10_000])
def test_cards_are_the_replay_of_the_log(
    memory: Store, monkeypatch: pytest.MonkeyPatch, name: PolicyName, chunk: int
) -> None:
    monkeypatch.setattr(store, "REBUILD_CHUNK", chunk)
    policy = policy_of(name)
    run(memory, policy, 25)

    def queues() -> list[list[Card]]:
        order = policy.order or "overdue"
        stages = range(len(policy.shares)) if policy.shares else (None,)
        return [memory.due(30, 60, order, stage=stage) for stage in stages]

    before, due = state(memory), queues()
    reviewed = {r.task for r in memory.reviews()}
    assert memory.rebuild(policy.update) == len(reviewed) > 30
    assert state(memory) == before
    assert queues() == due


def test_rebuilding_under_another_policy_gives_what_it_would_make_of_the_log(memory: Store) -> None:
    run(memory, sm2, 12)
    memory.rebuild(seed.update)
    for i in range(60):
        card: Card | None = None
        for one in memory.reviews(f"t{i}"):
            card = seed.update(card, one)
        assert memory.card(f"t{i}") == card


def test_counts_kept_up_by_rounds_equal_a_count_of_the_cards(memory: Store) -> None:
    run(memory, sm2, 20)
    cards = [memory.card(f"t{i}") for i in range(60)]
    status = Counter("new" if card is None else card.status for card in cards)
    assert memory.counts() == {s: status[s] for s in ("new", "active", "graduated", "skipped")}
    active = Counter(c.interval_rounds for c in cards if c is not None and c.status == "active")
    assert memory.intervals() == dict(sorted(active.items()))


def test_a_run_cut_and_reopened_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    with Store.open(tmp_path / "whole", seed=1) as whole:
        run(whole, sm2, 10)
        expected = state(whole)
        log = list(whole.reviews())
    for round in range(1, 11):
        with Store.open(tmp_path / "cut", seed=1) as cut:
            cut.add_tasks(f"t{i}" for i in range(60))
            cut.record(round, [r for r in log if r.round == round], sm2.update)
    with Store.open(tmp_path / "cut") as cut:
        assert state(cut) == expected


@settings(max_examples=40, deadline=None)  # each one makes a file
@given(data=st.data())
def test_any_log_replays(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Practice, audits and probes in any mixture: the cards are what replaying the log gives."""
    policy = policy_of(data.draw(st.sampled_from(get_args(PolicyName))))
    kinds: list[ReviewKind] = ["practice", "practice", "audit", "probe"]
    rounds = data.draw(
        st.lists(
            st.dictionaries(
                st.sampled_from("abcd"), st.tuples(st.integers(0, 5), st.sampled_from(kinds))
            ),
            max_size=8,
        )
    )
    known: set[str] = set()
    expected: dict[str, Card] = {}
    with Store.open(tmp_path_factory.mktemp("any") / "memory.sqlite") as opened:
        opened.add_tasks("abcd")
        for number, results in enumerate(rounds, start=1):
            reviews = [
                review(task, number, n, kind if task in known else "practice")
                for task, (n, kind) in results.items()
            ]
            known |= set(results)
            for one in reviews:
                if one.kind != "probe":
                    expected[one.task] = policy.update(expected.get(one.task), one)
            result = opened.record(number, reviews, policy.update)
            assert result == opened.record(number, reviews, policy.update) == opened.result(number)
            assert result.n_reviews == sum(r.kind != "probe" for r in reviews)
            assert result.n_audits == sum(r.kind == "audit" for r in reviews)
            assert result.n_probes == sum(r.kind == "probe" for r in reviews)
        before = _everything(opened, len(rounds))
        assert {t: opened.card(t) for t in known} == expected
        assert opened.rebuild(policy.update) == len(known)
        assert _everything(opened, len(rounds)) == before
        due = [c.due_round for c in expected.values() if c.status == "active"]
        assert [opened.n_due(r) for r in range(30)] == [sum(d <= r for d in due) for r in range(30)]


def _everything(memory: Store, n_rounds: int) -> tuple[object, ...]:
    cards = [memory.card(t) for t in "abcd"]
    results = [memory.result(r) for r in range(1, n_rounds + 1)]
    tables = [
        memory._db.execute(f"SELECT * FROM {table} WHERE n != 0 ORDER BY 1, 2").fetchall()
        for table in ("tally", "due")
    ]
    numbers = memory._db.execute("SELECT task, nth FROM cards ORDER BY id").fetchall()
    return cards, results, tables, numbers, memory.counts(), memory.intervals()


def test_a_probe_is_logged_and_leaves_the_card_alone(memory: Store) -> None:
    memory.add_tasks("ab")
    memory.record(1, [review("a", 1, 5)], sm2.update)
    before = memory.card("a"), memory.counts(), memory.intervals(), memory.n_due(99)
    result = memory.record(7, [review("a", 7, 0, "probe")], sm2.update)
    assert result == RecordResult(round=7, n_probes=1)
    assert (memory.card("a"), memory.counts(), memory.intervals(), memory.n_due(99)) == before
    assert list(memory.reviews("a")) == [review("a", 1, 5), review("a", 7, 0, "probe")]
    # A probe is not the card's last review: practice in an earlier round may still be recorded.
    memory.record(5, [review("a", 5, 5)], sm2.update)
    expected = sm2.update(sm2.update(None, review("a", 1, 5)), review("a", 5, 5))
    assert memory.card("a") == expected
    memory.rebuild(sm2.update)
    assert memory.card("a") == expected


def test_a_probe_of_a_new_task_is_refused_whole(memory: Store) -> None:
    memory.add_tasks("ab")
    with pytest.raises(ValueError, match="without a card"):
        memory.record(1, [review("a", 1, 5), review("b", 1, 5, "probe")], sm2.update)
    assert (memory.n_new(), memory.last_round(), memory.result(1)) == (
        2,
        None,
        RecordResult(round=1),
    )


def test_an_audit_moves_the_card_and_is_counted(memory: Store) -> None:
    memory.add_tasks("a")
    memory.record(1, [review("a", 1, 5)], sm2.update)
    result = memory.record(2, [review("a", 2, 0, "audit")], sm2.update)
    assert result == RecordResult(round=2, n_reviews=1, n_audits=1, lapses=1)
    first = sm2.update(None, review("a", 1, 5))
    assert memory.card("a") == sm2.update(first, review("a", 2, 0, "audit"))


def test_another_kind_for_a_recorded_round_is_refused(memory: Store) -> None:
    memory.add_tasks("a")
    memory.record(1, [review("a", 1, 4)], sm2.update)
    memory.record(2, [review("a", 2, 4, "probe")], sm2.update)
    with pytest.raises(UserError, match="round 2 of task a is recorded as probe, 4 of 5 passed"):
        memory.record(2, [review("a", 2, 4)], sm2.update)
    assert memory.result(2) == RecordResult(round=2, n_probes=1)


def test_the_log_of_some_tasks(memory: Store) -> None:
    run(memory, sm2, 8)
    everything = list(memory.reviews())
    tasks = {review.task for review in everything[::3]}
    assert list(memory.reviews_of(tasks)) == [r for r in everything if r.task in tasks]
    assert list(memory.reviews_of(["stranger"])) == list(memory.reviews_of([])) == []
    by_card = [r for _, history in memory.histories() for r in history]
    assert sorted(by_card, key=str) == sorted(everything, key=str)
    assert len(list(memory.histories())) == len({r.task for r in everything})


def test_cards_are_numbered_in_the_order_of_their_first_reviews(memory: Store) -> None:
    run(memory, sm2, 6)
    first: dict[str, int] = {}
    for one in memory.reviews():
        first.setdefault(one.task, one.round)
    rows = memory._db.execute("SELECT nth, task FROM cards WHERE nth IS NOT NULL ORDER BY nth")
    numbers, tasks = zip(*rows, strict=True)
    assert list(numbers) == list(range(1, len(first) + 1))
    assert [first[task] for task in tasks] == sorted(first.values())


def test_no_call_of_a_round_scans_the_cards(memory: Store, tmp_path: Path) -> None:
    """SQLite's own plan: every statement that touches cards goes through an index."""
    run(memory, sm2, 3)
    seen: list[str] = []
    memory._db.set_trace_callback(seen.append)
    memory.due(9, 5, "overdue"), memory.due(9, 5, "ease"), memory.new_ids(5)
    memory.due(NEVER, 5, "overdue"), memory.n_due(9), memory.counts(), memory.intervals()
    memory.record(9, [review("t1", 9, 1)], sm2.update)
    memory._db.set_trace_callback(None)
    assert len(seen) > 10
    db = sqlite3.connect(tmp_path / "memory.sqlite")
    for sql in seen:
        if sql.startswith(("SELECT", "UPDATE")) and "cards" in sql:
            assert not whole_scans(db, sql), sql
    assert whole_scans(db, "SELECT count(*) FROM cards"), "a scan that the test would see"
    db.close()
