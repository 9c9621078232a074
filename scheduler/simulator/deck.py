"""The cards of a simulation: what the memory store draws, out of arrays instead of a file."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.learner import Integers
from srs.types import Card, CardStatus, DueOrder, Review

NEW: Final = 0
CODES: Final[dict[CardStatus, int]] = {"active": 1, "graduated": 2, "skipped": 3}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many tasks stand where."""

    new: int
    active: int
    graduated: int
    skipped: int


class ArrayDeck:
    """A `scheduler.plan.Deck` in memory.

    ``new_ids``, and ``due`` in the orders ``overdue``, ``ease`` and ``priority``, choose exactly what
    `memory.store.Store` chooses after the same reviews. Random draws (``due`` in order ``random``,
    ``anywhere``, ``retired``) have the same distribution, uniform without replacement, and other members.

    Tasks are numbered by lot, so the order of the numbers is the order that breaks ties.
    """

    def __init__(self, tasks: Sequence[str], seed: int) -> None:
        by_lot = sorted((_lot(seed, task), task) for task in tasks)
        self._seed = seed
        self.tasks: list[str] = [task for _, task in by_lot]
        self._number = {task: i for i, task in enumerate(self.tasks)}
        n = len(self.tasks)
        self._cards: list[Card | None] = [None] * n
        self._status = np.zeros(n, dtype=np.int8)
        self._due_round = np.zeros(n, dtype=np.int64)
        self._stage = np.zeros(n, dtype=np.int64)
        self._ease = np.zeros(n)
        self._urgency = np.zeros(n)  # minus the priority: what comes first is smallest in every key

    def numbers(self, tasks: Iterable[str]) -> Integers:
        """The tasks' numbers. Raises KeyError for an unknown one."""
        return np.array([self._number[task] for task in tasks], dtype=np.int64)

    def card(self, task: str) -> Card | None:
        """The task's card; None while it is new."""
        return self._cards[self._number[task]]

    def counts(self) -> Counts:
        new, active, graduated, skipped = np.bincount(self._status, minlength=4).tolist()
        return Counts(new=new, active=active, graduated=graduated, skipped=skipped)

    def seen(self) -> Integers:
        """The numbers of all tasks that have a review."""
        return np.flatnonzero(self._status)

    def record(
        self, reviews: Iterable[Review], update: Callable[[Card | None, Review], Card]
    ) -> int:
        """Bring the cards up to date after one round; a probe changes none. Returns the lapses."""
        changed: dict[int, Card] = {}
        lapses = 0
        for review in reviews:
            if review.kind == "probe":
                continue
            number = self._number[review.task]
            before = self._cards[number]
            after = changed[number] = update(before, review)
            lapses += after.lapses - (0 if before is None else before.lapses)
        numbers = np.fromiter(changed, dtype=np.int64, count=len(changed))
        for number, card in changed.items():
            self._cards[number] = card
        self._status[numbers] = [CODES[card.status] for card in changed.values()]
        self._due_round[numbers] = [card.due_round for card in changed.values()]
        self._stage[numbers] = [card.stage for card in changed.values()]
        self._ease[numbers] = [card.ease for card in changed.values()]
        self._urgency[numbers] = [-card.priority for card in changed.values()]
        return lapses

    def new_ids(self, limit: int) -> list[str]:
        """See `scheduler.plan.Deck`."""
        return [self.tasks[i] for i in np.flatnonzero(self._status == NEW)[:limit].tolist()]

    def due(
        self, round: int, limit: int, order: DueOrder, *, stage: int | None = None
    ) -> list[Card]:
        """See `scheduler.plan.Deck`."""
        mask = self._status == CODES["active"]
        mask &= self._due_round <= round
        if stage is not None:
            mask &= self._stage == stage
        numbers = np.flatnonzero(mask)
        match order:
            case "overdue":
                drawn = first(numbers, (self._due_round, self._ease), limit)
            case "ease":
                drawn = first(numbers, (self._ease,), limit)
            case "priority":
                drawn = first(numbers, (self._urgency, self._due_round), limit)
            case "random":
                # The stage is part of the seed, or the stages' draws would be tied to each other.
                drawn = self._some(numbers, limit, round, 0 if stage is None else stage + 1)
        return [card for i in drawn.tolist() if (card := self._cards[i]) is not None]

    def anywhere(self, round: int, limit: int) -> list[tuple[str, bool]]:
        """See `scheduler.plan.Deck`."""
        drawn = self._some(np.arange(len(self.tasks)), limit, round, -1)
        return [(self.tasks[i], bool(self._status[i] == NEW)) for i in drawn.tolist()]

    def retired(self, round: int, limit: int) -> list[str]:
        """See `scheduler.plan.Deck`."""
        drawn = self._some(np.flatnonzero(self._status > CODES["active"]), limit, round, -2)
        return [self.tasks[i] for i in drawn.tolist()]

    def _some(self, numbers: Integers, limit: int, round: int, salt: int) -> Integers:
        """At most ``limit`` of the numbers, uniformly without replacement, in random order."""
        rng = np.random.default_rng([self._seed, round, salt + 2])
        places = rng.choice(len(numbers), min(limit, len(numbers)), replace=False)
        return numbers[places]


def first(numbers: Integers, keys: Sequence[NDArray[Any]], limit: int) -> Integers:
    """The ``limit`` of the ascending ``numbers`` with the smallest keys, in order; ties by number.

    A later key decides where the earlier ones are equal. Only what is chosen gets sorted: a key's
    ``limit``-th value tells who is in, who is out, and whom the next key must decide.
    """
    if limit <= 0:
        return numbers[:0]
    if len(numbers) > limit:
        chosen, rest, places = [], numbers, limit
        for key in keys:
            if len(rest) == places:
                break
            values = key[rest]
            last = np.partition(values, places - 1)[places - 1]
            chosen.append(rest[values < last])
            places -= len(chosen[-1])
            rest = rest[values == last]
        numbers = np.concatenate([*chosen, rest[:places]])
    order = np.lexsort((numbers, *(key[numbers] for key in reversed(keys))))
    in_order: Integers = numbers[order]
    return in_order


def _lot(seed: int, task: str) -> int:
    """The place of a task in the draw of new ones: the same hash as the memory store's."""
    digest = hashlib.blake2b(f"{seed}\0{task}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
