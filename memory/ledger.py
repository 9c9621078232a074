"""The effect of reviews on cards: how a policy's change is checked, written and counted."""

from __future__ import annotations

import dataclasses
import operator
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from srs.types import Card, CardStatus, Review

Status = Literal["new"] | CardStatus
Update = Callable[[Card | None, Review], Card]

FIELDS = tuple(field.name for field in dataclasses.fields(Card))
CHANGING = tuple(name for name in FIELDS if name != "task")
"""Setting ``task`` as well would rewrite its entry in the index over all tasks."""
VALUES = operator.attrgetter(*CHANGING)
SET = "UPDATE cards SET " + ", ".join(f"{name} = ?" for name in CHANGING)
ADD_TO_ROUND = (
    "INSERT INTO rounds (round, n_reviews, lapses, graduated, skipped, n_audits, n_probes) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (round) DO UPDATE SET "
    "n_reviews = n_reviews + excluded.n_reviews, lapses = lapses + excluded.lapses, "
    "graduated = graduated + excluded.graduated, skipped = skipped + excluded.skipped, "
    "n_audits = n_audits + excluded.n_audits, n_probes = n_probes + excluded.n_probes"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordResult:
    """What a round changed: cards reviewed, lapsed, and newly graduated or skipped.

    ``n_audits`` of the ``n_reviews`` were audits. ``n_probes`` came on top and moved no card.
    """

    round: int
    n_reviews: int = 0
    lapses: int = 0
    graduated: int = 0
    skipped: int = 0
    n_audits: int = 0
    n_probes: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One review and the card on either side of it. A probe's card is the same on both."""

    card_id: int
    review: Review
    before: Card | None
    after: Card

    def entered(self, status: CardStatus) -> bool:
        return self.after.status == status and (self.before is None or self.before.status != status)

    @property
    def lapses(self) -> int:
        return self.after.lapses - (0 if self.before is None else self.before.lapses)


def change(card_id: int, before: Card | None, review: Review, update: Update) -> Change:
    """Ask the policy for the new card. Raises ValueError when a replay of the log could not give it."""
    if review.kind == "probe":
        if before is None:
            raise ValueError(f"a probe of a task without a card: {review}")
        return Change(card_id, review, before, before)
    if before is not None and before.due_round - before.interval_rounds >= review.round:
        raise ValueError(f"{review} is not later than the card's last review: {before}")
    after = update(before, review)
    if after.task != review.task or after.due_round != review.round + after.interval_rounds:
        raise ValueError(f"the policy broke the card's invariants: {review} gave {after}")
    return Change(card_id, review, before, after)


def apply(db: sqlite3.Connection, changes: Sequence[Change], *, replay: bool = False) -> None:
    """Write the cards, the tallies and the rounds' results; a card's changes come in order of rounds.

    Cards that had their first review get the next numbers (`cards.nth`); in a replay they keep theirs.
    """
    moves = [c for c in changes if c.review.kind != "probe"]
    first = [] if replay else [c for c in moves if c.before is None]
    last = {c.card_id: c.after for c in moves if replay or c.before is not None}
    (nth,) = db.execute("SELECT max(nth) FROM cards WHERE nth IS NOT NULL").fetchone()
    db.executemany(
        f"{SET}, nth = ? WHERE id = ?",
        [(*VALUES(c.after), n, c.card_id) for n, c in enumerate(first, start=(nth or 0) + 1)],
    )
    db.executemany(
        f"{SET} WHERE id = ?", [(*VALUES(card), card_id) for card_id, card in last.items()]
    )
    standing: Counter[tuple[Status, int]] = Counter()
    due: Counter[tuple[int, int]] = Counter()
    for c in moves:
        standing[c.after.status, c.after.interval_rounds] += 1
        if c.after.status == "active":
            due[c.after.stage, c.after.due_round] += 1
        if c.before is None:
            standing["new", 0] -= 1
        else:
            standing[c.before.status, c.before.interval_rounds] -= 1
            if c.before.status == "active":
                due[c.before.stage, c.before.due_round] -= 1
    tally(db, standing)
    db.executemany(
        "INSERT INTO due VALUES (?, ?, ?) ON CONFLICT (stage, due_round) DO UPDATE SET n = n + excluded.n",
        [(*place, n) for place, n in due.items() if n],
    )
    db.executemany(ADD_TO_ROUND, _by_round(changes))


def tally(db: sqlite3.Connection, moved: Counter[tuple[Status, int]]) -> None:
    """Add to the counts of cards by (status, interval)."""
    db.executemany(
        "INSERT INTO tally VALUES (?, ?, ?) "
        "ON CONFLICT (status, interval_rounds) DO UPDATE SET n = n + excluded.n",
        [(status, interval, n) for (status, interval), n in moved.items() if n],
    )


def _by_round(changes: Iterable[Change]) -> list[tuple[Any, ...]]:
    rows: dict[int, list[int]] = {}
    for c in changes:
        row = rows.setdefault(c.review.round, [0] * 6)
        if c.review.kind == "probe":
            row[5] += 1
            continue
        row[0] += 1
        row[1] += c.lapses
        row[2] += c.entered("graduated")
        row[3] += c.entered("skipped")
        row[4] += c.review.kind == "audit"
    return [(round, *row) for round, row in rows.items()]
