"""Ends what a run left behind: every descendant, daemons in sessions of their own included."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path


def end_children(keep: Collection[int], uid: int | None) -> None:
    """Kill and reap all children of this process but ``keep``.

    This process is a subreaper: an orphan becomes its child, so that repeating this reaches every
    descendant. Processes that fork faster than they are killed one by one are killed at once, as their
    user ``uid``, which nobody else has.
    """
    if not keep and not _any():
        return
    first = True
    while pids := [pid for pid in children() if pid not in keep]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if uid is not None and not first:
            as_user(uid, lambda: os.kill(-1, signal.SIGKILL))
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        first = False


def _any() -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        return True
    return False


def children() -> list[int]:
    """Direct children of this process (which has one thread)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [
            int(p.name)
            for p in Path("/proc").iterdir()
            if p.name.isdigit() and _parent(p) == os.getpid()
        ]


def _parent(process: Path) -> int:
    with contextlib.suppress(OSError):
        return int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
    return 0


def as_user(uid: int, act: Callable[[], None]) -> None:
    """Do that in a fork that becomes the user, who may do it to its own processes."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            act()
        finally:  # also when there is nobody left to do it to
            os._exit(0)
    os.waitpid(pid, 0)
