"""Many processes at once, each with an equal claim to a core: they must not starve the other candidates."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable

from sandbox.inside import reap

CROWD = 16
"""Processes and threads of one candidate; more get what the others leave."""
NICE = 19


def tame(roots: Iterable[int], uid: int | None) -> None:
    """Put a crowd of descendants of ``roots`` last in the queue for a core, and what they fork with them.

    ``uid``: the user that nobody else has, if they have one. Where it is None, one by one.
    """
    if uid is not None:
        reap.as_user(uid, lambda: _tame_own(uid))
        return
    tasks = [task for root in roots for pid in _descendants(root) for task in _tasks(pid)]
    if len(tasks) > CROWD:
        for task in tasks:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PROCESS, task, NICE)


def _tame_own(uid: int) -> None:
    """As that user. The kernel counts: what is in /proc can be hidden."""
    resource.setrlimit(resource.RLIMIT_NPROC, (CROWD, CROWD))
    try:
        pid = os.fork()
    except BlockingIOError:
        os.setpriority(os.PRIO_USER, uid, NICE)
        return
    if pid:
        os.waitpid(pid, 0)


def _descendants(root: int) -> list[int]:
    found: list[int] = []
    pending = [root]
    while pending:
        pid = pending.pop()
        for task in _tasks(pid):
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{pid}/task/{task}/children", "rb") as file,
            ):
                children = [int(child) for child in file.read().split()]
                found += children
                pending += children
    return found


def _tasks(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return []
