"""Grades candidates: `grade_batch` from Python, ``python -m evaluator.grade`` from a shell."""

from __future__ import annotations

import argparse
import collections
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from evaluator.judge import Expectation, job_for, judge, no_code, unusable
from evaluator.reference import NOT_TELLING, Dropped, verify
from sandbox.runner import Job, Limits, Sandbox, SandboxConfig, SandboxError
from srs.types import Candidate, Task, UserError, Verdict


def grade_batch(
    tasks: Iterable[Task],
    candidates: Iterable[Candidate],
    sandbox: Sandbox,
    *,
    expectations: Mapping[str, Expectation] | None = None,
    telling_nothing: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Iterator[Verdict]:
    """One verdict per candidate, in their order; ``candidates`` is consumed while earlier ones run.

    ``expectations``: what each task's reference does (see `evaluator.reference.verify`); a task
    without one is judged by the tests in its file. ``telling_nothing``: the tasks whose tests say nothing
    about an answer, and why; their candidates are ``error``. Neither they nor candidates without code
    reach the sandbox.

    Raises KeyError for a candidate of a task not among ``tasks``, SandboxError for a broken sandbox.
    """
    by_id = {task.id: task for task in tasks}
    expected, mute = expectations or {}, telling_nothing or {}
    limits = limits or Limits()
    waiting: collections.deque[Candidate] = collections.deque()

    def jobs() -> Iterator[Job]:
        for candidate in candidates:
            task = by_id[candidate.task]
            waiting.append(candidate)
            if candidate.code is not None and task.id not in mute:
                yield job_for(task, candidate.code, expected.get(task.id), limits)

    def not_run() -> Iterator[Verdict]:
        while waiting and (waiting[0].code is None or waiting[0].task in mute):
            c = waiting.popleft()
            task = by_id[c.task]
            if task.id in mute:
                yield unusable(task, mute[task.id], round=c.round, index=c.index)
            else:
                yield no_code(task, expected.get(task.id), round=c.round, index=c.index)

    for result in sandbox.run(jobs()):
        yield from not_run()
        c = waiting.popleft()
        yield judge(by_id[c.task], expected.get(c.task), result, round=c.round, index=c.index)
    yield from not_run()


def examine(
    tasks: Iterable[Task], sandbox: Sandbox, limits: Limits
) -> tuple[dict[str, Expectation], dict[str, str], list[Dropped]]:
    """For `grade_batch`: expectations, and the tasks whose tests tell nothing, with why.

    Last, those whose own reference fails: they are left to their test files. Raises SandboxError.
    """
    from srs.tasks import VACUOUS, is_vacuous

    tasks = list(tasks)
    mute = {task.id: VACUOUS for task in tasks if is_vacuous(task)}
    referenced = [t for t in tasks if t.reference is not None and t.id not in mute]
    expected, dropped = verify(referenced, sandbox, None, limits=limits)
    mute |= {drop.task: drop.reason for drop in dropped if drop.reason == NOT_TELLING}
    return expected, mute, [drop for drop in dropped if drop.task not in mute]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 when every candidate got a verdict, 2 for unusable input, 3 for a broken sandbox."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.grade", description=__doc__)
    parser.add_argument("--tasks", type=Path, required=True, help="KodCode rows")
    parser.add_argument("--candidates", type=Path, required=True, help="question_id and code or completion, one JSON object per line")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="verdicts, one line per candidate")
    parser.add_argument("--sandbox", choices=("auto", "docker", "process"), default="auto")
    parser.add_argument("--workers", type=int, default=0, help="0 = one per core")
    parser.add_argument("--timeout-s", type=float, default=SandboxConfig().timeout_s)
    parser.add_argument("--memory-mib", type=int, default=SandboxConfig().memory_mib)
    args = parser.parse_args(argv)
    try:
        if args.workers < 0 or not 0 < args.timeout_s < math.inf or args.memory_mib < 64:
            raise UserError(
                "--workers must be 0 or more, --timeout-s above 0 and finite, --memory-mib ≥ 64"
            )
        config = SandboxConfig(
            backend=args.sandbox,
            workers=args.workers,
            timeout_s=args.timeout_s,
            memory_mib=args.memory_mib,
        )
        _grade_files(args.tasks, args.candidates, args.out, config)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except SandboxError as e:
        print(f"error: the sandbox failed: {e}; no verdicts were written", file=sys.stderr)
        return 3
    return 0


def _grade_files(tasks_path: Path, candidates_path: Path, out: Path, config: SandboxConfig) -> None:
    from evaluator.candidates import read_candidates, writing_verdicts
    from sandbox.pool import open_sandbox
    from srs.tasks import read_rows

    tasks = read_rows(tasks_path)
    candidates = read_candidates(candidates_path, {task.id: task for task in tasks})
    asked = {c.task for c in candidates}
    used = [task for task in tasks if task.id in asked]
    with writing_verdicts(out) as write, open_sandbox(config) as sandbox:
        print(f"sandbox: {sandbox.identity}", file=sys.stderr)
        print("not covered:", "; ".join(sandbox.not_covered) or "-", file=sys.stderr)
        expected, mute, failing = examine(used, sandbox, config.limits)
        for task, why in mute.items():
            print(f"{task}: {why}; its candidates are judged error", file=sys.stderr)
        for drop in failing:
            print(
                f"{drop.task}: its own reference fails ({drop.reason}); judged by its test file",
                file=sys.stderr,
            )
        counts: collections.Counter[str] = collections.Counter()
        for verdict in grade_batch(
            used,
            candidates,
            sandbox,
            expectations=expected,
            telling_nothing=mute,
            limits=config.limits,
        ):
            write(verdict)
            counts[verdict.outcome] += 1
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.most_common()) or "no candidates")


if __name__ == "__main__":
    sys.exit(main())
