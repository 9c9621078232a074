"""A whole round: generation streaming into grading, then training."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

from evaluator.reference import verify
from sandbox.pool import open_sandbox
from scripts.gpu_bench.model import lengthened
from scripts.gpu_bench.parts import WARM_UP, Bench, answers
from srs.examples import sft_examples
from srs.finetune import open_tuner
from srs.generate import Generator, Policy, Request, Sampling, open_generator
from srs.prompts import answer
from srs.rollout import Roller
from srs.types import Candidate


def whole_round(bench: Bench) -> dict[str, Any]:
    """A round: generation streaming into grading, then LoRA on the result.

    A random model writes no programs, so the grader gets each task's reference, made different by a
    comment, in the place of what was generated: as many programs, and ones that have to be run.
    """
    config = bench.config
    tasks = list(bench.tasks[: bench.round_tasks])
    with open_sandbox(config.sandbox) as sandbox:
        expectations, _ = verify(tasks, sandbox, None, limits=config.sandbox.limits)
        tasks = [task for task in tasks if task.id in expectations]
        long = {t.id: t for t in lengthened(tasks, bench.prompt_tokens)}
        with (
            open_generator(config, bench.folder / "generate.log") as ours,
            open_tuner(config, bench.folder / "finetune.log") as tuner,
        ):
            tuner.ready()
            ours.ready()
            answers(ours, bench, bench.batch(1, WARM_UP))
            roller = Roller(
                generator=_WritesReferences(ours),
                sandbox=sandbox,
                expectations=expectations,
                limits=config.sandbox.limits,
                seed=0,
            )
            start = time.perf_counter()
            rollout = roller.roll_out(
                list(long.values()),
                policy=Policy(name="bench", adapter=bench.adapter),
                sampling=bench.sampling,
                round=1,
                phase="bench",
                advance=lambda _: None,
            )
            rolled_out = time.perf_counter()
            chosen = sft_examples(
                long,
                rollout.graded,
                target="mix",
                max_per_task=1,
                chat=ours.chat,
            )
            result = tuner.sft(chosen, start=bench.adapter, out=bench.folder / "round", seed=0)
            end = time.perf_counter()
    n_tokens = sum(c.n_tokens for c, _ in rollout.graded)
    passed = sum(v.passed for v in rollout.verdicts)
    return {
        "tasks": len(tasks),
        "n": bench.sampling.n,
        "max_tokens": bench.sampling.max_tokens,
        "candidates": len(rollout.graded),
        "passed": passed,
        "seconds": end - start,
        "rollout_s": rolled_out - start,
        "generate_s": rollout.generate_s,
        "grade_beyond_s": rollout.grade_s,
        "train_s": end - rolled_out,
        "tokens": n_tokens,
        "tokens_per_s": n_tokens / rollout.generate_s,
        "trained_tokens": result.n_tokens,
        "sandbox": sandbox.name,
        "cores": len(os.sched_getaffinity(0)),
    }


class _WritesReferences:
    """A generator whose candidates' programs are replaced; the work of generating them is done."""

    def __init__(self, inner: Generator) -> None:
        self._inner = inner

    engine = property(lambda self: self._inner.engine)
    chat = property(lambda self: self._inner.chat)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """The inner one is closed by whoever opened it."""

    def ready(self) -> None:
        self._inner.ready()

    def describe(self) -> dict[str, Any]:
        return self._inner.describe()

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        code = {request.task.id: request.task.reference or "" for request in requests}
        for candidate in self._inner.generate(
            requests, policy=policy, sampling=sampling, round=round
        ):
            program = f"{code[candidate.task]}\n# {candidate.index}\n"
            yield dataclasses.replace(
                candidate, code=program, completion=answer(program, chat=self._inner.chat)
            )
