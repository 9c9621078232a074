"""The last steps of a fresh fork before it runs what it was made for: own session, limits, another user."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from sandbox.inside import confine

FILE_MIB = 64
ADDRESS_SPACE_SPARE = 2 << 30
READY, TOLD_BYTES = b".", 200
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
libc = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a fork becomes. ``uid`` None: it stays the worker's user, who can't be told apart then.

    ``session``: it gets a session of its own; else only a process group.
    """

    uid: int | None
    home: str
    landlock: int | None = None
    dumpable: bool = False
    session: bool = True
    nproc: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a fork has of its parent: who that is, and the pipe that tells it how the set-up went."""

    parent: int
    telling: int


class Child:
    """The parent's end of a fork. ``run`` hands its Birth to `become` first, and ends the process."""

    def __init__(self, run: Callable[[Birth], NoReturn]) -> None:
        parent = os.getpid()
        self._told, telling = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                run(Birth(parent=parent, telling=telling))
            finally:  # whatever a program does to this interpreter, no fork goes on as its parent
                os._exit(70)
        os.close(telling)

    def end(self) -> int:
        """Kill it if it has not ended, and reap it; returns its wait status.

        Raises RuntimeError when it could not be set up: what was seen then says nothing about a program.
        """
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if not done:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
        said = os.read(self._told, TOLD_BYTES)  # never waits: only the set-up had the other end
        os.close(self._told)
        if said != READY and (said or done):
            why = said.decode("utf-8", "replace") or f"it ended with wait status {status}"
            raise RuntimeError(f"a fork can't be set up: {why}")
        return status


def become(identity: Identity, limits: dict[str, Any], birth: Birth, fds: dict[int, int]) -> None:
    """``fds``: 0, 1, … → descriptor, everything else is closed. ``limits``: as in a job's frame.

    The parent is told how it went, as a program may end with any status.
    """
    telling, last = birth.telling, max(fds) + 1
    try:
        _enter(identity, limits)
        high = {to: os.dup2(fd, 200 + to) for to, fd in {**fds, last: telling}.items()}
        telling = high[last]
        for target, fd in high.items():
            os.dup2(fd, target, inheritable=target < 3)
        telling = last
        os.closerange(last + 1, 1 << 12)
        _drop(identity, birth.parent)
    except Exception as e:  # the boundary of a set-up: the parent raises what it is told
        os.write(telling, f"{type(e).__name__}: {e}".encode()[:TOLD_BYTES])
        os._exit(70)
    os.write(telling, READY)
    os.close(telling)


def _enter(identity: Identity, limits: dict[str, Any]) -> None:
    if identity.session:
        os.setsid()
    else:
        os.setpgid(0, 0)
    _limit(limits, identity)
    if identity.landlock is not None:
        confine.install_landlock(identity.landlock)


def _drop(identity: Identity, parent: int) -> None:
    if identity.uid is not None:
        os.setresgid(identity.uid, identity.uid, identity.uid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user clears it
    if os.getppid() != parent:
        os._exit(72)
    libc.prctl(PR_SET_DUMPABLE, int(identity.dumpable), 0, 0, 0)
    os.chdir(identity.home)
    random.seed(0)  # the same program gets the same numbers, whichever worker runs it
    gc.enable()


def own_session() -> None:
    """In a zygote of candidates: one session for all of them, which none of them leaves."""
    os.setsid()
    filter = confine.session_filter()
    if filter is not None:
        confine.install_seccomp(filter)


def prepare() -> None:
    """In what is forked from: what all forks would do alike."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # forks go before their worker does
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def _limit(limits: dict[str, Any], identity: Identity) -> None:
    memory = limits["memory_mib"] << 20
    values = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_AS: memory + ADDRESS_SPACE_SPARE,
        resource.RLIMIT_FSIZE: FILE_MIB << 20,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 512,
    }
    if identity.nproc:
        values[resource.RLIMIT_NPROC] = limits["processes"]
    for which, value in values.items():
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)  # without privileges, nobody gets above what they started with
        resource.setrlimit(which, (value, value))
