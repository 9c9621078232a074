"""The memory of a run: one card per task, and the append-only log of reviews that made it.

One SQLite file. A call touches the head of an index or a sample, never the whole table, and a round is
one transaction: after a crash the file holds it entirely or not at all. `Store` is a
`scheduler.plan.Deck`.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from memory import draws, ledger, log, schema
from memory.database import committed, connect, connect_to_read, explained
from memory.draws import COLUMNS, Draws
from memory.ledger import Change, RecordResult, Status, Update
from memory.lock import WriterLock
from memory.schema import KINDS
from srs.types import Card, DueOrder, Review, UserError

REBUILD_CHUNK = 10_000


class Store:
    """Open with `Store.open` and use as a context manager; one process writes, others may read.

    Every method raises UserError, naming the file, when the file or the disk can't be used.
    """

    def __init__(
        self, path: Path, db: sqlite3.Connection, seed: int, lock: WriterLock | None
    ) -> None:
        """``lock`` None: opened to read."""
        self._path = path
        self._db = db
        self._seed = seed
        self._lock = lock
        self._draws = Draws(db, seed, writable=lock is not None)

    @classmethod
    def open(cls, path: Path, *, seed: int | None = None, read_only: bool = False) -> Store:
        """Open the file or create it, and bring an older schema up to date. Nothing is ever erased.

        ``seed`` orders the drawing of tasks and stays with the file; None takes the file's own (0 in a
        new one). ``read_only`` works beside a writer, creates and migrates nothing. Raises UserError
        when the file has another seed, when another process writes it, and, read-only, when it isn't
        there or has an older schema.
        """
        lock = None if read_only else WriterLock(path)
        try:
            db = connect_to_read(path) if read_only else connect(path)
            try:
                with explained(path):
                    stored = _seed(db, seed, write=not read_only)
                if seed is not None and stored != seed:
                    raise UserError(
                        f"{path}: drawn with seed {stored}, not {seed}: use that seed again or a new run "
                        "directory"
                    )
            except BaseException:
                db.close()
                raise
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        return cls(path, db, stored, lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """May be called again."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def add_tasks(self, tasks: Iterable[str]) -> int:
        """Register the training pool; known tasks keep their cards. Returns how many were added."""
        with self._transaction() as db:
            db.execute("CREATE TEMP TABLE pool (task TEXT NOT NULL, lot INTEGER NOT NULL)")
            db.executemany(
                "INSERT INTO pool VALUES (?, ?)", ((task, _lot(self._seed, task)) for task in tasks)
            )
            before = db.total_changes
            # By lot, so that tasks drawn in one round are neighbours on disk.
            db.execute(
                "INSERT INTO cards (task, lot) SELECT task, lot FROM pool WHERE true ORDER BY lot "
                "ON CONFLICT (task) DO NOTHING"
            )
            added = db.total_changes - before
            db.execute("DROP TABLE pool")
            ledger.tally(db, Counter({("new", 0): added}))
        return added

    def record(self, round: int, reviews: Iterable[Review], update: Update) -> RecordResult:
        """Append a round's reviews and update their cards, in one transaction.

        A (round, task) already in the log is left as it is: recording a round again changes nothing
        and returns the same. A probe is logged and leaves its card as it is. Raises UserError when the
        log holds other counts or another kind for it, and ValueError for a review of another round, of
        an unknown task or not later than the card's last one, and for a probe of a new task.
        """
        reviews = list(reviews)
        with self._transaction() as db:
            cards = self._cards(review.task for review in reviews)
            logged = {review.task: review for review in log.by_round(db, round)}
            changes: list[Change] = []
            for review in reviews:
                if review.round != round or review.task not in cards:
                    raise ValueError(f"round {round}: unknown task or another round: {review}")
                known = logged.get(review.task)
                if known is None:
                    logged[review.task] = review
                    changes.append(ledger.change(*cards[review.task], review, update))
                elif known != review:
                    raise UserError(
                        f"{self._path}: round {round} of task {review.task} is recorded as "
                        f"{_words(known)}, not {_words(review)}: restore the round's verdicts or use a "
                        "new run directory"
                    )
            changes.sort(key=lambda c: c.card_id)  # neighbours on disk one after the other
            db.executemany(
                "INSERT INTO reviews (round, card, n_passed, n_graded, kind) VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        round,
                        c.card_id,
                        c.review.n_passed,
                        c.review.n_graded,
                        KINDS.index(c.review.kind),
                    )
                    for c in changes
                ],
            )
            ledger.apply(db, changes)
            return self._result(round)

    def result(self, round: int) -> RecordResult:
        """What recording this round returned; all zero when it was never recorded."""
        with explained(self._path):
            return self._result(round)

    def lapses_in(self, round: int) -> int:
        return self.result(round).lapses

    def last_round(self) -> int | None:
        """The latest recorded round; None before the first."""
        return self._number("SELECT max(round) FROM reviews")

    def due(
        self, round: int, limit: int, order: DueOrder, *, stage: int | None = None
    ) -> list[Card]:
        """At most ``limit`` active cards due by ``round``, of one stage or of all, the first ones first.

        ``overdue``: longest overdue, then lowest ease; ``ease``: lowest ease; ``priority``: highest
        priority, then longest overdue. Ties fall by lot. ``random``: every choice of ``limit`` cards, in
        every order, is equally likely; drawn by (seed, round, stage) out of the cards as they are.
        """
        with explained(self._path):
            return self._draws.due(round, limit, order, stage)

    def anywhere(self, round: int, limit: int) -> list[tuple[str, bool]]:
        """``limit`` distinct tasks uniformly out of all, tried or not; with each, whether it is new.

        Drawn by (seed, round) out of the tasks in the order in which they were added.
        """
        with explained(self._path):
            return self._draws.anywhere(round, limit)

    def retired(self, round: int, limit: int) -> list[str]:
        """At most ``limit`` graduated or skipped tasks, uniformly; drawn by (seed, round)."""
        with explained(self._path):
            return self._draws.retired(round, limit)

    def new_ids(self, limit: int) -> list[str]:
        """At most ``limit`` tasks without a review, by lot: seeded, whatever the insertion order."""
        with explained(self._path):
            return self._draws.new_ids(limit)

    def n_due(self, round: int) -> int:
        """How many active cards are due by ``round``."""
        with explained(self._path):
            return self._draws.n_due(round)

    def n_new(self) -> int:
        return self.counts()["new"]

    def counts(self) -> dict[Status, int]:
        """How many tasks stand where, every status present."""
        counts: dict[Status, int] = {"new": 0, "active": 0, "graduated": 0, "skipped": 0}
        counts.update(self._rows("SELECT status, sum(n) FROM tally GROUP BY status"))
        return counts

    def intervals(self) -> dict[int, int]:
        """Histogram of the active cards' intervals, ascending: rounds → cards."""
        return dict(
            self._rows(
                "SELECT interval_rounds, n FROM tally WHERE status = 'active' AND n > 0 "
                "ORDER BY interval_rounds"
            )
        )

    def card(self, task: str) -> Card | None:
        """The task's card; None while it is new. Raises KeyError for an unknown task."""
        with explained(self._path):
            _, card = self._cards([task])[task]
        return card

    def reviews(self, task: str | None = None) -> Iterator[Review]:
        """The log of one task or of all, by round. Read lazily: don't record while iterating."""
        with explained(self._path):
            yield from log.by_round(self._db) if task is None else log.of_tasks(self._db, [task])

    def reviews_of(self, tasks: Iterable[str]) -> Iterator[Review]:
        """The log of some tasks, by round; unknown ones have none. Read lazily, as `reviews`."""
        with explained(self._path):
            yield from log.of_tasks(self._db, tasks)

    def reviews_in(self, round: int) -> Iterator[Review]:
        """One round's log. Read lazily, as `reviews`."""
        with explained(self._path):
            yield from log.by_round(self._db, round)

    def probes(self) -> Iterator[Review]:
        """The probes of frozen tasks (see `scheduler.frozen`), by round. Read lazily, as `reviews`."""
        with explained(self._path):
            yield from log.probes(self._db)

    def histories(self) -> Iterator[tuple[int, list[Review]]]:
        """Each reviewed task's number with its reviews, oldest first. Read lazily, as `reviews`."""
        with explained(self._path):
            yield from log.by_card(self._db)

    def rebuild(self, update: Update) -> int:
        """Replay the log: every card becomes what ``update`` makes of its reviews, in one transaction.

        With the policy that recorded them nothing changes. Returns the number of reviewed tasks.
        """
        n_cards = 0
        with self._transaction() as db:
            n_tasks, last_id = db.execute("SELECT count(*), max(id) FROM cards").fetchone()
            schema.drop_indexes(db)  # another policy may order by something else
            for table in ("rounds", "tally", "due"):
                db.execute(f"DELETE FROM {table}")
            ledger.tally(db, Counter({("new", 0): n_tasks}))
            for start in range(0, last_id or 0, REBUILD_CHUNK):
                # Read a chunk whole before writing it: a cursor over rows being changed is undefined.
                changes: list[Change] = []
                for card_id, reviews in list(log.by_card(db, start, start + REBUILD_CHUNK)):
                    card: Card | None = None
                    for review in reviews:
                        changes.append(ledger.change(card_id, card, review, update))
                        card = changes[-1].after
                    n_cards += 1
                ledger.apply(db, changes, replay=True)
        return n_cards

    def _cards(self, tasks: Iterable[str]) -> dict[str, tuple[int, Card | None]]:
        ids = self._draws.ids
        keys: dict[str, list[str | int]] = {"id": [], "task": []}
        for task in tasks:
            keys["id" if task in ids else "task"].append(ids.get(task, task))
        # In the order asked for, which is mostly that of the rows on disk: `IN (…)` would sort them.
        rows = itertools.chain.from_iterable(
            self._db.execute(
                f"SELECT cards.id, status = 'new', {COLUMNS} "
                f"FROM json_each(?) CROSS JOIN cards ON cards.{key} = value",
                (json.dumps(values),),
            )
            for key, values in keys.items()
        )
        return {
            values[0]: (card_id, None if is_new else draws.card(values))
            for card_id, is_new, *values in rows
        }

    def _result(self, round: int) -> RecordResult:
        row = self._db.execute(
            "SELECT n_reviews, lapses, graduated, skipped, n_audits, n_probes FROM rounds "
            "WHERE round = ?",
            (round,),
        ).fetchone()
        counts = ("n_reviews", "lapses", "graduated", "skipped", "n_audits", "n_probes")
        return RecordResult(round=round, **dict(zip(counts, row or (0,) * 6, strict=True)))

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with explained(self._path):
            return self._db.execute(sql, values).fetchall()

    def _number(self, sql: str, *values: Any) -> int | None:
        value: int | None = self._rows(sql, *values)[0][0]
        return value

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._lock is None:
            raise ValueError(f"{self._path}: closed, or opened to read")
        with explained(self._path), committed(self._db):
            yield self._db


def _seed(db: sqlite3.Connection, seed: int | None, *, write: bool) -> int:
    """The file's seed; ``seed``, or 0, becomes it when the file has none yet."""
    if write:
        with committed(db):
            db.execute("INSERT OR IGNORE INTO meta VALUES ('seed', ?)", (str(seed or 0),))
    row = db.execute("SELECT value FROM meta WHERE key = 'seed'").fetchone()
    return int(row[0]) if row else 0


def _words(review: Review) -> str:
    return f"{review.kind}, {review.n_passed} of {review.n_graded} passed"


def _lot(seed: int, task: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{task}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
