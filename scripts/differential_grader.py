"""Compares our verdicts with plain pytest's: ``python scripts/differential_grader.py --tasks FILE…``.

Programs are each task's reference, a stub of it and mutants of it. Plain pytest is a fresh process per
program that runs ``pytest`` on a directory with solution.py and test_solution.py, exit status 0 = passed.
It believes what it runs, so this is for programs without malice: a lie is a disagreement by design.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import gc
import json
import os
import queue
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, NoReturn, Self

from mutants import N_MAX, mutants, stub

from evaluator.grade import grade_batch
from evaluator.judge import with_imports
from evaluator.reference import verify
from sandbox.inside import confine, fork
from sandbox.pool import open_sandbox
from sandbox.runner import Limits, Sandbox, SandboxConfig, SandboxError
from srs.tasks import read_rows
from srs.types import Candidate, Task, UserError, Verdict

Plain = Literal["passed", "failed", "timeout"]
ROWS_AT_ONCE = 8
PATIENCE = 4
"""A time-out that makes a difference is tried again with this many times the limit."""
SPARE_MIB = 2048
"""Address space beside the memory limit: libraries reserve some that they don't use."""
FILE_MIB = 64
SERVE = "import differential_grader; differential_grader.serve()"
PYTEST_ARGS = ["-q", "-p", "no:cacheprovider", "-c", os.devnull]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """``name``: ``reference``, ``stub`` or ``mutant 3``; ``change``: what the mutant changed."""

    name: str
    change: str = ""
    code: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both verdicts on one program. ``dropped``: why ours couldn't use the task's reference, if so."""

    task: Task
    program: Program
    plain: Plain
    ours: Verdict
    dropped: str = ""

    @property
    def agrees(self) -> bool:
        return (self.plain == "passed") == self.ours.passed

    @property
    def timed_out(self) -> bool:
        late = self.dropped.startswith("timeout")
        return late or "timeout" in (self.plain, self.ours.outcome)

    def __str__(self) -> str:
        change = f" ({self.program.change})" if self.program.change else ""
        dropped = f"; its reference was dropped: {self.dropped}" if self.dropped else ""
        return (
            f"{self.task.id} {self.program.name}{change}: plain pytest {self.plain},"
            f" ours {self.ours.outcome} [{self.ours.path}] {self.ours.detail}{dropped}"
        )


class PlainPytest:
    """Plain pytest, held warm by a process that forks once per program. One call at a time."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
            # As in our sandbox, so that the order of a set is no disagreement; and no plugins.
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )  # fmt: skip
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def verdict(self, code: str, test: str, limits: Limits) -> Plain:
        """Raises SandboxError when the process that holds pytest is gone."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.TemporaryDirectory(prefix="plain-", ignore_cleanup_errors=True) as directory:
            _write(Path(directory), code, test)
            request = [directory, limits.timeout_s, limits.memory_mib]
            with suppress(BrokenPipeError):
                print(json.dumps(request), file=self._process.stdin, flush=True)
            match self._process.stdout.readline().strip():
                case "passed" | "failed" | "timeout" as answer:
                    return answer
        raise SandboxError("the process that holds plain pytest is gone")


def serve() -> None:
    """In that process: requests on stdin, one answer each on stdout, until stdin closes."""
    import pytest

    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    pytest.main(["--version", *PYTEST_ARGS])  # loads what every session needs
    gc.freeze()
    for line in requests:
        print(_in_a_fork(*json.loads(line)), file=answers, flush=True)


def _in_a_fork(directory: str, timeout_s: float, memory_mib: int) -> Plain:
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            fork.libc.prctl(fork.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == parent:
                _run_pytest(directory, memory_mib)
        finally:  # whatever the program does to this interpreter
            os._exit(70)
    with suppress(PermissionError):  # not before it ends, whoever of the two comes first
        os.setpgid(pid, pid)
    fd = os.pidfd_open(pid)
    ended, _, _ = select.select([fd], [], [], timeout_s)
    os.close(fd)
    os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not ended:
        return "timeout"
    return "failed" if status else "passed"


def _run_pytest(directory: str, memory_mib: int) -> NoReturn:
    import pytest

    os.setpgid(0, 0)
    for which, mib in (
        (resource.RLIMIT_AS, memory_mib + SPARE_MIB),
        (resource.RLIMIT_FSIZE, FILE_MIB),
    ):
        resource.setrlimit(which, (mib << 20, mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.closerange(3, 256)
    ruleset = confine.landlock(["/"], [directory, os.devnull])
    if ruleset is not None:
        confine.install_landlock(ruleset)  # a mutant may remove another file than was meant
    os.chdir(directory)
    os.environ["TMPDIR"] = directory
    status = pytest.main([*PYTEST_ARGS, "--rootdir", directory, "--confcutdir", directory, "test_solution.py"])  # fmt: skip
    os._exit(status)


def programs(task: Task, n: int, seed: int) -> list[Program]:
    """The task's reference, its stub and up to ``n`` mutants; the reference alone when it doesn't parse."""
    assert task.reference is not None
    made = [Program(name="reference", code=task.reference)]
    with suppress(SyntaxError, ValueError, RecursionError):
        made.append(Program(name="stub", code=stub(task.reference)))
        made += [
            Program(name=f"mutant {number}", change=mutant.change, code=mutant.source)
            for number, mutant in enumerate(mutants(task.reference, n, f"{seed}:{task.id}"), 1)
        ]
    return made


def compare(
    asked: Mapping[str, tuple[Task, Sequence[Program]]],
    sandbox: Sandbox,
    plain: Sequence[PlainPytest],
    limits: Limits,
) -> list[Comparison]:
    """Both verdicts on every program. Raises SandboxError when either judge is broken."""
    tasks = [task for task, _ in asked.values()]
    pairs = [(task, program) for task, made in asked.values() for program in made]
    expected, dropped = verify(tasks, sandbox, None, limits=limits)
    reasons = {drop.task: drop.reason for drop in dropped}
    ours = grade_batch(tasks, map(_candidate, pairs), sandbox, expectations=expected, limits=limits)
    verdicts = list(ours)
    free: queue.SimpleQueue[PlainPytest] = queue.SimpleQueue()
    for one in plain:
        free.put(one)

    def plainly(pair: tuple[Task, Program]) -> Plain:
        task, program = pair
        one = free.get()
        try:
            return one.verdict(program.code, with_imports(task.test), limits)
        finally:
            free.put(one)

    with concurrent.futures.ThreadPoolExecutor(len(plain)) as threads:
        answers = list(threads.map(plainly, pairs))
    return [
        Comparison(task=t, program=p, plain=a, ours=v, dropped=reasons.get(t.id, ""))
        for (t, p), a, v in zip(pairs, answers, verdicts, strict=True)
    ]


def compare_patiently(
    asked: Mapping[str, tuple[Task, Sequence[Program]]],
    sandbox: Sandbox,
    plain: Sequence[PlainPytest],
    limits: Limits,
) -> list[Comparison]:
    """As `compare`; where a time-out makes the difference, the verdicts with PATIENCE times the limit."""
    found = compare(asked, sandbox, plain, limits)
    again: dict[str, tuple[Task, list[Program]]] = {}
    for c in found:
        if c.timed_out and not c.agrees:
            again.setdefault(c.task.id, (c.task, []))[1].append(c.program)
    longer = dataclasses.replace(limits, timeout_s=PATIENCE * limits.timeout_s)
    later = {
        (c.task.id, c.program.name): c
        for c in (compare(again, sandbox, plain, longer) if again else ())
    }
    return [later.get((c.task.id, c.program.name), c) for c in found]


def run(
    tasks: Sequence[Task], n_mutants: int, seed: int, config: SandboxConfig
) -> Iterator[list[Comparison]]:
    """All programs of the tasks, some rows at a time. Raises SandboxError when either judge is broken."""
    with ExitStack() as stack:
        sandbox = stack.enter_context(open_sandbox(config))
        n_workers = config.workers or len(os.sched_getaffinity(0))
        plain = [stack.enter_context(PlainPytest()) for _ in range(n_workers)]
        for start in range(0, len(tasks), ROWS_AT_ONCE):
            part = tasks[start : start + ROWS_AT_ONCE]
            asked = {task.id: (task, programs(task, n_mutants, seed)) for task in part}
            yield compare_patiently(asked, sandbox, plain, config.limits)


def _candidate(pair: tuple[Task, Program]) -> Candidate:
    task, program = pair
    return Candidate(
        task=task.id,
        round=0,
        index=0,
        prompt="",
        completion=program.code,
        code=program.code,
        policy="differential",
        seed=0,
        n_tokens=0,
        truncated=False,
    )


def _write(directory: Path, code: str, test: str) -> None:
    for name, text in (("solution.py", code), ("test_solution.py", test)):
        (directory / name).write_bytes(text.encode("utf-8", "surrogatepass"))


def save(comparison: Comparison, out: Path) -> None:
    """The program, its tests and both verdicts, in a directory where ``pytest`` runs them."""
    name = re.sub(r"[^\w.-]", "-", f"{comparison.task.id}-{comparison.program.name}")
    directory = out / name
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory, comparison.program.code, with_imports(comparison.task.test))
    (directory / "verdicts.txt").write_text(f"{comparison}\n", encoding="utf-8")


def show(found: Sequence[Comparison]) -> None:
    """Prints counts, and every program on which the verdicts differ, time-outs apart."""
    agreed = [c for c in found if c.agrees]
    n_passed = sum(c.ours.passed for c in agreed)
    late = [c for c in found if c.timed_out]
    wrong = disagreements(found)
    print(f"rows:          {len({(c.task.id, c.task.test) for c in found})}")
    print(f"programs:      {len(found)}")
    print(f"agreements:    {len(agreed)} ({n_passed} passed, {len(agreed) - n_passed} not passed)")
    print(
        f"time-outs:     {len(late)} ({sum(not c.agrees for c in late)} of them on one side alone)"
    )
    for c in late:
        if not c.agrees:
            print(f"  {c}")
    print(f"disagreements: {len(wrong)}")
    for c in wrong:
        print(f"  {c}")


def counts(found: Sequence[Comparison]) -> str:
    n_agreed, n_late = sum(c.agrees for c in found), sum(c.timed_out for c in found)
    return f"{len(found)} programs, {n_agreed} agreements, {n_late} time-outs"


def disagreements(found: Iterable[Comparison]) -> list[Comparison]:
    return [c for c in found if not c.agrees and not c.timed_out]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 when all verdicts agree, 1 when some don't, 2 for unusable input, 3 for a broken sandbox."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=Path, nargs="+", required=True, metavar="FILE", help="KodCode rows")  # fmt: skip
    parser.add_argument("--mutants", type=int, default=N_MAX, help=f"per row, at most {N_MAX}")
    parser.add_argument("--limit-rows", type=int, help="the first rows of each file alone")
    parser.add_argument("--sandbox", choices=("auto", "docker", "process"), default="auto")
    parser.add_argument("--workers", type=int, default=0, help="0 = one per core")
    parser.add_argument("--timeout-s", type=float, default=SandboxConfig().timeout_s)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="save the programs on which the verdicts differ here")  # fmt: skip
    args = parser.parse_args(argv)
    if not 0 <= args.mutants <= N_MAX or args.workers < 0 or args.timeout_s <= 0:
        parser.error(f"--mutants is 0 to {N_MAX}, --workers 0 or more, --timeout-s above 0")
    config = SandboxConfig(backend=args.sandbox, workers=args.workers, timeout_s=args.timeout_s)
    found: list[Comparison] = []
    try:
        for path in args.tasks:
            rows = read_rows(path)[: args.limit_rows]
            tasks = [t for t in rows if t.kind == "pytest" and t.reference is not None]
            for part in run(tasks, args.mutants, args.seed, config):
                found += part
                for c in part:
                    if not c.agrees:
                        print(c, file=sys.stderr)
                        if args.out:
                            save(c, args.out / path.stem)
                print(f"{path.name}: {counts(found)}; at {part[-1].task.id}", file=sys.stderr)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except SandboxError as e:
        print(f"error: the sandbox failed: {e}", file=sys.stderr)
        return 3
    show(found)
    return 1 if disagreements(found) else 0


if __name__ == "__main__":
    sys.exit(main())
