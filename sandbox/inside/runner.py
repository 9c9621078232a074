"""A process that runs test files one after another, for as long as nothing goes wrong in it.

It never holds code of a solution's, and only runs files that leave nothing behind in an interpreter
(`shape.is_pure`): so the next candidate need not wait for another fork of the tests' side. Whatever goes
wrong, it is killed, and the next file starts a new one.
"""

from __future__ import annotations

import array
import gc
import os
import random
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from sandbox.inside import fork, frames, plain_run, tests
from sandbox.inside.zygote import Zygote

CONTROL_FD = 5
JOBS_MAX = 500
"""After so many, a new process: whatever grows in it starts afresh."""
KEPT = "runner"


class Files(Protocol):
    """How a runner compiles and runs its files."""

    def compile(self, file: tests.TestFile) -> None: ...
    def run(self, file: tests.TestFile, record: tests.Record) -> None: ...


class PlainFiles:
    """Files that need no pytest."""

    def __init__(self, path: str) -> None:
        self.path = path

    def compile(self, file: tests.TestFile) -> None:
        file.compile_plain(self.path)

    def run(self, file: tests.TestFile, record: tests.Record) -> None:
        plain_run.run(file, self.path, record)


class Runner:
    """The worker's end. ``limits``: those that the process lives under.

    ``start`` makes the process, whose end of the socket it is given, and returns its id; ``kill`` ends it
    and returns its wait status. Raises RuntimeError when the process is gone, or could not be set up.
    """

    def __init__(
        self,
        limits: dict[str, Any],
        start: Callable[[socket.socket], int],
        kill: Callable[[], int],
    ) -> None:
        self.limits = limits
        self.n_jobs = 0
        self._socket, theirs = socket.socketpair()
        self.pid = start(theirs)
        theirs.close()
        self._kill = kill

    def start(self, job: dict[str, Any], fds: Sequence[int]) -> None:
        """``fds``: output, records, and the socket to the candidate."""
        self.n_jobs += 1
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        wanted = ("test", "solution", "allowed", "bound", "writes")
        try:
            self._socket.sendmsg([b"!"], [rights])
            frames.send(self._socket.fileno(), {name: job[name] for name in wanted})
        except ConnectionError as e:
            self.kill()  # it knows better, if the set-up failed
            raise RuntimeError("a runner is gone") from e

    def kill(self) -> int:
        status = self._kill()
        self._socket.close()
        return status


def plain(identity: fork.Identity, limits: dict[str, Any]) -> Runner:
    """A fork of this process for files that need no pytest."""

    child: fork.Child

    def start(theirs: socket.socket) -> int:
        def run(birth: fork.Birth) -> NoReturn:
            fork.prepare()
            become(identity, limits, birth, theirs.fileno())
            serve(PlainFiles(os.path.join(identity.home, "test_solution.py")))

        nonlocal child
        child = fork.Child(run)
        return child.pid

    return Runner(limits, start, lambda: child.end())


def pytest(sessions: Zygote, limits: dict[str, Any]) -> Runner:
    """A fork of the zygote that holds a pytest session."""

    def start(theirs: socket.socket) -> int:
        return sessions.start({"kind": "runner", **limits}, [theirs.fileno()], name=KEPT)

    return Runner(limits, start, lambda: sessions.end(name=KEPT))


def become(
    identity: fork.Identity, limits: dict[str, Any], birth: fork.Birth, control: int
) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    named = {0: null, 1: null, 2: null, 3: null, 4: null, CONTROL_FD: control}
    fork.become(identity, limits, birth, named)


def serve(kind: Files) -> NoReturn:
    """Run what the worker sends, until it closes its end."""
    files: dict[str, tests.TestFile] = {}
    control = socket.socket(fileno=CONTROL_FD)
    null = os.open(os.devnull, os.O_RDWR)
    gc.collect()
    gc.freeze()
    while True:
        _, fds, _, _ = socket.recv_fds(control, 1, 3)
        if not fds:
            os._exit(0)
        job = frames.receive(CONTROL_FD)
        for fd, target in zip(fds, ((1, 2), (3,), (4,)), strict=True):
            for number in target:
                os.dup2(fd, number, inheritable=number < 3)
            os.close(fd)
        source = job["test"]
        if source not in files:
            if len(files) >= tests.FILES_KEPT:
                files.pop(next(iter(files)))
            files[source] = tests.TestFile(source)
            kind.compile(files[source])
        file = files[source]
        random.seed(0)
        tests.run_apart(job, lambda record, file=file: kind.run(file, record))  # type: ignore[misc]
        for number in (1, 2, 3, 4):
            os.dup2(null, number)
        for name in ("solution", "test_solution"):
            sys.modules.pop(name, None)
