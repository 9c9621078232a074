"""Takes away what the kernel lets this user take away, then becomes the worker (process backend).

A program of its own: ``python contain.py OPTIONS``. As root it makes new namespaces and drops to a user
id that nobody else has; as a plain user it tries the same in a user namespace. What it could not get
it puts into the worker's options, in words.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import tempfile
from pathlib import Path

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
KEPT_FLAGS = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}  # statvfs bit: mount bit
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
TMPFS_MIB = 256
FIRST_UID = 100_000
KEPT_CAPABILITIES = (
    5,
    6,
    7,
)  # KILL, SETGID, SETUID: the worker runs programs as users of their own
libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    arguments = [a.encode() if a is not None else None for a in (source, target, kind)]
    _check(libc.mount(*arguments, ctypes.c_ulong(flags), data.encode()))


def _new_namespaces() -> bool:
    """Enter new mount, pid, network, IPC and host-name namespaces; False where that is refused."""
    uid, gid = os.getuid(), os.getgid()
    flags = NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS
    if libc.unshare(flags) == 0:
        return True
    if libc.unshare(flags | NEWUSER) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    return True


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 1)  # ifreq: IFF_UP
        fcntl.ioctl(s, 0x8914, request)  # SIOCSIFFLAGS


def _private_files() -> tuple[str, list[str], list[str]]:
    """Own /proc, read-only mounts, empty tmpfs where programs write.

    Returns the work directory, the directories to empty after each job, and what was refused.
    """
    refused = []
    needed = [sys.prefix, sys.base_prefix, os.path.abspath(__file__)]
    private = ["/dev/shm"]
    for directory in ("/tmp", "/var/tmp"):
        if not any(path.startswith(directory + "/") for path in needed):
            private.append(directory)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in points:
        if not point.startswith(("/proc", "/dev")):
            old = os.statvfs(point).f_flag if os.path.exists(point) else 0
            kept = sum(new for bit, new in KEPT_FLAGS.items() if old & bit)
            try:
                _mount("none", point, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
            except OSError:
                if point == "/":
                    refused.append("files that this user may write can be changed")
    size = f"size={TMPFS_MIB}m,nr_inodes=65536"
    for directory in private:
        if os.path.isdir(directory):
            _mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV, f"{size},mode=1777")
    # Over /run, which holds the sockets of this machine's services, and nothing that a program needs.
    _mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, f"{size},mode=711")
    root = "/run/srs"
    os.mkdir(root, 0o711)
    try:
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        refused.append("the process list of this machine is visible")
    return root, private, refused


def _open_closed_parents(needed: list[str]) -> None:
    """Where only root may enter a directory above what we need (a Python under ``/root``): cover it.

    Each such directory becomes, in our mount namespace, an empty one that holds what is needed.
    """
    covered: dict[str, list[str]] = {}
    for path in sorted({os.path.realpath(p) for p in needed}):
        closed = [p for p in Path(path).parents if not p.stat().st_mode & 0o001]
        if closed:
            covered.setdefault(str(closed[-1]), []).append(path)
    for parent, paths in covered.items():
        opened = [os.open(path, os.O_PATH) for path in paths]
        _mount("tmpfs", parent, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
        for fd, path in zip(opened, paths, strict=True):
            if not os.path.exists(path):
                os.makedirs(path, mode=0o755)
                _mount(f"/proc/self/fd/{fd}", path, None, MS_BIND)
            os.close(fd)


def _usable_as(uid: int, program: str) -> bool:
    """Whether that user can start this Python and read the worker's program."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        ok = os.access(sys.executable, os.X_OK) and os.access(program, os.R_OK)
        ok = ok and os.access(os.__file__, os.R_OK)
        os._exit(0 if ok else 1)
    return os.waitpid(pid, 0)[1] == 0


def main() -> None:
    options = json.loads(sys.argv[1])
    program = options["main"]
    refused = []
    root_user = os.getuid() == 0
    uid = FIRST_UID + os.getpid() * 2
    alone = _new_namespaces()
    scratch: list[str] = []
    if alone:
        pid = os.fork()
        if pid:
            for fd in (0, 1):
                os.close(fd)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            status = os.waitpid(pid, 0)[1]
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        _mount("none", "/", None, MS_REC | MS_PRIVATE)
        if root_user:
            _open_closed_parents([sys.base_prefix, sys.prefix, os.path.dirname(program)])
        root, scratch, more = _private_files()
        refused += more
        with contextlib.suppress(OSError):
            _loopback_up()
    else:
        refused += [
            "the network is reachable (no network namespace)",
            "files that this user may write can be changed (no mount namespace)",
        ]
        root = tempfile.mkdtemp(prefix="srs-sandbox-")
    os.chmod(root, 0o711)
    others = root_user and _usable_as(uid, program)
    if root_user and not others:
        refused.append(
            "programs run as root, without capabilities: no other user can use this Python"
        )
    refused += ["memory is limited per process, not in sum"]
    if root_user:
        for capability in range(64):
            if not others or capability not in KEPT_CAPABILITIES:
                libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    settings = {
        "root": root,
        "scratch": scratch,
        "readable": [sys.base_prefix],
        "candidate_uid": uid if others else None,
        "tests_uid": uid + 1 if others else None,
        # A plain user shares one process count with all they run, so a limit on it would hit others first.
        "nproc": others,
        "preload": [],
        "not_covered": refused,
    }
    os.chdir("/")
    python = [sys.executable, "-P", "-s", "-B", program, json.dumps(settings)]
    os.execv(sys.executable, python)


if __name__ == "__main__":
    main()
