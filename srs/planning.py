"""The tasks of each round: the policy's draw, without what is frozen, and the probes that are owed."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Self

from memory.store import Store
from scheduler import frozen as freezing
from scheduler.config import SchedulerConfig
from scheduler.frozen import Frozen
from scheduler.plan import Policy, draw_plan
from srs.types import RoundPlan, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans depend on the memory as it is now, so one made before a round stays that round's plan."""

    memory: Store
    policy: Policy
    config: SchedulerConfig
    seed: int
    group_of: Mapping[str, str]
    tasks_of: Mapping[str, list[str]]

    @classmethod
    def over(
        cls,
        tasks: Iterable[Task],
        *,
        memory: Store,
        policy: Policy,
        config: SchedulerConfig,
        seed: int,
    ) -> Self:
        group_of = {task.id: task.group for task in tasks}
        tasks_of: dict[str, list[str]] = defaultdict(list)
        for task, group in group_of.items():
            tasks_of[group].append(task)
        return cls(
            memory=memory,
            policy=policy,
            config=config,
            seed=seed,
            group_of=group_of,
            tasks_of=tasks_of,
        )

    def plan(self, number: int) -> RoundPlan:
        """The plan of round ``number``, which comes right after the last recorded one."""
        return self._plan(number, self.config)

    def _plan(self, number: int, config: SchedulerConfig) -> RoundPlan:
        frozen, fresh = self._frozen()
        owed = [one.task for one in frozen if one.is_due(number)]
        return draw_plan(
            self.memory,
            number,
            self.policy,
            config,
            excluded=self._excluded([one.task for one in frozen] + fresh),
            probe=[*owed, *fresh],
        )

    def has_work(self, number: int) -> bool:
        """Whether round ``number``, next in line, has anything to practise, or a last look at what retired.

        When nothing is left to practise one more audit is held; it may bring tasks back.
        """
        least = dataclasses.replace(
            self.config, tasks_per_round=1, audit_size=min(1, self.config.audit_size)
        )
        plan = self._plan(number, least)  # the round's own plan is drawn when it begins
        if plan.practised:
            return True
        last = self.memory.last_round()
        before = [] if last is None else self.memory.reviews_in(last)
        return bool(plan.audit) and any(review.kind == "practice" for review in before)

    def forgetting(self) -> dict[int, tuple[float, int]]:
        """By lag in rounds: the mean fall of the frozen tasks' pass rate, and over how many tasks."""
        return freezing.forgetting(freezing.frozen(self.memory.probes()))

    def _frozen(self) -> tuple[list[Frozen], list[str]]:
        """Frozen tasks with a baseline, and those that the last round froze, whose baseline is due."""
        if not self.config.frozen_tasks:
            return [], []
        frozen = freezing.frozen(self.memory.probes())
        last = self.memory.last_round()
        fresh = freezing.newly_frozen(
            [] if last is None else self.memory.reviews_in(last),
            self.group_of,
            seed=self.seed,
            taken={self.group_of[one.task] for one in frozen},
            room=self.config.frozen_tasks - len(frozen),
        )
        return frozen, fresh

    def _excluded(self, tasks: Iterable[str]) -> frozenset[str]:
        return frozenset(twin for task in tasks for twin in self.tasks_of[self.group_of[task]])
