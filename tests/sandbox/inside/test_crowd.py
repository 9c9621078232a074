"""A crowd of processes is put last in the queue for a core, and nobody else is."""

import os
import signal
import subprocess
import sys
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


PROGRAM = """
import os, threading, time
if os.fork():
    time.sleep(60)
    os._exit(0)
{start}
print(flush=True)
time.sleep(60)
"""


def _nice_after_taming(start: str) -> list[int]:
    """The niceness of each task of a program's child, where ``start`` ran, after `crowd.tame`."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(start=start)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as program:
        try:
            assert program.stdout is not None
            program.stdout.readline()
            crowd.tame([program.pid], None)
            return [
                os.getpriority(os.PRIO_PROCESS, int(task))
                for pid in _names("/proc")
                if pid.isdigit() and int(pid) != program.pid and _group_of(int(pid)) == program.pid
                for task in _names(f"/proc/{pid}/task")
            ]
        finally:
            os.killpg(program.pid, signal.SIGKILL)


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
def test_processes_and_threads_of_a_crowd_go_last(start: str) -> None:
    assert _nice_after_taming(start) == [crowd.NICE] * 21


def test_a_few_are_left_alone() -> None:
    start = "for _ in range(3):\n    if os.fork() == 0:\n        time.sleep(60)"
    assert _nice_after_taming(start) == [os.getpriority(os.PRIO_PROCESS, 0)] * 4
