"""Grades for hours: ``python scripts/soak_grader.py [--gradings 100000] [--attacks 0.05]``.

Right and wrong programs that never repeat, with attacks of the battery among them. Every verdict is
checked; memory, processes, mounts and containers are printed as it goes and compared at the end, after a
warm-up. Ends with status 1 for a wrong verdict or something left over.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from evaluator.grade import grade_batch
from evaluator.reference import verify
from sandbox import battery
from sandbox.battery.program import Program
from sandbox.docker import OWNER_LABEL, owner
from sandbox.pool import open_sandbox
from sandbox.runner import SandboxConfig
from srs.types import Candidate, Task, Verdict

PLAIN = "soak-plain"
RIGHT, WRONG = "max(low, min(x, high))", "max(low, min(x, low))"
SOLUTION = "def clamp(x, low, high):\n    unused = {serial}\n    return {value}\n"
TEST = """\
from solution import clamp

def test_inside():
    assert clamp(3, 1, 5) == 3

def test_outside():
    assert clamp(-2, 1, 5) == 1
    assert clamp(9, 1, 5) == 5
"""
WARM_UP = 0.1
"""The share of the run after which memory should no longer grow."""
GROWTH_MIB = 48


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What there is on this machine: memory of all processes below this one and of containers' workers.

    Proportional set size: what forks share counts once, however many candidates run at that moment.
    """

    pss_mib: float
    processes: int
    mounts: int
    containers: int
    files: int

    def __str__(self) -> str:
        return (
            f"{self.pss_mib:.0f} MiB in {self.processes} processes, {self.mounts} mounts, "
            f"{self.containers} containers, {self.files} open files"
        )


def level() -> Level:
    """Of this process, its descendants, and its containers: not of other runs on the machine."""
    containers = subprocess.run(
        ["docker", "ps", "-aq", "--no-trunc", "--filter", f"label={OWNER_LABEL}={owner()}"],
        capture_output=True,
        text=True,
    ).stdout.split()
    parents: dict[int, int] = {}
    ours = {os.getpid()}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            pid = int(entry.name)
            parents[pid] = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            cgroup = (entry / "cgroup").read_text()
        except OSError:  # ended meanwhile
            continue
        if any(container in cgroup for container in containers):
            ours.add(pid)
    for pid in parents:
        line, above = [], pid
        while above in parents and above not in ours:
            line.append(above)
            above = parents[above]
        if above in ours:
            ours.update(line)
    sizes = [size for pid in ours if (size := pss_kib(pid)) is not None]
    return Level(
        pss_mib=sum(sizes) / 1024,
        processes=len(sizes),
        mounts=len(Path("/proc/self/mounts").read_text().splitlines()),
        containers=len(containers),
        files=len(list(Path("/proc/self/fd").iterdir())),
    )


def pss_kib(pid: int) -> int | None:
    """None for a process that ended meanwhile."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), None)


def tasks_of(programs: Sequence[Program]) -> list[Task]:
    def task(name: str, test: str, reference: str, stdio: bool) -> Task:
        return Task(
            id=name,
            group=name,
            kind="stdio" if stdio else "pytest",
            style="instruct",
            subset="soak",
            question="",
            declaration=None,
            entry_point=None,
            test=test,
            reference=reference,
        )

    plain = task(PLAIN, TEST, SOLUTION.format(serial=0, value=RIGHT), stdio=False)
    return [plain] + [
        task(p.name, p.problem.test, p.problem.reference, p.problem.stdio) for p in programs
    ]


def candidates(n: int, share: float, programs: Sequence[Program], seed: int) -> Iterator[Candidate]:
    stream = random.Random(seed)
    for serial in range(n):
        if stream.random() < share:
            program = stream.choice(programs)
            name, code = program.name, program.solution
        else:
            right = stream.random() < 0.5
            name = PLAIN
            code = SOLUTION.format(serial=serial, value=RIGHT if right else WRONG)
        yield Candidate(
            task=name,
            round=0,
            index=serial,
            prompt="",
            completion=code,
            code=code,
            policy="soak",
            seed=seed,
            n_tokens=0,
            truncated=False,
        )


def is_right(verdict: Verdict, code: str) -> bool:
    if verdict.task != PLAIN:
        return not verdict.passed
    return verdict.outcome == ("passed" if RIGHT in code else "failed")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gradings", type=int, default=100_000)
    parser.add_argument("--attacks", type=float, default=0.05, help="their share")
    parser.add_argument("--sandbox", choices=("auto", "docker", "process"), default="auto")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--timeout-s", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    config = SandboxConfig(backend=args.sandbox, workers=args.workers, timeout_s=args.timeout_s)
    programs = [p for p in battery.ATTACKS if "@" not in p.solution and not p.problem.stdio]
    tasks = tasks_of(programs)
    outcomes: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    codes: dict[int, str] = {}
    before = level()

    def remembered() -> Iterator[Candidate]:
        for c in candidates(args.gradings, args.attacks, programs, args.seed):
            codes[c.index] = c.code or ""
            yield c

    with open_sandbox(config) as sandbox:
        print("sandbox:", sandbox.identity)
        expected, dropped = verify(tasks, sandbox, None, limits=config.limits)
        assert not dropped, dropped
        start, warm = time.monotonic(), None
        verdicts = grade_batch(
            tasks, remembered(), sandbox, expectations=expected, limits=config.limits
        )
        for n, verdict in enumerate(verdicts, 1):
            outcomes[verdict.outcome] += 1
            code = codes.pop(verdict.index)
            if not is_right(verdict, code):
                wrong.append(f"{verdict.task}: {verdict.outcome} ({verdict.detail})\n{code}")
                print("WRONG", wrong[-1], flush=True)
            if n == int(args.gradings * WARM_UP):
                warm = level()
            if n % max(1, args.gradings // 20) == 0:
                print(f"{n} graded, {n / (time.monotonic() - start):.0f}/s, {level()}", flush=True)
        last = level()
    after = level()
    print(dict(outcomes))
    print(f"warm: {warm}\nlast: {last}\nbefore it: {before}\nafter it: {after}")
    grown = last.pss_mib - warm.pss_mib if warm else 0.0
    left = [
        name
        for name in ("processes", "mounts", "containers")
        if getattr(after, name) > getattr(before, name)
    ]
    print(
        f"{len(wrong)} wrong verdicts; memory grew by {grown:.0f} MiB; left over: {left or 'nothing'}"
    )
    return 1 if wrong or left or grown > GROWTH_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
