"""The repair loop: what is not right is asked for again, with feedback and, beside it, without.

Both arms start from the same answers and may answer an item again once per epoch until it is right. An
item that is right is left alone; the newest answer replaces the one before, also when it is worse.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from evaluator.analyzers.finding import Analysis, AnalyzerError
from evaluator.repairing.attempt import Arm, Attempt, Key, attempt
from srs.prompts import repair_prompt
from srs.types import Candidate, Task, Verdict

State = dict[Key, Attempt]


class Writer(Protocol):
    """Answers each task once; with the same ids and epoch, from the same random streams."""

    def __call__(self, tasks: Sequence[Task], *, epoch: int) -> Iterable[Candidate]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """``grade``: one verdict per candidate, in order; it gets those of tasks that have tests. ``analyze``: one result
    per program, or None without analyzers. ``advance`` hears of each answer that came."""

    write: Writer
    grade: Callable[[Iterable[Candidate]], Iterator[Verdict]]
    analyze: Callable[[Sequence[str]], list[Analysis]] | None
    advance: Callable[[int], None] = lambda _: None


def examine(
    candidates: Iterable[Candidate], tasks: Mapping[str, Task], parts: Parts, *, epoch: int
) -> list[Attempt]:
    """Candidates graded, while later ones are still written, and then analysed all together."""
    kept: list[Candidate] = []

    def heard() -> Iterator[Candidate]:
        for candidate in candidates:
            parts.advance(1)
            kept.append(candidate)
            yield candidate

    if any(task.test for task in tasks.values()):
        tested = (candidate for candidate in heard() if tasks[candidate.task].test)
        verdicts = {(v.task, v.index): v for v in parts.grade(tested)}
    else:
        verdicts = {}
        collections.deque(heard(), maxlen=0)
    analyses = _analyze([candidate.code for candidate in kept], parts)
    return [
        attempt(c, verdicts.get((c.task, c.index)), analysis, epoch=epoch)
        for c, analysis in zip(kept, analyses, strict=True)
    ]


def run_epoch(
    state: State, tasks: Mapping[str, Task], parts: Parts, *, arm: Arm, epoch: int
) -> list[Attempt]:
    """The new answers to all items that are not right, by item. ``state`` is left as it is."""
    items = {_item_id(key): key for key, latest in state.items() if not latest.ok}
    asked = []
    for item, key in items.items():
        task, latest = tasks[key[0]], state[key]
        if arm == "feedback":
            question = repair_prompt(task, latest.code, latest.problems())
            task = dataclasses.replace(task, question=question)
        asked.append(dataclasses.replace(task, id=item))

    def answers() -> Iterator[Candidate]:
        for candidate in parts.write(asked, epoch=epoch):
            task, index = items[candidate.task]
            yield dataclasses.replace(candidate, task=task, index=index, round=epoch)

    if not asked:
        return []
    return sorted(examine(answers(), tasks, parts, epoch=epoch), key=lambda a: a.key)


def after(state: State, attempts: Iterable[Attempt]) -> State:
    """The state with the new answers in it. Where the prompt left no room, there is no new answer."""
    return {**state, **{a.key: a for a in attempts if not a.no_room}}


def _item_id(key: Key) -> str:
    """One id per item: the generator tells answers apart by their task's id."""
    return f"{key[0]}\x1f{key[1]}"


def _analyze(codes: Sequence[str | None], parts: Parts) -> list[Analysis | None]:
    if parts.analyze is None:
        return [None] * len(codes)
    there = [code for code in codes if code is not None]
    found = iter(parts.analyze(there) if there else ())
    nothing = AnalyzerError(tool="repair", reason="the answer holds no program")
    return [nothing if code is None else next(found) for code in codes]
