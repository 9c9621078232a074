"""Frozen tasks: set aside when they were just mastered, to see how fast mastery goes without review.

A share of the groups is marked by hash. A task of a marked group is practised like any other until a
round in which all of its candidates pass. From then on it, and every task of its group, is left out of
practice and audits. The next round draws a second, independent baseline: a task picked for passing 5 of
5 regresses to its mean without having forgotten anything. Later rounds probe it again, at growing lags.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from srs.types import Review

LAGS: Final = (1, 2, 4, 8)
"""Rounds after the baseline."""
MARKED_SHARE: Final = 0.1
"""Of the groups: few enough that every policy practises nearly what it would have practised anyhow."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """One frozen task and its probes, oldest first; the first one is its baseline."""

    task: str
    probes: tuple[Review, ...]

    @property
    def baseline(self) -> Review:
        return self.probes[0]

    def is_due(self, round: int) -> bool:
        """Whether ``round`` owes it a probe. A lag whose round never ran is measured at the next one."""
        owed = [lag for lag in LAGS if self.baseline.round + lag <= round]
        return bool(owed) and owed[-1] not in {self._lag(probe) for probe in self.probes[1:]}

    def lagged(self) -> list[tuple[int, Review]]:
        """(lag, probe): each later probe under the largest lag that had passed by then."""
        return [(self._lag(probe), probe) for probe in self.probes[1:]]

    def _lag(self, probe: Review) -> int:
        return max(lag for lag in LAGS if self.baseline.round + lag <= probe.round)


def is_marked(group: str, seed: int) -> bool:
    """Whether tasks of this group may be frozen: the same groups under every policy."""
    digest = hashlib.blake2b(f"{seed}\0frozen\0{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < MARKED_SHARE * 2**64


def frozen(probes: Iterable[Review]) -> list[Frozen]:
    """The frozen tasks that a log's probes give, oldest first. ``probes`` come by round."""
    by_task: dict[str, list[Review]] = defaultdict(list)
    for probe in probes:
        by_task[probe.task].append(probe)
    return [Frozen(task=task, probes=tuple(found)) for task, found in by_task.items()]


def newly_frozen(
    last_round: Iterable[Review],
    group_of: Mapping[str, str],
    *,
    seed: int,
    taken: Collection[str],
    room: int,
) -> list[str]:
    """At most ``room`` tasks that the last round mastered, one for a marked group not yet ``taken``."""
    found: dict[str, str] = {}
    for review in last_round:
        group = group_of[review.task]
        if (
            review.kind == "practice"
            and review.n_passed == review.n_graded
            and group not in taken
            and is_marked(group, seed)
        ):
            found.setdefault(group, review.task)
    return list(found.values())[:room]


def forgetting(tasks: Iterable[Frozen]) -> dict[int, tuple[float, int]]:
    """By lag: the mean fall of the pass rate since the baseline (positive = forgotten), over n tasks."""
    falls: dict[int, list[float]] = defaultdict(list)
    for task in tasks:
        for lag, probe in task.lagged():
            falls[lag].append(task.baseline.pass_rate - probe.pass_rate)
    return {lag: (sum(values) / len(values), len(values)) for lag, values in sorted(falls.items())}
