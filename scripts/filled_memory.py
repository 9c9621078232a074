"""Makes a memory file of any size as a run would have left it, by SQL, in seconds to minutes.

Its cards are the replay of its log under sm2; only which task had which results is made up.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from memory.database import committed, connect
from memory.ledger import CHANGING, VALUES
from memory.store import Store
from scheduler import sm2
from srs.types import Card, Review

N_GRADED = 5
REVIEWED_SHARE = 0.3
LAST_ROUND = 300
"""The histories end here."""
LONGEST_HISTORY_ROUNDS = 20
BUILD_CACHE_KIB = 3 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """A first review in round 0 and more, each when it was due, and the card that sm2 makes of them."""

    reviews: tuple[tuple[Review, Card], ...]

    @classmethod
    def of(cls, passes: Sequence[int]) -> History:
        reviews: list[tuple[Review, Card]] = []
        card: Card | None = None
        for n_passed in passes:
            round = 0 if card is None else card.due_round
            review = Review(task="", round=round, n_passed=n_passed, n_graded=N_GRADED)
            card = sm2.update(card, review)
            reviews.append((review, card))
        return cls(tuple(reviews))

    def rows(self, number: int) -> Iterator[tuple[int, ...]]:
        """(history, round, n_passed, lapses, graduated, skipped) of each review."""
        before: Card | None = None
        for review, card in self.reviews:
            was, lapses = ("new", 0) if before is None else (before.status, before.lapses)
            yield (
                number,
                review.round,
                review.n_passed,
                card.lapses - lapses,
                card.status != was and card.status == "graduated",
                card.status != was and card.status == "skipped",
            )
            before = card


def histories() -> list[History]:
    """Every one of up to three reviews, and five failures in a row, none longer than 20 rounds."""
    passes = [p for n in (1, 2, 3) for p in itertools.product(range(N_GRADED + 1), repeat=n)]
    found = [History.of(p) for p in (*passes, (0,) * sm2.SKIP_ZEROS)]
    return [h for h in found if h.reviews[-1][0].round <= LONGEST_HISTORY_ROUNDS]


def build(path: Path, n_tasks: int) -> None:
    """A memory of ``n_tasks``, filled through its own schema by SQL, in the order of a real one's rows."""
    Store.open(path, seed=0).close()
    with closing(connect(path)) as db:
        db.execute(f"PRAGMA cache_size = -{BUILD_CACHE_KIB}")
        db.execute("PRAGMA synchronous = OFF")
        db.execute(
            "CREATE TEMP TABLE history (history, round, n_passed, lapses, graduated, skipped)"
        )
        columns = ", ".join(CHANGING)
        db.execute(f"CREATE TEMP TABLE final (history INTEGER PRIMARY KEY, {columns})")
        made = histories()
        for number, history in enumerate(made):
            db.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)", history.rows(number))
            values = (number, *VALUES(history.reviews[-1][1]))
            db.execute(f"INSERT INTO final VALUES ({', '.join('?' * len(values))})", values)
        db.execute("CREATE INDEX temp.history_number ON history (history)")
        seen = int(n_tasks * REVIEWED_SHARE)
        starts = LAST_ROUND - LONGEST_HISTORY_ROUNDS
        # A card's first round and its history follow from its id; task names don't follow the ids.
        db.execute(
            "CREATE TEMP VIEW seen AS WITH RECURSIVE ids (id) AS (SELECT 1 WHERE "
            f"{seen} > 0 UNION ALL SELECT id + 1 FROM ids WHERE id < {seen}) "
            f"SELECT id, 1 + (id - 1) * {starts} / {max(seen, 1)} AS start, "
            f"(id * 2654435761 % 4294967296 * {len(made)}) >> 32 AS history FROM ids"
        )
        changing = [name for name in CHANGING if name != "due_round"]
        name = f"printf('Task_%08d', id * 7368787 % {_prime(n_tasks)})"
        with committed(db):
            db.execute(
                f"INSERT INTO cards (id, task, lot, nth, due_round, {', '.join(changing)}) "
                f"SELECT id, {name}, id, id, start + due_round, {', '.join(changing)} "
                "FROM seen CROSS JOIN final USING (history) ORDER BY id"
            )
            db.execute(
                f"INSERT INTO cards (id, task, lot) WITH RECURSIVE ids (id) AS (SELECT {seen + 1} UNION "
                f"ALL SELECT id + 1 FROM ids WHERE id < {n_tasks}) SELECT id, {name}, id FROM ids"
            )
            db.execute(
                "INSERT INTO reviews (round, card, n_passed, n_graded) "
                f"SELECT start + round, id, n_passed, {N_GRADED} "
                "FROM seen CROSS JOIN history USING (history) ORDER BY 1, 2"
            )
            db.execute(
                "INSERT INTO rounds (round, n_reviews, lapses, graduated, skipped) "
                "SELECT start + round, count(*), sum(lapses), sum(graduated), sum(skipped) "
                "FROM seen CROSS JOIN history USING (history) GROUP BY 1"
            )
            db.execute(
                "INSERT INTO tally SELECT status, coalesce(interval_rounds, 0), count(*) FROM cards "
                "GROUP BY 1, 2"
            )
            db.execute(
                "INSERT INTO due SELECT stage, due_round, count(*) FROM cards "
                "WHERE status = 'active' GROUP BY 1, 2"
            )


def _prime(n: int) -> int:
    """A prime > n, so that id * c mod it is a different number for each id."""
    return next(p for p in itertools.count(n + 1) if all(p % d for d in range(2, int(p**0.5) + 1)))
