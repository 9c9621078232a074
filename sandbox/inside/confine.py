"""What a fork gives up for good before it runs a program nobody trusts: system calls, files, signals.

A seccomp filter takes away the kernel's rarely used entrances and every call that reaches a neighbour
of the same user; a Landlock domain takes away files, and signals to whoever is outside the domain.
Both hold across ``exec`` and for all descendants. They are prepared once; what is left for the fork is
two system calls for each. Neither needs privileges.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import functools
import os
import stat
import struct
from collections.abc import Iterable, Sequence

Instruction = tuple[int, int, int, int]
"""Classic BPF: code, jump if true, jump if false, constant. A jump counts the instructions it skips."""

# x86_64, aarch64; None where the architecture has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # Other processes: their memory and descriptors.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "process_madvise": (440, 440),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "process_mrelease": (448, 448),
    # Where the kernel's holes were found.
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "userfaultfd": (323, 282), "bpf": (321, 280), "perf_event_open": (298, 241),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "modify_ldt": (154, None),
    # File systems and namespaces.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "open_tree_attr": (467, 467), "unshare": (272, 97),
    "setns": (308, 268), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "lookup_dcookie": (212, 18),
    # Shared memory, semaphores and queues that outlive the process that made them.
    "shmget": (29, 194), "shmctl": (31, 195), "shmat": (30, 196), "shmdt": (67, 197),
    "semget": (64, 190), "semctl": (66, 191), "semtimedop": (220, 192), "semop": (65, 193),
    "msgget": (68, 186), "msgctl": (71, 187), "msgrcv": (70, 188), "msgsnd": (69, 189),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183), "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
    # The machine.
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "create_module": (174, None), "query_module": (178, None), "get_kernel_syms": (177, None),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "settimeofday": (164, 170),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "iopl": (172, None), "ioperm": (173, None), "vhangup": (153, 58), "nfsservctl": (180, 42),
    "uselib": (134, None), "_sysctl": (156, None),
}  # fmt: skip

CHECKED: dict[str, tuple[int, int]] = {
    "clone": (56, 220), "ioctl": (16, 29), "socket": (41, 198), "socketpair": (53, 199),
    "personality": (135, 92), "prlimit64": (302, 261), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
}  # fmt: skip
"""Calls that are denied or not by their arguments, as the three tables below say."""
CLONE3 = (435, 435)
SECCOMP = (317, 277)
SETSID = (112, 157)
NEWEST = 469
"""file_setattr of Linux 6.17. Calls that came later don't exist for a program; nor do those of x32."""

NEW_NAMESPACES = 0x7E02_0000  # every CLONE_NEW* bit that clone's flags can hold
DENIED_IOCTLS = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX type into somebody else's terminal
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, NETLINK_ROUTE = 1, 2, 10, 16, 0
OWN_PROCESS: tuple[dict[int, int], ...] = ({0: 0},)
ALLOWED_ARGUMENTS: dict[str, tuple[dict[int, int], ...]] = {
    # getaddrinfo asks NETLINK_ROUTE for the machine's addresses.
    "socket": ({0: AF_UNIX}, {0: AF_INET}, {0: AF_INET6}, {0: AF_NETLINK, 2: NETLINK_ROUTE}),
    "socketpair": ({0: AF_UNIX},),
    "personality": ({0: 0}, {0: 0xFFFF_FFFF}),
    # A worker has the user id of what it runs: its limits and its share of the CPU, which every later
    # fork inherits, would be anybody's to lower. Landlock knows no such right.
    "prlimit64": OWN_PROCESS,
    "sched_setaffinity": OWN_PROCESS,
    "sched_setscheduler": OWN_PROCESS,
    "sched_setparam": OWN_PROCESS,
    "sched_setattr": OWN_PROCESS,
    "setpriority": ({0: 0, 1: 0},),
    "ioprio_set": ({0: 1, 1: 0},),
}
"""Alternatives, each ``{argument: value}``: the call is allowed when all values of one of them match."""

OF_A_USER: dict[str, tuple[dict[int, int], ...]] = {
    "setpriority": (*ALLOWED_ARGUMENTS["setpriority"], {0: 2, 2: 19}),
}
"""Where programs have a user of their own: all of its processes may go last (`sandbox.inside.crowd`)."""

