"""Times our grader beside the usual ways to grade: ``python scripts/bench_grader.py [--json FILE]``.

Wall-clock milliseconds per candidate, the median over rounds; every round visits every grader, so that
what else the machine does falls on all of them. Candidates are programs that never repeat, every other
one wrong, and a verdict that is not the known one ends the run with status 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from evaluator.grade import grade_batch
from evaluator.reference import verify
from sandbox import docker, image
from sandbox.pool import open_sandbox
from sandbox.runner import Sandbox, SandboxConfig, SandboxError
from srs.types import Candidate, Task

Backend = Literal["docker", "process"]
Grade = Callable[[Task, str], bool]
WORKERS = (1, 2)
BASELINE_CANDIDATES = 2
"""Per round: a container start takes a second or two."""
FORK_CANDIDATES = 200
TIMEOUT_S = 20.0
SOLUTION = "def clamp(x, low, high):\n    unused = {serial}\n    return {value}\n"
VALUES = {True: "max(low, min(x, high))", False: "max(low, min(x, low))"}
PLAIN_TEST = """\
from solution import clamp

def test_inside():
    assert clamp(3, 1, 5) == 3

def test_below():
    assert clamp(-2, 1, 5) == 1

def test_above():
    assert clamp(9, 1, 5) == 5
"""
PYTEST_TEST = """\
import pytest
from solution import clamp

@pytest.fixture
def bounds():
    return 1, 5

@pytest.mark.parametrize("x, expected", [(3, 3), (-2, 1), (9, 5)])
def test_clamp(x, expected, bounds):
    assert clamp(x, *bounds) == expected
"""
PYTEST = """\
import json, os, sys, tempfile
import pytest
files = json.load(sys.stdin)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for name, text in files.items():
        with open(name, "w") as file:
            file.write(text)
    sys.path.insert(0, "")
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "test_solution.py"]))
"""
PLAIN_ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""What plugins happen to be installed here is not the baseline's fault."""


