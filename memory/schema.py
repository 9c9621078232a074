"""The tables of a run's memory, as an ordered list of migrations.

``user_version`` counts the migrations a file has seen; a new one is appended, an old one never edited.
``application_id`` marks the file as ours, so that somebody else's database is never migrated.
"""

import sqlite3
from collections.abc import Callable

APPLICATION_ID = int.from_bytes(b"srsm", "big")


def _create(db: sqlite3.Connection) -> None:
    # One row per task of the pool. Status 'new' = no review yet, so no card: its columns are NULL.
    # `lot` is a hash of (run seed, task): the order of drawing, the same whatever the order of insertion.
    db.execute(
        """
        CREATE TABLE cards (
          id INTEGER PRIMARY KEY,
          task TEXT NOT NULL UNIQUE,
          lot INTEGER NOT NULL,
          status TEXT NOT NULL DEFAULT 'new'
            CHECK (status IN ('new', 'active', 'graduated', 'skipped')),
          ease REAL,
          interval_rounds INTEGER,
          streak INTEGER,
          zeros INTEGER,
          lapses INTEGER,
          due_round INTEGER,
          n_reviews INTEGER,
          last_pass_rate REAL,
          CHECK ((status = 'new') = (due_round IS NULL))
        )
        """
    )
    # Partial indexes: a round touches only the head of each, however many cards there are.
    db.execute("CREATE INDEX cards_new ON cards (lot) WHERE status = 'new'")
    db.execute("CREATE INDEX cards_due ON cards (due_round, ease, lot) WHERE status = 'active'")
    db.execute("CREATE INDEX cards_ease ON cards (ease, lot, due_round) WHERE status = 'active'")
    db.execute(
        """
        CREATE TABLE reviews (
          round INTEGER NOT NULL,
          card INTEGER NOT NULL REFERENCES cards (id),
          n_passed INTEGER NOT NULL,
          n_graded INTEGER NOT NULL,
          PRIMARY KEY (round, card),
          CHECK (0 <= n_passed AND n_passed <= n_graded AND n_graded > 0)
        ) WITHOUT ROWID
        """
    )
    db.execute("CREATE INDEX reviews_card ON reviews (card, round)")
    for verb in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER reviews_no_{verb.lower()} BEFORE {verb} ON reviews "
            "BEGIN SELECT RAISE(ABORT, 'reviews are append-only'); END"
        )
    # What each round changed, and how many cards stand where: kept up by every transaction, because
    # counting ten million rows for a progress line would cost more than the round's own bookkeeping.
    db.execute(
        """
        CREATE TABLE rounds (
          round INTEGER PRIMARY KEY,
          n_reviews INTEGER NOT NULL,
          lapses INTEGER NOT NULL,
          graduated INTEGER NOT NULL,
          skipped INTEGER NOT NULL
        )
        """
    )
    db.execute(
        """
        CREATE TABLE tally (
          status TEXT NOT NULL,
          interval_rounds INTEGER NOT NULL,
          n INTEGER NOT NULL,
          PRIMARY KEY (status, interval_rounds)
        ) WITHOUT ROWID
        """
    )
    db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create,)
