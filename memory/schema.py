"""The tables of a run's memory, as an ordered list of migrations, and the indexes that draws ask for.

``user_version`` counts the migrations a file has seen; a new one is appended, an old one never edited.
``application_id`` marks the file as ours, so that somebody else's database is never migrated.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, get_args

from srs.types import ReviewKind

APPLICATION_ID = int.from_bytes(b"srsm", "big")
KINDS: Final[tuple[ReviewKind, ...]] = get_args(ReviewKind)
"""``reviews.kind`` is a position in this: 0 practice, 1 audit, 2 probe. SQLite stores 0 and 1 in no byte."""
ON_DEMAND = "cards_by_"
"""The names of indexes made by `index` begin with this."""


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


def _deepen(db: sqlite3.Connection) -> None:
    # Tables are made anew rather than altered: their checks avoid `IN (…)`, which builds a set for every
    # row that is written and cost a fifth of a round.
    #
    # `nth`: 1, 2, 3 … in the order of first reviews, without gaps: what a uniform draw picks from. It is
    # a fact of the log, not of the policy, so a rebuild leaves it alone.
    db.execute(
        """
        CREATE TABLE cards_2 (
          id INTEGER PRIMARY KEY,
          task TEXT NOT NULL UNIQUE,
          lot INTEGER NOT NULL,
          nth INTEGER,
          status TEXT NOT NULL DEFAULT 'new',
          due_round INTEGER,
          ease REAL,
          interval_rounds INTEGER,
          streak INTEGER,
          zeros INTEGER,
          lapses INTEGER,
          n_reviews INTEGER,
          last_pass_rate REAL,
          stage INTEGER,
          priority REAL,
          stability REAL,
          difficulty REAL,
          passes REAL,
          fails REAL,
          CHECK (status = 'active' OR status = 'new' OR status = 'graduated' OR status = 'skipped'),
          CHECK ((status = 'new') = (due_round IS NULL)),
          CHECK ((status = 'new') = (nth IS NULL))
        )
        """
    )
    db.execute(
        """
        CREATE TABLE reviews_2 (
          round INTEGER NOT NULL,
          card INTEGER NOT NULL REFERENCES cards (id),
          n_passed INTEGER NOT NULL,
          n_graded INTEGER NOT NULL,
          kind INTEGER NOT NULL DEFAULT 0,
          PRIMARY KEY (round, card),
          CHECK (0 <= n_passed AND n_passed <= n_graded AND n_graded > 0),
          CHECK (0 <= kind AND kind <= 2)
        ) WITHOUT ROWID
        """
    )
    kept = (
        "id, task, lot, status, ease, interval_rounds, streak, zeros, lapses, due_round, n_reviews, "
        "last_pass_rate"
    )
    db.execute(
        f"INSERT INTO cards_2 ({kept}, nth, stage, priority, stability, difficulty, passes, fails) "
        f"SELECT {kept}, nth, 0 * nth, 0.0 * nth, 0.0 * nth, 0.0 * nth, 0.0 * nth, 0.0 * nth FROM cards "
        "LEFT JOIN (SELECT card, row_number() OVER (ORDER BY min(round), card) AS nth FROM reviews "
        "GROUP BY card) ON id = card ORDER BY id"  # 0 * NULL is NULL: a new task has no card
    )
    db.execute(
        "INSERT INTO reviews_2 (round, card, n_passed, n_graded) "
        "SELECT round, card, n_passed, n_graded FROM reviews ORDER BY round, card"
    )
    for table in ("reviews", "cards"):
        db.execute(f"DROP TABLE {table}")
        db.execute(f"ALTER TABLE {table}_2 RENAME TO {table}")
    # Every index costs each round something. Those that one order needs are made when it is first used.
    db.execute("CREATE INDEX cards_new ON cards (lot) WHERE status = 'new'")
    db.execute("CREATE UNIQUE INDEX cards_nth ON cards (nth) WHERE nth IS NOT NULL")
    db.execute("CREATE INDEX reviews_card ON reviews (card, round)")
    for verb in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER reviews_no_{verb.lower()} BEFORE {verb} ON reviews "
            "BEGIN SELECT RAISE(ABORT, 'reviews are append-only'); END"
        )
    # The few probes are asked for in every round (KINDS[2]).
    db.execute("CREATE INDEX reviews_probes ON reviews (round, card) WHERE kind = 2")
    for column in ("n_audits", "n_probes"):
        db.execute(f"ALTER TABLE rounds ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    # How many active cards are due when: whether to walk an index or to sort is decided by these.
    db.execute(
        """
        CREATE TABLE due (
          stage INTEGER NOT NULL,
          due_round INTEGER NOT NULL,
          n INTEGER NOT NULL,
          PRIMARY KEY (stage, due_round)
        ) WITHOUT ROWID
        """
    )
    db.execute(
        "INSERT INTO due SELECT stage, due_round, count(*) FROM cards WHERE status = 'active' "
        "GROUP BY stage, due_round"
    )


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create, _deepen)


def index(db: sqlite3.Connection, where: str, columns: Sequence[str], name: str = "") -> str:
    """The name of the partial index of cards on those columns; made if it isn't there.

    Making one reads the table once: seconds for ten million cards, then never again. ``name`` replaces
    the name made of the columns.
    """
    full = ON_DEMAND + (name or "_".join(column.partition(" ")[0] for column in columns))
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (full,)).fetchone():
        db.execute(f"CREATE INDEX {full} ON cards ({', '.join(columns)}) WHERE {where}")
    return full


def drop_indexes(db: sqlite3.Connection) -> None:
    """Remove those that `index` made: what another policy doesn't ask for would only cost time."""
    names = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND substr(name, 1, ?) = ?",
        (len(ON_DEMAND), ON_DEMAND),
    ).fetchall()
    for (name,) in names:
        db.execute(f"DROP INDEX {name}")
