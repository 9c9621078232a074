"""The memory of a run: one card per task, and the append-only log of reviews that made it.

One SQLite file. A call touches the head of an index, never the whole table, and a round is one
transaction: after a crash the file holds it entirely or not at all.
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

from memory import ledger
from memory.database import committed, connect, explained
from memory.ledger import FIELDS, Change, RecordResult, Status, Update
from srs.types import Card, DueOrder, Review, UserError

COLUMNS = ", ".join(FIELDS)
SORTED_AT_ONCE = 5_000
"""With fewer due cards than this, sorting them beats walking the index that is ordered by ease."""
REBUILD_CHUNK = 10_000


class Store:
    """Open with `Store.open` and use as a context manager; one process writes at a time.

    Every method raises UserError, naming the file, when the file or the disk can't be used.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, seed: int) -> None:
        self._path = path
        self._db = db
        self._seed = seed

    @classmethod
    def open(cls, path: Path, *, seed: int | None = None) -> Store:
        """Open the file or create it, and bring an older schema up to date. Nothing is ever erased.

        ``seed`` orders the drawing of new tasks and stays with the file; None takes the file's own (0
        in a new one). Raises UserError when the file has another.
        """
        db = connect(path)
        try:
            with explained(path), committed(db):
                db.execute("INSERT OR IGNORE INTO meta VALUES ('seed', ?)", (str(seed or 0),))
                (stored,) = db.execute("SELECT value FROM meta WHERE key = 'seed'").fetchone()
            if seed is not None and stored != str(seed):
                raise UserError(
                    f"{path}: drawn with seed {stored}, not {seed}: use that seed again or a new run directory"
                )
        except BaseException:
            db.close()
            raise
        return cls(path, db, int(stored))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

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
        and returns the same. Raises UserError when the log holds other counts for it, and ValueError
        for a review of another round, of an unknown task, or not later than the task's last one.
        """
        reviews = list(reviews)
        with self._transaction() as db:
            cards = self._cards(review.task for review in reviews)
            log = self._counts_in(round)
            changes: list[Change] = []
            for review in reviews:
                if review.round != round or review.task not in cards:
                    raise ValueError(f"round {round}: unknown task or another round: {review}")
                counts = (review.n_passed, review.n_graded)
                if review.task not in log:
                    log[review.task] = counts
                    changes.append(ledger.change(*cards[review.task], review, update))
                elif log[review.task] != counts:
                    raise UserError(
                        f"{self._path}: round {round} of task {review.task} is recorded as "
                        f"{log[review.task]}, not {counts} (passed, graded): restore the round's "
                        "verdicts or use a new run directory"
                    )
            db.executemany(
                "INSERT INTO reviews VALUES (?, ?, ?, ?)",
                [(round, c.card_id, c.review.n_passed, c.review.n_graded) for c in changes],
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

    def due(self, round: int, limit: int, order: DueOrder) -> list[Card]:
        """At most ``limit`` active cards due by ``round``, the policy's first ones first.

        ``overdue``: longest overdue, then lowest ease; ``ease``: lowest ease. Ties fall by lot.
        """
        index, keys = "cards_due", "due_round, ease, lot"
        if order == "ease":
            keys = "ease, lot"
            if self.n_due(round, limit=SORTED_AT_ONCE) == SORTED_AT_ONCE:
                index = "cards_ease"
        rows = self._rows(
            f"SELECT {COLUMNS} FROM cards INDEXED BY {index} "
            f"WHERE status = 'active' AND due_round <= ? ORDER BY {keys} LIMIT ?",
            round,
            limit,
        )
        return [_card(row) for row in rows]

    def n_due(self, round: int, *, limit: int = -1) -> int:
        """How many active cards are due by ``round``; counting stops at ``limit`` unless negative."""
        count = self._number(
            "SELECT count(*) FROM (SELECT 1 FROM cards INDEXED BY cards_due "
            "WHERE status = 'active' AND due_round <= ? LIMIT ?)",
            round,
            limit,
        )
        return count or 0

    def n_new(self) -> int:
        return self.counts()["new"]

    def new_ids(self, limit: int) -> list[str]:
        """At most ``limit`` tasks without a review, by lot: seeded, whatever the insertion order."""
        rows = self._rows(
            "SELECT task FROM cards INDEXED BY cards_new WHERE status = 'new' ORDER BY lot LIMIT ?",
            limit,
        )
        return [task for (task,) in rows]

    def next_due_round(self) -> int | None:
        """The earliest round in which an active card is due; None when no card is active."""
        return self._number(
            "SELECT min(due_round) FROM cards INDEXED BY cards_due WHERE status = 'active'"
        )

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
            rows = self._db.execute(
                "SELECT task, round, n_passed, n_graded FROM reviews JOIN cards ON id = card "
                f"{'' if task is None else 'WHERE task = ?'} ORDER BY round, card",
                () if task is None else (task,),
            )
            for name, round, n_passed, n_graded in rows:
                yield Review(task=name, round=round, n_passed=n_passed, n_graded=n_graded)

    def rebuild(self, update: Update) -> int:
        """Replay the log: every card becomes what ``update`` makes of its reviews, in one transaction.

        With the policy that recorded them nothing changes. Returns the number of reviewed tasks.
        """
        n_cards = 0
        with self._transaction() as db:
            n_tasks, last_id = db.execute("SELECT count(*), max(id) FROM cards").fetchone()
            db.execute("DELETE FROM rounds")
            db.execute("DELETE FROM tally")
            ledger.tally(db, Counter({("new", 0): n_tasks}))
            for start in range(0, last_id or 0, REBUILD_CHUNK):
                # Read a chunk whole before writing it: a cursor over rows being changed is undefined.
                log = db.execute(
                    "SELECT card, task, round, n_passed, n_graded FROM reviews JOIN cards ON id = card "
                    "WHERE card > ? AND card <= ? ORDER BY card, round",
                    (start, start + REBUILD_CHUNK),
                ).fetchall()
                changes: list[Change] = []
                for card_id, rows in itertools.groupby(log, key=lambda row: row[0]):
                    card: Card | None = None
                    for _, task, round, n_passed, n_graded in rows:
                        review = Review(
                            task=task, round=round, n_passed=n_passed, n_graded=n_graded
                        )
                        changes.append(ledger.change(card_id, card, review, update))
                        card = changes[-1].after
                    n_cards += 1
                ledger.apply(db, changes)
        return n_cards

    def _cards(self, tasks: Iterable[str]) -> dict[str, tuple[int, Card | None]]:
        rows = self._db.execute(
            f"SELECT id, status = 'new', task, {COLUMNS} FROM cards "
            "WHERE task IN (SELECT value FROM json_each(?))",
            (json.dumps(list(tasks)),),
        )
        return {
            task: (card_id, None if is_new else _card(values))
            for card_id, is_new, task, *values in rows
        }

    def _counts_in(self, round: int) -> dict[str, tuple[int, int]]:
        rows = self._db.execute(
            "SELECT task, n_passed, n_graded FROM reviews JOIN cards ON id = card WHERE round = ?",
            (round,),
        )
        return {task: (n_passed, n_graded) for task, n_passed, n_graded in rows}

    def _result(self, round: int) -> RecordResult:
        row = self._db.execute(
            "SELECT n_reviews, lapses, graduated, skipped FROM rounds WHERE round = ?", (round,)
        ).fetchone()
        n_reviews, lapses, graduated, skipped = row or (0, 0, 0, 0)
        return RecordResult(
            round=round, n_reviews=n_reviews, lapses=lapses, graduated=graduated, skipped=skipped
        )

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with explained(self._path):
            return self._db.execute(sql, values).fetchall()

    def _number(self, sql: str, *values: Any) -> int | None:
        value: int | None = self._rows(sql, *values)[0][0]
        return value

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with explained(self._path), committed(self._db):
            yield self._db


def _card(values: Iterable[Any]) -> Card:
    return Card(**dict(zip(FIELDS, values, strict=True)))


def _lot(seed: int, task: str) -> int:
    digest = hashlib.blake2b(f"{seed}\0{task}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
