"""Zygotes: processes that hold what a kind of fork needs, and give birth to one fork per name at a time."""

from __future__ import annotations

import array
import gc
import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from sandbox.inside import fork, reap

ENDED = 0
BROKEN = b"!"
"""Before what is told in the place of a wait status."""
RUN = "run"
"""The fork that a run has for itself."""


class Program(Protocol):
    """What a zygote's forks run. Made in the zygote, so that all of them share what it loads."""

    ready: str
    """What the worker is told when it is made."""

    def prepare(self, request: dict[str, Any], fds: list[int]) -> None:
        """In the zygote, before each fork. What it takes from ``fds`` the fork doesn't get."""

    def run(self, request: dict[str, Any], birth: fork.Birth, fds: list[int]) -> NoReturn:
        """In the fork, which must become its user first (`fork.become`). It ends the process."""


class Zygote:
    """The worker's end. ``make`` runs in the zygote; ``uid``: the user that nobody but its forks has.

    Raises RuntimeError when the zygote is gone, or a fork could not be set up.
    """

    def __init__(self, make: Callable[[], Program], uid: int | None, close: Sequence[int]) -> None:
        self._socket, theirs = socket.socketpair()
        self._running: set[str] = set()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for fd in (*close, self._socket.fileno()):
                    os.close(fd)
                _serve(theirs, make, uid, parent)
            finally:
                os._exit(70)
        theirs.close()

    def wait(self) -> str:
        """Until it is ready to fork; returns what its program says then."""
        return self._receive().decode()

    def start(self, request: dict[str, Any], fds: Sequence[int], *, name: str = RUN) -> int:
        """Fork once, with copies of ``fds``; returns the process id."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        self._socket.sendmsg([json.dumps({"name": name, "request": request}).encode()], [rights])
        self._running.add(name)
        return int(self._receive())

    def end(self, *, name: str = RUN) -> int:
        """End the fork of that name, if there is one, and all that it started; returns its wait status."""
        if name not in self._running:
            return ENDED
        self._running.discard(name)
        self._socket.sendall(json.dumps({"name": name, "request": None}).encode())
        status = self._receive()
        if status.startswith(BROKEN):
            raise RuntimeError(status.removeprefix(BROKEN).decode())
        return int(status)

    def _receive(self) -> bytes:
        data = self._socket.recv(1024)
        if not data:
            raise RuntimeError("a zygote is gone")
        return data


def _serve(
    link: socket.socket, make: Callable[[], Program], uid: int | None, parent: int
) -> NoReturn:
    fork.libc.prctl(fork.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(72)
    fork.libc.prctl(fork.PR_SET_SUBREAPER, 1, 0, 0, 0)
    fork.prepare()
    program = make()
    gc.collect()
    gc.freeze()
    gc.disable()  # each fork turns it on again for itself
    link.sendall(program.ready.encode())
    children: dict[str, fork.Child] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(link, 4096, 4)
        if not data:
            reap.end_children((), uid)
            os._exit(0)
        message = json.loads(data)
        name, request = message["name"], message["request"]
        if request is not None:
            children[name] = _start(program, request, fds)
            link.sendall(b"%d" % children[name].pid)
        else:
            try:
                told = b"%d" % children.pop(name).end()
            except RuntimeError as e:
                told = BROKEN + str(e).encode()
            reap.end_children([child.pid for child in children.values()], uid)
            link.sendall(told)


def _start(program: Program, request: dict[str, Any], fds: list[int]) -> fork.Child:
    program.prepare(request, fds)
    child = fork.Child(lambda birth: program.run(request, birth, fds))
    for fd in fds:
        os.close(fd)
    return child