class WrongVerdict(Exception):
    """A grader that is fast and wrong is not worth timing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Case:
    """What is timed. ``workers`` is 1 for the baselines, which grade one candidate after another."""

    grader: str
    task: str
    workers: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """Seconds per candidate of each case and seconds to the first job of each sandbox, by round."""

    per_candidate_s: collections.defaultdict[Case, list[float]]
    start_up_s: collections.defaultdict[tuple[Backend, int], list[float]]

    def ms(self, case: Case) -> float:
        return 1000 * statistics.median(self.per_candidate_s[case])


def task(name: str, test: str) -> Task:
    return Task(
        id=name,
        group=name,
        kind="pytest",
        style="instruct",
        subset="Bench",
        question="",
        declaration=None,
        entry_point="clamp",
        test=test,
        reference=SOLUTION.format(serial=0, value=VALUES[True]),
    )


TASKS = (task("plain", PLAIN_TEST), task("pytest", PYTEST_TEST))


def programs(serials: Iterator[int], n: int) -> list[tuple[str, bool]]:
    """``n`` programs never seen before, each with whether it is right."""
    return [
        (SOLUTION.format(serial=next(serials), value=VALUES[i % 2 == 0]), i % 2 == 0)
        for i in range(n)
    ]


def time_ours(backend: Backend, workers: int, times: Times, serials: Iterator[int], n: int) -> None:
    """One round of our grader in a sandbox started for it. Raises WrongVerdict, SandboxError."""
    config = SandboxConfig(backend=backend, workers=workers, timeout_s=TIMEOUT_S)
    start = time.perf_counter()
    with open_sandbox(config) as sandbox:
        times.start_up_s[backend, workers].append(time.perf_counter() - start)
        for graded in TASKS:
            expected, dropped = verify([graded], sandbox, None, limits=config.limits)
            if dropped:
                raise WrongVerdict(f"{backend}: the reference of {graded.id}: {dropped[0].reason}")
            for count, timed in ((2 * workers, False), (n, True)):  # the first warm every worker
                took_s = _timed_batch(graded, programs(serials, count), sandbox, expected, config)
                if timed:
                    case = Case(grader=backend, task=graded.id, workers=workers)
                    times.per_candidate_s[case].append(took_s / count)


def _timed_batch(
    graded: Task,
    batch: Sequence[tuple[str, bool]],
    sandbox: Sandbox,
    expected: Any,
    config: SandboxConfig,
) -> float:
    candidates = [
        Candidate(
            task=graded.id,
            round=0,
            index=index,
            prompt="",
            completion=code,
            code=code,
            policy="bench",
            seed=0,
            n_tokens=0,
            truncated=False,
        )
        for index, (code, _) in enumerate(batch)
    ]
    start = time.perf_counter()
    verdicts = list(
        grade_batch([graded], candidates, sandbox, expectations=expected, limits=config.limits)
    )
    took_s = time.perf_counter() - start
    for verdict, (_, right) in zip(verdicts, batch, strict=True):
        if verdict.outcome != ("passed" if right else "failed"):
            raise WrongVerdict(f"{sandbox.name}: {'right' if right else 'wrong'} code: {verdict}")
    return took_s


def time_baseline(
    name: str, grade: Grade, graded: Task, times: Times, serials: Iterator[int], n: int
) -> None:
    """One round of a baseline. Raises WrongVerdict."""
    batch = programs(serials, n)
    start = time.perf_counter()
    passed = [grade(graded, code) for code, _ in batch]
    took_s = time.perf_counter() - start
    if passed != [right for _, right in batch]:
        raise WrongVerdict(f"{name}: {passed} for {graded.id}")
    times.per_candidate_s[Case(grader=name, task=graded.id)].append(took_s / n)


def fork_and_exec(graded: Task, code: str) -> bool:
    """The floor: a fork of this process runs the tests by exec, with no sandbox at all."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            names: dict[str, Any] = {}
            exec(code, names)
            exec(graded.test.replace("from solution import clamp", ""), names)
            for name in [name for name in names if name.startswith("test_")]:
                names[name]()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _pytest_by(command: Sequence[str]) -> Grade:
    """Pytest in a process that ``command`` starts, which gets the files on its stdin."""

    def grade(graded: Task, code: str) -> bool:
        files = json.dumps({"solution.py": code, "test_solution.py": graded.test})
        ran = subprocess.run(
            [*command, PYTEST], input=files, capture_output=True, text=True, env=PLAIN_ENVIRONMENT
        )
        if ran.returncode not in (0, 1):
            raise WrongVerdict(f"{command[0]}: status {ran.returncode}: {ran.stdout}{ran.stderr}")
        return ran.returncode == 0

    return grade


@contextlib.contextmanager
def baselines(with_docker: bool) -> Iterator[dict[str, Grade]]:
    """The usual ways to run pytest for each candidate, by name."""
    found = {"pytest subprocess": _pytest_by([sys.executable, "-c"])}
    if not with_docker:
        yield found
        return
    with contextlib.closing(docker.connect()) as client:
        name = image.ensure(client)
    walls = ["--network=none", "--memory=832m", "--cpus=1", "--pids-limit=80"]
    python = ["--entrypoint=python3", "-i", *walls, name, "-c"]
    found["docker run"] = _pytest_by(["docker", "run", "--rm", *python])
    sleeper = ["docker", "run", "--rm", "-d", "--entrypoint=sleep", *walls, name, "infinity"]
    container = subprocess.run(sleeper, check=True, capture_output=True, text=True).stdout.strip()
    try:
        found["docker exec"] = _pytest_by(["docker", "exec", "-i", container, "python3", "-c"])
        yield found
    finally:
        subprocess.run(["docker", "rm", "-f", container], check=True, capture_output=True)


