"""Reading the review log: by round, as it was written, or by card, as a replay needs it."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from memory.schema import KINDS
from srs.types import Review

COLUMNS = "task, round, n_passed, n_graded, kind"
LOG = f"SELECT {COLUMNS} FROM reviews JOIN cards ON id = card"


def by_round(db: sqlite3.Connection, round: int | None = None) -> Iterator[Review]:
    """Every review, or those of one round, by round. Read lazily: don't write meanwhile."""
    where, values = ("", ()) if round is None else ("WHERE round = ?", (round,))
    return map(_review, db.execute(f"{LOG} {where} ORDER BY round, card", values))


def of_tasks(db: sqlite3.Connection, tasks: Iterable[str]) -> Iterator[Review]:
    """The reviews of some tasks, by round; unknown ones have none. Read lazily."""
    rows = db.execute(
        f"{LOG} WHERE card IN (SELECT id FROM cards WHERE task IN (SELECT value FROM json_each(?))) "
        "ORDER BY round, card",
        (json.dumps(list(tasks)),),
    )
    return map(_review, rows)


def probes(db: sqlite3.Connection) -> Iterator[Review]:
    """The probes, by round, found by the index `memory.schema` makes for them. Read lazily."""
    rows = db.execute(f"{LOG} WHERE kind = {KINDS.index('probe')} ORDER BY round, card")
    return map(_review, rows)


def by_card(
    db: sqlite3.Connection, after: int = 0, until: int | None = None
) -> Iterator[tuple[int, list[Review]]]:
    """Each reviewed card's number with its reviews, oldest first; numbers in ``(after, until]``.

    Read lazily, one card at a time.
    """
    rows = db.execute(
        f"SELECT card, {COLUMNS} FROM reviews INDEXED BY reviews_card JOIN cards ON id = card "
        "WHERE card > ? AND card <= ? ORDER BY card, round",
        (after, 2**63 - 1 if until is None else until),
    )
    for card, group in itertools.groupby(rows, key=lambda row: row[0]):
        yield card, [_review(row[1:]) for row in group]


def _review(row: tuple[Any, ...]) -> Review:
    task, round, n_passed, n_graded, kind = row
    return Review(task=task, round=round, n_passed=n_passed, n_graded=n_graded, kind=KINDS[kind])
