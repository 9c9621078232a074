"""The effect of reviews on cards: how a policy's change is checked, written and counted."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from srs.types import Card, CardStatus, Review

Status = Literal["new"] | CardStatus
Update = Callable[[Card | None, Review], Card]

FIELDS = tuple(field.name for field in dataclasses.fields(Card))
UPDATE_CARD = f"UPDATE cards SET {', '.join(f'{name} = ?' for name in FIELDS)} WHERE id = ?"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordResult:
    """What a round changed: cards reviewed, lapsed, and newly graduated or skipped."""

    round: int
    n_reviews: int = 0
    lapses: int = 0
    graduated: int = 0
    skipped: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One review and the card on either side of it."""

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
    if before is not None and before.due_round - before.interval_rounds >= review.round:
        raise ValueError(f"{review} is not later than the card's last review: {before}")
    after = update(before, review)
    if after.task != review.task or after.due_round != review.round + after.interval_rounds:
        raise ValueError(f"the policy broke the card's invariants: {review} gave {after}")
    return Change(card_id, review, before, after)


def apply(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Write the cards, the tally and the rounds' results; a card's changes come in the order of rounds."""
    last = {c.card_id: c.after for c in changes}
    db.executemany(
        UPDATE_CARD, [(*(getattr(card, f) for f in FIELDS), i) for i, card in last.items()]
    )
    moved: Counter[tuple[Status, int]] = Counter()
    for c in changes:
        moved[_place(c.after)] += 1
        moved[_place(c.before)] -= 1
    tally(db, moved)
    db.executemany(
        "INSERT INTO rounds VALUES (?, 1, ?, ?, ?) ON CONFLICT (round) DO UPDATE SET "
        "n_reviews = n_reviews + 1, lapses = lapses + excluded.lapses, "
        "graduated = graduated + excluded.graduated, skipped = skipped + excluded.skipped",
        [(c.review.round, c.lapses, c.entered("graduated"), c.entered("skipped")) for c in changes],
    )


def tally(db: sqlite3.Connection, moved: Counter[tuple[Status, int]]) -> None:
    """Add to the counts of cards by (status, interval)."""
    db.executemany(
        "INSERT INTO tally VALUES (?, ?, ?) "
        "ON CONFLICT (status, interval_rounds) DO UPDATE SET n = n + excluded.n",
        [(status, interval, n) for (status, interval), n in moved.items()],
    )


def _place(card: Card | None) -> tuple[Status, int]:
    return ("new", 0) if card is None else (card.status, card.interval_rounds)
