"""A rollout: candidates stream out of the generator into the grader while later ones are written."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from evaluator.grade import grade_batch
from evaluator.reference import Expectation
from sandbox.runner import Limits, Sandbox
from srs.generate import Generator, Policy, Request, Sampling
from srs.streams import derive_seed
from srs.types import Candidate, Review, ReviewKind, RoundPlan, Task, Verdict

Graded = tuple[Candidate, Verdict]
REPEATABLE = ("passed", "failed", "error")
Known = dict[tuple[str, str], Verdict]
"""(task, code) → verdict: a program that was graded need not be graded again."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Graded candidates in the order of the tasks, each task's by index.

    ``grade_s`` is only the time that grading took beyond generation, which it overlaps.
    """

    graded: tuple[Graded, ...]
    generate_s: float = 0.0
    grade_s: float = 0.0

    @property
    def verdicts(self) -> list[Verdict]:
        return [verdict for _, verdict in self.graded]

    def by_task(self) -> dict[str, list[Graded]]:
        groups: dict[str, list[Graded]] = {}
        for candidate, verdict in self.graded:
            groups.setdefault(candidate.task, []).append((candidate, verdict))
        return groups

    def of(self, tasks: Iterable[str]) -> Rollout:
        """The candidates of these tasks."""
        wanted = frozenset(tasks)
        kept = tuple((c, v) for c, v in self.graded if c.task in wanted)
        return dataclasses.replace(self, graded=kept)

    def reviews(self, plan: RoundPlan) -> list[Review]:
        """One review per task of the plan, with why the plan has it."""
        kinds: dict[str, ReviewKind] = dict.fromkeys(plan.audit, "audit")
        kinds |= dict.fromkeys(plan.probe, "probe")
        return [
            Review(
                task=task,
                round=plan.round,
                n_passed=n_passed,
                n_graded=n_graded,
                kind=kinds.get(task, "practice"),
            )
            for task, (n_passed, n_graded) in self.passed_and_graded().items()
        ]

    def passed_and_graded(self) -> dict[str, tuple[int, int]]:
        return {
            task: (sum(verdict.passed for _, verdict in graded), len(graded))
            for task, graded in self.by_task().items()
        }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Roller:
    """Rolls policies out on tasks. ``seed`` is the run's; each request derives its own from it."""

    generator: Generator
    sandbox: Sandbox
    expectations: Mapping[str, Expectation]
    limits: Limits
    seed: int

    def roll_out(
        self,
        tasks: Sequence[Task],
        *,
        policy: Policy,
        sampling: Sampling,
        round: int,
        phase: str,
        advance: Callable[[int], None],
        known: Known | None = None,
    ) -> Rollout:
        """``len(tasks) * sampling.n`` graded candidates; ``advance`` hears of each verdict.

        Equal programs for a task are graded once. ``known`` brings verdicts from earlier calls and takes
        this one's, but not those that depend on how busy the machine is.

        Raises SandboxError when the judge is broken, UserError when the model can't be used.
        """
        if not tasks:
            return Rollout(graded=())
        requests = [
            Request(task=task, seed=derive_seed(self.seed, round, phase, task.id)) for task in tasks
        ]
        known = {} if known is None else known
        candidates: list[Candidate] = []
        verdicts: Known = {}
        start = last_candidate = time.monotonic()

        def distinct() -> Iterator[Candidate]:
            nonlocal last_candidate
            sent: set[tuple[str, str]] = set()
            for candidate in self.generator.generate(
                requests, policy=policy, sampling=sampling, round=round
            ):
                candidates.append(candidate)
                last_candidate = time.monotonic()
                key = _key(candidate)
                if key in sent or key in known:
                    advance(1)
                else:
                    sent.add(key)
                    graded.append(candidate)
                    yield candidate

        graded: list[Candidate] = []
        judged = grade_batch(
            tasks, distinct(), self.sandbox, expectations=self.expectations, limits=self.limits
        )
        for n, verdict in enumerate(judged):
            verdicts[_key(graded[n])] = verdict
            if verdict.outcome in REPEATABLE:
                known[_key(graded[n])] = verdict
            advance(1)

        position = {task.id: i for i, task in enumerate(tasks)}
        candidates.sort(key=lambda candidate: (position[candidate.task], candidate.index))
        everything = {**known, **verdicts}
        return Rollout(
            graded=tuple((c, _verdict_of(c, everything[_key(c)])) for c in candidates),
            generate_s=last_candidate - start,
            grade_s=time.monotonic() - last_candidate,
        )


def _key(candidate: Candidate) -> tuple[str, str]:
    return candidate.task, candidate.code or ""


def _verdict_of(candidate: Candidate, verdict: Verdict) -> Verdict:
    return dataclasses.replace(verdict, round=candidate.round, index=candidate.index)