def measure(backends: Sequence[Backend], rounds: int, n: int) -> Times:
    """Every grader once per round. Raises WrongVerdict, SandboxError."""
    times = Times(collections.defaultdict(list), collections.defaultdict(list))
    serials = itertools.count(1)
    with baselines("docker" in backends) as others:
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr)
            for backend, workers in itertools.product(backends, WORKERS):
                time_ours(backend, workers, times, serials, n)
            time_baseline("fork and exec", fork_and_exec, TASKS[0], times, serials, FORK_CANDIDATES)
            for (name, grade), graded in itertools.product(others.items(), TASKS):
                time_baseline(name, grade, graded, times, serials, BASELINE_CANDIDATES)
    return times


def summary(times: Times, backends: Sequence[Backend]) -> dict[str, Any]:
    """Everything as JSON: ``scaling`` is one worker's time over two workers', ``ratios`` a baseline's over ours."""
    cases = [
        {
            **dataclasses.asdict(case),
            "ms": times.ms(case),
            "candidates_per_s": 1000 / times.ms(case),
            "rounds_ms": [1000 * s for s in times.per_candidate_s[case]],
        }
        for case in times.per_candidate_s
    ]
    scaling = [
        {
            "grader": backend,
            "task": graded.id,
            "ratio": times.ms(Case(grader=backend, task=graded.id, workers=1))
            / times.ms(Case(grader=backend, task=graded.id, workers=2)),
        }
        for backend, graded in itertools.product(backends, TASKS)
    ]
    ratios = [
        {
            "baseline": case.grader,
            "task": case.task,
            "ours": backend,
            "ratio": times.ms(case) / times.ms(Case(grader=backend, task=case.task)),
        }
        for case in times.per_candidate_s
        if case.grader not in ("docker", "process")
        for backend in backends
    ]
    start_up = [
        {"grader": backend, "workers": workers, "seconds": statistics.median(seconds)}
        for (backend, workers), seconds in times.start_up_s.items()
    ]
    return {
        "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "cases": cases,
        "scaling": scaling,
        "start_up": start_up,
        "ratios": ratios,
    }


def show(found: dict[str, Any]) -> None:
    print(f"{found['machine']['cores']} cores, Python {found['machine']['python']}\n")
    print(f"{'grader':<18} {'task':<7} {'workers':>7} {'ms/candidate':>13} {'candidates/s':>13}")
    for c in found["cases"]:
        print(
            f"{c['grader']:<18} {c['task']:<7} {c['workers']:>7} {c['ms']:>13.2f}"
            f" {c['candidates_per_s']:>13.1f}"
        )
    print("\ntwo workers against one, times as many candidates per second:")
    for s in found["scaling"]:
        print(f"{s['grader']:<18} {s['task']:<7} {s['ratio']:>21.2f}")
    print("\nstart-up, seconds:")
    for s in found["start_up"]:
        print(f"{s['grader']:<18} {s['workers']} worker(s) {s['seconds']:>18.2f}")
    print("\ntime per candidate over ours with one worker:")
    for r in found["ratios"]:
        print(f"{r['baseline']:<18} {r['task']:<7} / {r['ours']:<8} {r['ratio']:>10.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 with figures, 1 for a wrong verdict, 3 for a broken sandbox."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=100, help="per round of our grader")
    parser.add_argument("--only", choices=("docker", "process"), help="one backend, and no Docker baselines for the other")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args(argv)
    if args.rounds < 1 or args.candidates < 2:
        parser.error("--rounds must be 1 or more, --candidates 2 or more")
    backends: tuple[Backend, ...] = (args.only,) if args.only else ("docker", "process")
    try:
        times = measure(backends, args.rounds, args.candidates)
    except WrongVerdict as e:
        print(f"error: wrong verdict: {e}", file=sys.stderr)
        return 1
    except SandboxError as e:
        print(f"error: the sandbox failed: {e}", file=sys.stderr)
        return 3
    found = {"rounds": args.rounds, "candidates": args.candidates, **summary(times, backends)}
    show(found)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
