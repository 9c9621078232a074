"""Which cards are drawn: the first of an order, or a uniform random draw that a resumed run repeats.

No draw reads the table from end to end. Walking an index costs more the fewer of its entries match,
sorting or ranking the matches costs more the more there are; the counts kept with the cards say which is
cheaper, so that a draw of k among n cards reads on the order of √(k·n) index entries at worst.
"""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, Final

from memory import schema
from memory.ledger import FIELDS
from srs.types import Card, DueOrder

COLUMNS: Final = ", ".join(FIELDS)
"""In this order; the first is the task."""
ACTIVE: Final = "status = 'active'"
RETIRED: Final = "status IN ('graduated', 'skipped')"
KEYS: Final[dict[DueOrder, tuple[str, ...]]] = {
    "overdue": ("due_round", "ease", "lot"),
    "ease": ("ease", "lot"),
    "priority": ("priority DESC", "due_round", "lot"),
}
AT_ONCE = 5_000
"""So few matches are always sorted or ranked."""
LOOK_UP_COST = 16
"""Looking a card up by number costs about as much as reading so many entries of an index in a row."""
IDS_KEPT = 50_000


class Draws:
    """Draws from the cards of one open file. ``writable``: missing indexes may be made."""

    def __init__(self, db: sqlite3.Connection, seed: int, *, writable: bool) -> None:
        self._db = db
        self._seed = seed
        self._writable = writable
        self.ids: dict[str, int] = {}
        """The ids of tasks drawn lately: recording them needn't look for them by name again."""

    def new_ids(self, limit: int) -> list[str]:
        rows = self._db.execute(
            "SELECT task, id FROM cards INDEXED BY cards_new WHERE status = 'new' ORDER BY lot LIMIT ?",
            (limit,),
        )
        return list(self._known(dict(rows)))

    def due(self, round: int, limit: int, order: DueOrder, stage: int | None) -> list[Card]:
        n = self.n_due(round, stage)
        if order == "random":
            return self._due_at_random(round, min(limit, n), n, stage)
        keys = KEYS[order]
        columns = keys if order == "overdue" else ("due_round", *_without(keys, "due_round"))
        if order != "overdue" and not _few(n, limit, self._n_active(stage)):
            columns = keys if "due_round" in keys else (*keys, "due_round")
        which, values = _due(round, stage)
        rows = self._db.execute(
            f"SELECT id, {COLUMNS} FROM (SELECT id AS drawn FROM cards {self._by(columns, stage)} "
            f"WHERE {which} ORDER BY {', '.join(keys)} LIMIT ?) JOIN cards ON id = drawn "
            f"ORDER BY {', '.join(keys)}",
            (*values, limit),
        )
        return list(self._cards(rows).values())

    def anywhere(self, round: int, limit: int) -> list[tuple[str, bool]]:
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM cards").fetchone()
        # Ids are 1…last without gaps: rows are never deleted.
        ids = self._stream(round, "anywhere").sample(range(1, last + 1), min(limit, last))
        rows = self._rows("id, task, status = 'new'", ids)
        self._known({task: card_id for card_id, task, _ in rows})
        return [(task, bool(is_new)) for _, task, is_new in rows]

    def retired(self, round: int, limit: int) -> list[str]:
        (n,) = self._db.execute(f"SELECT coalesce(sum(n), 0) FROM tally WHERE {RETIRED}").fetchone()
        rng, k = self._stream(round, "retired"), min(limit, n)
        if _few(n, LOOK_UP_COST * k, self._n_seen()):
            hint = self._hint(RETIRED, ("id",), "retired")
            ids = self._by_rank(rng, k, n, f"{hint} WHERE {RETIRED}", (), "id")
        else:
            ids = self._by_number(rng, k, n, RETIRED, ())
        return list(self._known({task: card_id for card_id, task in self._rows("id, task", ids)}))

    def n_due(self, round: int, stage: int | None = None) -> int:
        where, values = _staged("due_round <= ?", (round,), stage)
        n: int
        (n,) = self._db.execute(
            f"SELECT coalesce(sum(n), 0) FROM due WHERE {where}", values
        ).fetchone()
        return n

    def _due_at_random(self, round: int, k: int, n: int, stage: int | None) -> list[Card]:
        rng = self._stream(round, f"due {stage}")
        which, values = _due(round, stage)
        if _few(n, LOOK_UP_COST * k, self._n_seen()):
            hint = self._by(("due_round",), stage)
            ids = self._by_rank(rng, k, n, f"{hint} WHERE {which}", values, "due_round, id")
        else:
            ids = self._by_number(rng, k, n, which, values)
        return list(self._cards(self._rows(f"id, {COLUMNS}", ids)).values())

    def _rows(self, columns: str, ids: list[int]) -> list[tuple[Any, ...]]:
        """Those columns of the cards with those ids, in their order."""
        rows = self._db.execute(
            f"SELECT {columns} FROM cards WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )
        found = {row[0]: row for row in rows}
        return [found[card_id] for card_id in ids]

    def _cards(self, rows: Iterable[tuple[Any, ...]]) -> dict[int, Card]:
        """Cards by id, from rows of the id and `COLUMNS`."""
        cards = {card_id: card(values) for card_id, *values in rows}
        self._known({one.task: card_id for card_id, one in cards.items()})
        return cards

    def _known(self, ids: dict[str, int]) -> dict[str, int]:
        if len(self.ids) > IDS_KEPT:
            self.ids.clear()
        self.ids |= ids
        return ids

    def _by_rank(
        self, rng: random.Random, k: int, n: int, source: str, values: tuple[Any, ...], order: str
    ) -> list[int]:
        """``k`` distinct ids uniformly out of the ``n`` that match: ranks drawn, then read off an index."""
        ranks = rng.sample(range(1, n + 1), k)
        found = dict(
            self._db.execute(
                "SELECT place, id FROM (SELECT id, row_number() OVER "
                f"(ORDER BY {order}) AS place FROM cards {source}) "
                "WHERE place IN (SELECT value FROM json_each(?))",
                (*values, json.dumps(ranks)),
            )
        )
        return [found[rank] for rank in ranks]

    def _by_number(
        self, rng: random.Random, k: int, n: int, which: str, values: tuple[Any, ...]
    ) -> list[int]:
        """``k`` distinct ids uniformly out of the ``n`` that match: numbers drawn, the others dropped."""
        n_seen, chosen = self._n_seen(), list[int]()
        numbers = _distinct(rng, n_seen)
        while len(chosen) < k:
            expected = (k - len(chosen)) * n_seen // n
            batch = list(itertools.islice(numbers, expected + 8))
            if not batch:
                raise RuntimeError(f"{n} cards should match, {len(chosen)} do: {which}")
            found = dict(
                self._db.execute(
                    "SELECT nth, id FROM cards INDEXED BY cards_nth "
                    f"WHERE nth IN (SELECT value FROM json_each(?)) AND {which}",
                    (json.dumps(batch), *values),
                )
            )
            chosen += [found[nth] for nth in batch if nth in found]
        return chosen[:k]

    def _n_active(self, stage: int | None) -> int:
        where, values = _staged("true", (), stage)
        n: int
        (n,) = self._db.execute(
            f"SELECT coalesce(sum(n), 0) FROM due WHERE {where}", values
        ).fetchone()
        return n

    def _n_seen(self) -> int:
        n: int
        (n,) = self._db.execute(
            "SELECT coalesce(max(nth), 0) FROM cards INDEXED BY cards_nth WHERE nth IS NOT NULL"
        ).fetchone()
        return n

    def _by(self, columns: tuple[str, ...], stage: int | None) -> str:
        return self._hint(ACTIVE, columns if stage is None else ("stage", *columns))

    def _hint(self, where: str, columns: tuple[str, ...], name: str = "") -> str:
        """Which index to use; in a file opened to read, whichever SQLite finds."""
        if not self._writable:
            return ""
        return f"INDEXED BY {schema.index(self._db, where, columns, name)}"

    def _stream(self, round: int, draw: str) -> random.Random:
        return random.Random(f"{self._seed} {round} {draw}")


def card(values: Any) -> Card:
    """The card that a row of `COLUMNS` holds."""
    return Card(**dict(zip(FIELDS, values, strict=True)))


def _few(n: int, limit: int, n_all: int) -> bool:
    """Whether reading all ``n`` matches beats looking for ``limit`` of them among ``n_all``."""
    return n <= AT_ONCE or n * n <= limit * n_all


def _due(round: int, stage: int | None) -> tuple[str, tuple[int, ...]]:
    return _staged(f"{ACTIVE} AND due_round <= ?", (round,), stage)


def _staged(where: str, values: tuple[int, ...], stage: int | None) -> tuple[str, tuple[int, ...]]:
    return (where, values) if stage is None else (f"{where} AND stage = ?", (*values, stage))


def _without(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    return tuple(k for k in keys if k != key)


def _distinct(rng: random.Random, n: int) -> Iterator[int]:
    """1…n in random order, by drawing again what was drawn before; meant for its first part."""
    drawn: set[int] = set()
    while len(drawn) < n:
        number = rng.randrange(1, n + 1)
        if number not in drawn:
            drawn.add(number)
            yield number
