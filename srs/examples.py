"""What a graded candidate teaches: examples for supervised rounds, and preference pairs for DPO.

Pure. Both sides of a pair, and every example, are rendered by `srs.prompts.answer`, so that what the
model learns is the program and not the chatter around it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Final, Literal

from srs.fingerprint import fingerprint
from srs.prompts import answer
from srs.types import Candidate, Outcome, PreferencePair, SftExample, Source, Task, Verdict

Target = Literal["self", "reference", "mix"]

REJECTED: Final[dict[Outcome, int]] = {
    "failed": 0,
    "error": 1,
    "memory": 2,
    "output_limit": 2,
    "tampered": 3,
}
"""Outcomes that a rejected answer may have, the most instructive first.

A timeout is left out: the same program may pass on an idle machine, and a wrong label costs more than
a pair. ``no_code`` has no program to render. Sandbox faults never become verdicts.
"""


def sft_examples(
    tasks: Mapping[str, Task],
    graded: Iterable[tuple[Candidate, Verdict]],
    *,
    target: Target,
    max_per_task: int,
    chat: bool,
) -> list[SftExample]:
    """One round's examples, tasks in order of first appearance; empty when nothing can be learned.

    ``self``: the task's own passing programs, distinct, shortest first, at most ``max_per_task``.
    ``reference``: the task's reference solution. ``mix``: own, else the reference. Weights make every
    task count the same and average 1. Raises ValueError when a verdict is not its candidate's, and
    KeyError for a task that is not in ``tasks``.
    """
    first: dict[str, Candidate] = {}
    passing: dict[str, set[str]] = {}
    for candidate, verdict in graded:
        _check_same(candidate, verdict)
        first.setdefault(candidate.task, candidate)
        if verdict.passed and candidate.code is not None:
            passing.setdefault(candidate.task, set()).add(candidate.code)
    chosen: list[tuple[Candidate, Source, list[str]]] = []
    for task, candidate in first.items():
        codes = [] if target == "reference" else _distinct(passing.get(task, ()))[:max_per_task]
        source: Source = "self" if codes else "reference"
        reference = tasks[task].reference
        if not codes and target != "self" and reference is not None:
            codes = [reference]
        if codes:
            chosen.append((candidate, source, codes))
    n_examples = sum(len(codes) for _, _, codes in chosen)
    return [
        SftExample(
            task=candidate.task,
            round=candidate.round,
            prompt=candidate.prompt,
            completion=answer(code, chat=chat),
            weight=n_examples / (len(chosen) * len(codes)),
            source=source,
        )
        for candidate, source, codes in chosen
        for code in codes
    ]


def step_batches(
    sizes: Sequence[int], *, tokens: int, steps: int, epochs: int, batch_size: int, seed: int
) -> list[list[int]]:
    """The examples of each optimiser step, by index, under a round's budget of tokens or steps.

    ``sizes``: completion tokens of each example. Examples come in a seeded order, all of them before
    any comes again. ``tokens``: stop where their sum is nearest to it (never off by more than half an
    example); 0 = each ``epochs`` times. ``steps``: exactly so many; 0 = as few as ``batch_size`` allows.
    Steps differ by one example at most and none is empty: where the budget pays for fewer examples than
    steps, it is exceeded. Raises ValueError when there is no example or one without a token.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"a budget needs examples of one token or more, got {list(sizes)}")
    at_least = max(steps, 0 if tokens else epochs * len(sizes))
    drawn: list[int] = []
    spent = 0
    for index in _laps(len(sizes), seed):
        nearer = spent + sizes[index] / 2 <= tokens
        if drawn and not nearer and len(drawn) >= at_least:
            break
        drawn.append(index)
        spent += sizes[index]
    n_steps = steps or math.ceil(len(drawn) / batch_size)
    ends = [len(drawn) * i // n_steps for i in range(n_steps + 1)]
    return [drawn[start:end] for start, end in itertools.pairwise(ends)]


def _laps(n: int, seed: int) -> Iterator[int]:
    """0 … n-1 in a seeded order, then all again in another, without end."""
    stream = Random(seed)
    while True:
        yield from stream.sample(range(n), n)


def preference_pairs(
    history: Iterable[tuple[Candidate, Verdict]],
    *,
    round: int,
    max_per_task: int,
    max_age_rounds: int,
    max_pairs: int,
    seed: int,
    chat: bool,
) -> list[PreferencePair]:
    """Pairs of a passing and a failing program for the same prompt, by task; 0 = no bound.

    Candidates more than ``max_age_rounds`` older than ``round`` are ignored, truncated ones always. A
    program that both passed and failed (a flaky task) is on neither side. Rejected programs: those that
    failed outright first, then by most tests passed. ``max_pairs`` keeps the best pair of as many tasks
    as possible, drawn by ``seed``. The order of ``history``, read once, doesn't matter.
    """
    sides: dict[tuple[str, str], _Sides] = {}
    for candidate, verdict in history:
        _check_same(candidate, verdict)
        too_old = max_age_rounds > 0 and round - candidate.round > max_age_rounds
        if candidate.code is None or candidate.truncated or too_old:
            continue
        group = sides.setdefault((candidate.task, candidate.prompt), _Sides())
        answered = _Answer.of(candidate, verdict)
        if verdict.passed:
            group.chosen.append(answered)
        elif verdict.outcome in REJECTED:
            group.rejected.append(answered)

    by_task: dict[str, list[PreferencePair]] = {}
    for task, prompt in sorted(sides):
        group = sides[task, prompt]
        if group.chosen and group.rejected:
            pairs = by_task.setdefault(task, [])
            room = max_per_task - len(pairs) if max_per_task > 0 else None
            best = itertools.islice(group.pairs(), room)
            pairs.extend(_pair(task, prompt, c, r, chat=chat) for c, r in best)
    ranked = [(rank, pair) for pairs in by_task.values() for rank, pair in enumerate(pairs)]
    if 0 < max_pairs < len(ranked):
        kept = sorted(ranked, key=lambda item: (item[0], _draw(seed, item[1])))[:max_pairs]
        ranked = sorted(kept, key=lambda item: (item[1].task, item[0]))
    return [pair for _, pair in ranked]


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    """The part of a graded candidate that a pair needs; dropping the rest keeps long histories small."""

    code: str
    round: int
    policy: str
    outcome: Outcome
    tests_passed: float

    @classmethod
    def of(cls, candidate: Candidate, verdict: Verdict) -> _Answer:
        share = verdict.n_passed / verdict.n_collected if verdict.n_collected else 0.0
        return cls(candidate.code or "", candidate.round, candidate.policy, verdict.outcome, share)

    def as_chosen(self) -> tuple[int, int, str, str]:
        """Newest first: it is the most likely under the policy that DPO starts from."""
        return -self.round, len(self.code), self.code, self.policy

    def as_rejected(self) -> tuple[int, float, int, int, str, str]:
        return REJECTED[self.outcome], -self.tests_passed, -self.round, len(self.code), self.code, self.policy  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class _Sides:
    chosen: list[_Answer] = dataclasses.field(default_factory=list)
    rejected: list[_Answer] = dataclasses.field(default_factory=list)

    def pairs(self) -> Iterator[tuple[_Answer, _Answer]]:
        """All pairs of distinct programs, best first, each program reused as late as possible."""
        chosen = _first_of_each(sorted(self.chosen, key=_Answer.as_chosen))
        rejected = _first_of_each(sorted(self.rejected, key=_Answer.as_rejected))
        for flaky in chosen.keys() & rejected.keys():
            del chosen[flaky], rejected[flaky]
        return _diagonals(list(chosen.values()), list(rejected.values()))


def _diagonals(
    chosen: Sequence[_Answer], rejected: Sequence[_Answer]
) -> Iterator[tuple[_Answer, _Answer]]:
    if not (chosen and rejected):
        return
    lap = math.lcm(len(chosen), len(rejected))
    for i in range(len(chosen) * len(rejected)):
        # After a lap both indices are back where they began; shifting one starts a new diagonal.
        yield chosen[(i + i // lap) % len(chosen)], rejected[i % len(rejected)]


def _first_of_each(answers: Iterable[_Answer]) -> dict[str, _Answer]:
    by_text: dict[str, _Answer] = {}
    for one in answers:
        by_text.setdefault(one.code, one)  # parsing is the expensive part: once per text
    by_program: dict[str, _Answer] = {}
    for one in by_text.values():
        by_program.setdefault(fingerprint(one.code), one)
    return by_program


def _distinct(codes: Iterable[str]) -> list[str]:
    by_program: dict[str, str] = {}
    for code in sorted(codes, key=lambda code: (len(code), code)):
        by_program.setdefault(fingerprint(code), code)
    return list(by_program.values())


def _pair(
    task: str, prompt: str, chosen: _Answer, rejected: _Answer, *, chat: bool
) -> PreferencePair:
    return PreferencePair(
        task=task,
        prompt=prompt,
        chosen=answer(chosen.code, chat=chat),
        rejected=answer(rejected.code, chat=chat),
        chosen_round=chosen.round,
        rejected_round=rejected.round,
        chosen_policy=chosen.policy,
        rejected_policy=rejected.policy,
        rejected_outcome=rejected.outcome,
        rejected_tests_passed=rejected.tests_passed,
    )


def _draw(seed: int, pair: PreferencePair) -> bytes:
    text = f"{seed}\0{pair.task}\0{pair.chosen}\0{pair.rejected}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _check_same(candidate: Candidate, verdict: Verdict) -> None:
    ours = (candidate.task, candidate.round, candidate.index)
    theirs = (verdict.task, verdict.round, verdict.index)
    if ours != theirs:
        raise ValueError(f"candidate {ours} was given the verdict of {theirs}")
