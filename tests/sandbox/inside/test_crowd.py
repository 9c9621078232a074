"""A crowd of processes is put last in the queue for a core, and nobody else is."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.inside import crowd
from sandbox.pool import open_sandbox
from sandbox.runner import Job, Limits, SandboxConfig

BOMB = """
import os
def f(x):
    for _ in range(50):
        if os.fork() == 0:
            os.setsid()
            while True:
                pass
    while True:
        pass
"""
HONEST = "def f(x):\n    return sum(range(20_000_000)) * 0 + x\n"
TEST = "from solution import f\n\ndef test_a():\n    assert f(1) == 1\n"


def test_a_fork_bomb_does_not_starve_its_neighbours() -> None:
    """Fifty busy processes beside it would leave an honest program one in twenty-five of two cores.

    Against the same program without them, so that other work on the machine falls on both.
    """
    bomb = Job(solution=BOMB, test=TEST, limits=Limits(timeout_s=10))
    honest = Job(solution=HONEST, test=TEST, limits=Limits(timeout_s=60))
    with open_sandbox(SandboxConfig(backend="process", workers=2)) as process:
        alone = [result.wall_s for result in process.run([honest] * 4)]
        bombed, *others = process.run([bomb, honest, honest])
    assert bombed.status == "timeout"
    assert [result.status for result in others] == ["finished"] * 2
    assert min(result.wall_s for result in others) < 8 * max(alone)


def _nice_of(start: str, look: Callable[[int], None]) -> list[int]:
    """The niceness of each task of a program, after it said that it is ready and ``look`` was called."""
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import os, threading, time\n{start}\nprint(flush=True)\ntime.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as program:
        try:
            assert program.stdout is not None
            program.stdout.readline()
            time.sleep(0.2)
            look(os.getpid())
            group = [
                int(pid)
                for pid in _names("/proc")
                if pid.isdigit() and _group_of(int(pid)) == program.pid
            ]
            return [
                os.getpriority(os.PRIO_PROCESS, int(task))
                for pid in group
                for task in _names(f"/proc/{pid}/task")
            ]
        finally:
            os.killpg(program.pid, 9)


def _names(directory: str) -> list[str]:
    return [path.name for path in Path(directory).iterdir()]


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


@pytest.mark.parametrize(
    "start",
    [
        "for _ in range(20):\n    if os.fork() == 0:\n        time.sleep(60)",
        "for _ in range(20):\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    ],
)
def test_processes_and_threads_of_a_crowd_are_found(start: str) -> None:
    nice = _nice_of(start, lambda root: crowd.tame([root], None))
    assert len(nice) == 21
    assert set(nice) == {crowd.NICE}


def test_a_few_are_left_alone() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    start = "for _ in range(3):\n    if os.fork() == 0:\n        time.sleep(60)"
    assert set(_nice_of(start, lambda root: crowd.tame([root], None))) == {before}
