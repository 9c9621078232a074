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
from typing import Any

from sandbox.inside import confine

FILE_MIB = 64
ADDRESS_SPACE_SPARE = 2 << 30
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


def become(identity: Identity, limits: dict[str, Any], parent: int, fds: dict[int, int]) -> None:
    """``fds``: target → descriptor, everything else is closed. ``limits``: as in a job's frame."""
    if identity.session:
        os.setsid()
    else:
        os.setpgid(0, 0)
    _limit(limits, identity)
    if identity.landlock is not None:
        confine.install_landlock(identity.landlock)
    high = {target: os.dup2(fd, 200 + target) for target, fd in fds.items()}
    for target, fd in high.items():
        os.dup2(fd, target, inheritable=target < 3)
    os.closerange(max(fds) + 1, 1 << 12)
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
        resource.setrlimit(which, (value, value))
