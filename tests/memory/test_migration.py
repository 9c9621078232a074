"""A file of an older schema is brought up to date with everything in it."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from memory import schema
from memory.schema import APPLICATION_ID, MIGRATIONS
from memory.store import Store
from scheduler import seed
from scheduler.config import SchedulerConfig
from scheduler.plan import draw_plan
from srs.types import Review, UserError

V1_CARD = (
    "id, task, lot, status, ease, interval_rounds, streak, zeros, lapses, due_round, n_reviews, "
    "last_pass_rate"
)
V1_SCHEMA = "d118fcff00839675"
TASKS = [f"t{i}" for i in range(200)]


def play(memory: Store, rounds: range) -> None:
    config = SchedulerConfig(tasks_per_round=30, audit_every=0)
    for number in rounds:
        plan = draw_plan(memory, number, seed, config)
        memory.record(
            number,
            [
                Review(task=t, round=number, n_passed=(int(t[1:]) + number) % 6, n_graded=5)
                for t in plan.task_ids
            ],
            seed.update,
        )


def content(path: Path) -> list[str]:
    """The tables' rows, but for the seams between migrations: what `iterdump` writes of indexes."""
    with closing(sqlite3.connect(path)) as db:
        return sorted(line for line in db.iterdump() if line.startswith("INSERT"))


def as_v1(new: Path, old: Path) -> None:
    """Write the old file that the first version would have left: its own SQL, the same run."""
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        MIGRATIONS[0](db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.execute("ATTACH ? AS new", (str(new),))
        db.execute(f"INSERT INTO cards ({V1_CARD}) SELECT {V1_CARD} FROM new.cards")
        db.execute("INSERT INTO reviews SELECT round, card, n_passed, n_graded FROM new.reviews")
        db.execute(
            "INSERT INTO rounds SELECT round, n_reviews, lapses, graduated, skipped FROM new.rounds"
        )
        db.execute("INSERT INTO tally SELECT * FROM new.tally")
        db.execute("INSERT INTO meta SELECT * FROM new.meta")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The same run in a file of today and in one of version 1."""
    new, old = tmp_path / "new.sqlite", tmp_path / "old.sqlite"
    with Store.open(new, seed=3) as memory:
        memory.add_tasks(TASKS)
        play(memory, range(1, 9))
    as_v1(new, old)
    return new, old


def test_the_first_migration_is_what_it_always_was(files: tuple[Path, Path]) -> None:
    with closing(sqlite3.connect(files[1])) as db:
        rows = db.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    words = " ".join(str(sql) for (sql,) in rows).split()
    assert hashlib.sha256(" ".join(words).encode()).hexdigest()[:16] == V1_SCHEMA


def test_a_file_of_version_1_loses_nothing(files: tuple[Path, Path]) -> None:
    new, old = files
    with Store.open(new) as today, Store.open(old) as migrated:
        assert list(migrated.reviews()) == list(today.reviews())
        assert [migrated.card(t) for t in TASKS] == [today.card(t) for t in TASKS]
        assert (migrated.counts(), migrated.intervals()) == (today.counts(), today.intervals())
        assert migrated.counts()["graduated"] > 0
        assert [migrated.result(r) for r in range(12)] == [today.result(r) for r in range(12)]
    with pytest.raises(UserError, match="drawn with seed 3, not 4"):
        Store.open(old, seed=4)
    assert content(new) == content(old)


def test_a_migrated_run_goes_on_as_it_would_have(files: tuple[Path, Path]) -> None:
    for path in files:
        with Store.open(path) as memory:
            play(memory, range(9, 14))
            memory.due(14, 5, "random")
            memory.rebuild(seed.update)
    new, old = files
    assert content(new) == content(old)


def test_a_migrated_file_has_the_schema_of_a_new_one(files: tuple[Path, Path]) -> None:
    schemas = []
    for path in files:
        with Store.open(path) as memory:
            schema.drop_indexes(memory._db)
            rows = memory._db.execute("SELECT name, sql FROM sqlite_master ORDER BY name")
            schemas.append(rows.fetchall())
            assert memory._db.execute("PRAGMA foreign_key_check").fetchall() == []
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                memory._db.execute("DELETE FROM reviews")
            with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
                memory._db.execute("INSERT INTO reviews VALUES (99, 99999, 1, 5, 0)")
    assert schemas[0] == schemas[1]


def test_reading_does_not_migrate(files: tuple[Path, Path]) -> None:
    _, old = files
    before = old.read_bytes()
    with pytest.raises(UserError, match=r"old\.sqlite: written by an older version \(schema 1"):
        Store.open(old, read_only=True)
    assert old.read_bytes() == before