AUDIT_ARCHS = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_OFFSET, ARCH_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16  # in struct seccomp_data
RET_ALLOW, RET_ERRNO = 0x7FFF_0000, 0x0005_0000
SECCOMP_SET_MODE_FILTER = 1
PR_SET_NO_NEW_PRIVS = 38

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION, LANDLOCK_RULE_PATH_BENEATH = 1, 1
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, LANDLOCK_SCOPE_SIGNAL = 1, 2
LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF = 1
TRUNCATE_ABI, IOCTL_ABI, SCOPE_ABI, LOG_ABI = 3, 5, 6, 7
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
RIGHTS_BY_ABI = {1: 13, 2: 14, TRUNCATE_ABI: 15, 4: 15, IOCTL_ABI: 16}
RIGHTS_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.syscall.argtypes = [ctypes.c_long] * 5


def _call(number: int, *arguments: int) -> int:
    """A system call of up to four arguments, addresses as integers. Raises OSError."""
    result: int = libc.syscall(number, *arguments, *[0] * (4 - len(arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _no_new_privs() -> None:
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


# seccomp ---------------------------------------------------------------------------------------------


class _Header(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A seccomp program in the kernel's form; ``seccomp`` is the number of the call that installs it."""

    seccomp: int
    header: _Header


def seccomp_filter(*, own_users: bool = False) -> Filter | None:
    """The filter for this machine; None when the kernel or the architecture has none.

    ``own_users``: candidates run as users that nobody else is.
    """
    column = _column()
    if column is None or not _kernel_filters(SECCOMP[column]):
        return None
    return _filter(column, instructions(column, own_users=own_users))


def session_filter() -> Filter | None:
    """Another, under which setsid does nothing and says that it worked; None as above.

    The kernel shares the cores between sessions where it groups them (sched_autogroup): a program that
    starts many would have as many shares.
    """
    column = _column()
    if column is None or not _kernel_filters(SECCOMP[column]):
        return None
    number = (LOAD, 0, 0, NUMBER_OFFSET)
    return _filter(column, [number, (EQUAL, 0, 1, SETSID[column]), *_errno(0), *_ALLOW])


def _filter(column: int, program: Sequence[Instruction]) -> Filter:
    code = b"".join(struct.pack("=HBBI", *i) for i in program)
    return Filter(seccomp=SECCOMP[column], header=_Header(len(program), code))


def install_seccomp(filter: Filter) -> None:
    """Filter the system calls of this thread and all it starts; sets no_new_privs. Raises OSError.

    Takes about 0.1 ms, in which the kernel compiles the program. A worker that itself needs none of
    the denied calls installs it once, and its forks inherit it.
    """
    _no_new_privs()
    _call(filter.seccomp, SECCOMP_SET_MODE_FILTER, 0, ctypes.addressof(filter.header))


def instructions(column: int, *, own_users: bool = False) -> list[Instruction]:
    """The program for one column of the tables: 0 = x86_64, 1 = aarch64.

    A search tree over the call's number, for the kernel runs through it for every number when it
    installs the filter, so as to let through without it what is always allowed.
    """
    blocks = {number[column]: _errno(errno.EPERM) for number in DENIED.values()}
    allowed = {**ALLOWED_ARGUMENTS, **(OF_A_USER if own_users else {})}
    blocks |= {number[column]: _checks(name, allowed) for name, number in CHECKED.items()}
    blocks[CLONE3[column]] = _errno(errno.ENOSYS)  # its flags are out of reach; libc takes clone
    segments = [(0, _ALLOW)]
    for number in sorted(n for n in blocks if n is not None):
        _append(segments, number, blocks[number])
        _append(segments, number + 1, _ALLOW)
    _append(segments, NEWEST + 1, _errno(errno.ENOSYS))
    return [
        (LOAD, 0, 0, ARCH_OFFSET),
        (EQUAL, 1, 0, list(AUDIT_ARCHS.values())[column]),
        *_errno(errno.ENOSYS),  # the numbers below mean other calls to a 32-bit program
        (LOAD, 0, 0, NUMBER_OFFSET),
        *_tree(segments),
    ]


Block = tuple[Instruction, ...]
"""Instructions that end with a decision on every path."""
_ALLOW: Block = ((RETURN, 0, 0, RET_ALLOW),)


def _errno(code: int) -> Block:
    return ((RETURN, 0, 0, RET_ERRNO | code),)


def _append(segments: list[tuple[int, Block]], start: int, block: Block) -> None:
    """From number ``start`` on, ``block`` decides."""
    if segments[-1][0] == start:
        segments.pop()
    if not segments or segments[-1][1] != block:
        segments.append((start, block))


def _tree(segments: Sequence[tuple[int, Block]]) -> Block:
    """The block of the last segment whose start is not above the loaded number."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    below, above = _tree(segments[:middle]), _tree(segments[middle:])
    return ((AT_LEAST, len(below), 0, segments[middle][0]), *below, *above)


def _checks(name: str, allowed: dict[str, tuple[dict[int, int], ...]]) -> Block:
    """The decision by arguments. Those checked here are 32 bits wide, so the kernel too reads no more."""
    if name == "clone":
        return (_argument(0), (ANY_BIT, 0, 1, NEW_NAMESPACES), *_errno(errno.EPERM), *_ALLOW)
    if name == "ioctl":
        block: Block = _ALLOW
        for value in DENIED_IOCTLS:
            block = ((EQUAL, 0, 1, value), *_errno(errno.EPERM), *block)
        return (_argument(1), *block)
    block = _errno(errno.EPERM)
    for alternative in reversed(allowed[name]):
        match: Block = _ALLOW
        for index, value in reversed(alternative.items()):
            match = (_argument(index), (EQUAL, 0, len(match), value), *match)
        block = (*match, *block)
    return block


def _argument(index: int) -> Instruction:
    return (
        LOAD,
        0,
        0,
        ARGUMENTS_OFFSET + 8 * index,
    )  # the low half: both machines are little-endian


def _column() -> int | None:
    machine = os.uname().machine
    known = machine in AUDIT_ARCHS and ctypes.sizeof(ctypes.c_void_p) == 8
    return list(AUDIT_ARCHS).index(machine) if known else None


def _kernel_filters(seccomp: int) -> bool:
    """A kernel that knows filters gets as far as reading the program, which isn't there."""
    try:
        _call(seccomp, SECCOMP_SET_MODE_FILTER, 0, 0)
    except OSError as e:
        return e.errno == errno.EFAULT
    return True


# Landlock --------------------------------------------------------------------------------------------


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr. An older kernel takes the longer form while the new part is zero."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock(readable: Sequence[str], writable: Sequence[str]) -> int | None:
    """A ruleset, as a descriptor; None when the kernel has no Landlock. Raises OSError.

    Below ``readable`` (directories or files) a program may read and execute, below ``writable`` do
    anything, elsewhere open nothing. A path that can't be reached is skipped. A rule sticks to the
    directory that is there now: one that is removed and made again is no longer covered.
    """
    abi = _landlock_abi()
    if not abi:
        return None
    handled = (1 << RIGHTS_BY_ABI[min(abi, IOCTL_ABI)]) - 1
    scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL
    ruleset = _Ruleset(handled, 0, scoped if abi >= SCOPE_ABI else 0)
    fd = _call(LANDLOCK_CREATE_RULESET, ctypes.addressof(ruleset), ctypes.sizeof(ruleset))
    try:
        _allow(fd, readable, EXECUTE | READ_FILE | READ_DIR)
        _allow(fd, writable, handled)
    except OSError:
        os.close(fd)
        raise
    return fd


def _allow(ruleset: int, paths: Iterable[str], rights: int) -> None:
    for path in paths:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        try:
            directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            rule = _PathBeneath(rights if directory else rights & RIGHTS_OF_FILES, fd)
            _call(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, ctypes.addressof(rule))
        finally:
            os.close(fd)


def install_landlock(ruleset_fd: int) -> None:
    """Confine this thread and all it starts; sets no_new_privs. Raises OSError.

    Closes the descriptor: a program that held it could add rules, which later forks would get.
    """
    _no_new_privs()
    # Each denied access would be a line in the audit log, as many as a program likes.
    flags = LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF if _landlock_abi() >= LOG_ABI else 0
    _call(LANDLOCK_RESTRICT_SELF, ruleset_fd, flags)
    os.close(ruleset_fd)


@functools.cache
def _landlock_abi() -> int:
    """Landlock's version in this kernel; 0 when there is none."""
    try:
        return _call(LANDLOCK_CREATE_RULESET, 0, 0, LANDLOCK_CREATE_RULESET_VERSION)
    except OSError:
        return 0


# What is not there -----------------------------------------------------------------------------------


def missing() -> tuple[str, ...]:
    """What this kernel can't take away from a program, one phrase each."""
    column, abi = _column(), _landlock_abi()
    phrases = []
    if column is None:
        phrases.append(f"no seccomp filter for {os.uname().machine}: any system call can be made")
    elif not _kernel_filters(SECCOMP[column]):
        phrases.append("no seccomp filters in this kernel: any system call can be made")
    if not abi:
        phrases.append("no Landlock: files that this user may read can be read")
    elif abi < TRUNCATE_ABI:
        phrases.append(f"Landlock version {abi}: files that this user may write can be emptied")
    if abi < SCOPE_ABI:
        phrases.append("no Landlock scopes: other processes of this user can be signalled")
    return tuple(phrases)
