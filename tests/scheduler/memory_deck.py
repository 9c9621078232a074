"""A deck in memory: what `scheduler.plan.Deck` promises, in a few lines, to test plans and policies with."""

import random
from collections.abc import Iterable

from scheduler.plan import Policy
from srs.types import Card, DueOrder, Review


class MemoryDeck:
    def __init__(self, tasks: Iterable[str], seed: int = 0) -> None:
        self.seed = seed
        self.tasks = sorted(tasks, key=lambda task: random.Random(f"{seed}/{task}").random())
        self.lot = {task: i for i, task in enumerate(self.tasks)}
        self.cards: dict[str, Card] = {}

    def record(self, policy: Policy, reviews: Iterable[Review]) -> None:
        for review in reviews:
            self.cards[review.task] = policy.update(self.cards.get(review.task), review)

    def new_ids(self, limit: int) -> list[str]:
        return [task for task in self.tasks if task not in self.cards][:limit]

    def due(
        self, round: int, limit: int, order: DueOrder, *, stage: int | None = None
    ) -> list[Card]:
        cards = [
            card
            for task in self.tasks
            if (card := self.cards.get(task))
            and card.status == "active"
            and card.due_round <= round
            and stage in (None, card.stage)
        ]
        match order:
            case "overdue":
                cards.sort(key=lambda c: (c.due_round, c.ease, self.lot[c.task]))
            case "ease":
                cards.sort(key=lambda c: (c.ease, self.lot[c.task]))
            case "priority":
                cards.sort(key=lambda c: (-c.priority, c.due_round, self.lot[c.task]))
            case "random":
                self._random(round).shuffle(cards)
        return cards[:limit]

    def anywhere(self, round: int, limit: int) -> list[tuple[str, bool]]:
        drawn = self._random(round).sample(self.tasks, min(limit, len(self.tasks)))
        return [(task, task not in self.cards) for task in drawn]

    def retired(self, round: int, limit: int) -> list[str]:
        tasks = [t for t in self.tasks if t in self.cards and self.cards[t].status != "active"]
        return self._random(round).sample(tasks, min(limit, len(tasks)))

    def _random(self, round: int) -> random.Random:
        return random.Random(f"{self.seed}/{round}")
