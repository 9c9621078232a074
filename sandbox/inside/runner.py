"""A process that runs plain test files one after another, for as long as nothing goes wrong in it.

It never holds code of a solution's, and only runs files that leave nothing behind in an interpreter
(`tests.is_pure`): so the next candidate need not wait for another fork of the tests' side. Whatever goes
wrong, it is killed, and the next file starts a new one.
"""

from __future__ import annotations

import array
import gc
import os
import random
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sandbox.inside import fork, frames, plain_run, tests

CONTROL_FD = 5
JOBS_MAX = 500
"""After so many, a new process: whatever grows in it starts afresh."""


class Runner:
    """The worker's end. ``limits``: those that the process lives under."""

    def __init__(self, identity: fork.Identity, limits: dict[str, Any]) -> None:
        self.limits = limits
        self.n_jobs = 0
        self._socket, theirs = socket.socketpair()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                null = os.open(os.devnull, os.O_RDWR)
                fds = {0: null, 1: null, 2: null, 3: null, 4: null, CONTROL_FD: theirs.fileno()}
                fork.prepare()
                fork.become(identity, limits, parent, fds)
                _serve(os.path.join(identity.home, "test_solution.py"))
            finally:  # whatever happens in this interpreter, no fork goes on as a worker
                os._exit(70)
        theirs.close()

    def start(self, job: dict[str, Any], fds: Sequence[int]) -> None:
        """``fds``: output, records, and the socket to the candidate."""
        self.n_jobs += 1
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        self._socket.sendmsg([b"!"], [rights])
        wanted = ("test", "solution", "allowed", "bound")
        frames.send(self._socket.fileno(), {name: job[name] for name in wanted})

    def close(self) -> None:
        self._socket.close()


def _serve(path: str) -> NoReturn:
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
            files[source].compile_plain(path)
        file = files[source]
        random.seed(0)
        tests.run_apart(job, lambda record, file=file: plain_run.run(file, path, record))  # type: ignore[misc]
        for number in (1, 2, 3, 4):
            os.dup2(null, number)
        for name in ("solution", "test_solution"):
            sys.modules.pop(name, None)


def kill(runner: Runner) -> int:
    """End it; returns its wait status."""
    os.kill(runner.pid, signal.SIGKILL)
    _, status = os.waitpid(runner.pid, 0)
    runner.close()
    return status
