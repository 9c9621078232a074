"""What a confined fork can't do, and what an honest program still can. Each case is a real fork."""

import contextlib
import ctypes
import errno
import mmap
import os
import signal
import socket
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import docker, image
from sandbox.inside import confine
from sandbox.seccomp import ALLOWED, docker_profile

FILTER = confine.seccomp_filter()
MACHINE = os.uname().machine
ABI = confine._landlock_abi()
COLUMN = list(confine.AUDIT_ARCHS).index(MACHINE) if MACHINE in confine.AUDIT_ARCHS else 0
PYTHON = (sys.prefix, sys.base_prefix, *filter(None, sys.path))
READABLE = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", *PYTHON)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/shm")
CLONE_NEWUSER, SIGCHLD, TIOCSTI = 0x1000_0000, 17, 0x5412
AF_PACKET, AF_ALG, AF_VSOCK, NETLINK_AUDIT = 17, 38, 40, 9
ADDR_NO_RANDOMIZE = 0x0040000
UPPER_HALF = 1 << 32
WRAPPED = (
    "ptrace process_vm_readv process_vm_writev unshare setns mount umount2 chroot quotactl "
    "name_to_handle_at shmget semget msgget fanotify_init acct swapon swapoff reboot sethostname "
    "setdomainname init_module delete_module"
)
"""Calls that C functions of the same name make, whatever their arguments."""

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.syscall.argtypes = [ctypes.c_long] * 7
needs_docker = pytest.mark.usefixtures("docker_daemon")
needs_seccomp = pytest.mark.skipif(FILTER is None, reason="no seccomp filter for this kernel")
needs_landlock = pytest.mark.skipif(not ABI, reason="no Landlock in this kernel")
needs_truncate = pytest.mark.skipif(
    ABI < confine.TRUNCATE_ABI, reason="Landlock lets truncate here"
)
needs_scopes = pytest.mark.skipif(ABI < confine.SCOPE_ABI, reason="Landlock has no scopes here")

HONEST = {
    "threads": """
        import threading
        seen = []
        threads = [threading.Thread(target=seen.append, args=(i,)) for i in range(8)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert sorted(seen) == list(range(8))
    """,
    "shell": """
        import subprocess
        said = subprocess.run(["/bin/sh", "-c", "echo hi"], capture_output=True, check=True)
        assert said.stdout == b"hi\\n"
    """,
    "interpreter": """
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "import threading, json, zlib"], check=True)
    """,
    "pool": """
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
    """,
    "queue": """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=queue.put, args=(7,))
        process.start()
        assert queue.get(timeout=20) == 7
        process.join()
    """,
    "shared memory": """
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=16)
        memory.buf[0] = 3
        memory.close()
        memory.unlink()
    """,
    "asyncio": """
        import asyncio, sys
        async def main():
            async def answer(reader, writer):
                writer.write(await reader.readline())
                await writer.drain()
                writer.close()
            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hi\\n")
            assert await reader.readline() == b"hi\\n"
            writer.close()
            server.close()
            child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 3")
            assert await child.wait() == 3
        asyncio.run(main())
    """,
    "sqlite": """
        import sqlite3
        with sqlite3.connect("a.db") as base:
            base.execute("pragma journal_mode = wal")
            base.execute("create table t (x)")
            base.execute("insert into t values (1)")
            assert base.execute("select x from t").fetchall() == [(1,)]
    """,
    "sockets": """
        import socket
        a, b = socket.socketpair()
        a.sendall(b"x")
        assert b.recv(1) == b"x"
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()):
                server.accept()[0].close()
        assert socket.getaddrinfo("localhost", 80)
        for address in ("s.sock", "\\0srs-%d" % __import__("os").getpid()):
            with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
                server.bind(address)
                server.listen()
                client.connect(address)
    """,
    "signals": """
        import os, signal, time
        os.close(os.pidfd_open(os.getpid()))
        rang = []
        signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        while not rang: time.sleep(0.01)
        signal.alarm(5)
        assert signal.alarm(0) > 0
        child = os.fork()
        if child == 0:
            time.sleep(60)
        os.kill(child, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
        group = os.fork()
        if group == 0:
            os.setpgid(0, 0)
            time.sleep(60)
        time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
        os.waitpid(group, 0)
    """,
    "limits": """
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        os.nice(1)
        os.sched_setaffinity(0, os.sched_getaffinity(0))
    """,
    "files": """
        import os, pathlib, shutil, tempfile
        with tempfile.TemporaryDirectory(dir=".") as directory:
            one = pathlib.Path(directory, "a", "b")
            one.parent.mkdir()
            one.write_text("x")
            os.symlink("b", one.parent / "link")
            os.mkfifo(one.parent / "fifo")
            one.rename(pathlib.Path(directory, "c"))
            shutil.move(pathlib.Path(directory, "c"), pathlib.Path(directory, "d"))
            assert pathlib.Path(directory, "d").read_text() == "x"
        open("/dev/null", "w").write("x")
        assert len(open("/dev/urandom", "rb").read(4)) == 4
        assert open("/dev/zero", "rb").read(1) == bytes(1)
        assert os.listdir("/proc/self/fd")
    """,
    "numpy": """
        try:
            import numpy
        except ModuleNotFoundError:
            pass
        else:
            assert numpy.linalg.inv(numpy.eye(64) * 2)[3, 3] == 0.5
    """,
}


def honest(name: str) -> None:
    exec(textwrap.dedent(HONEST[name]), {"__name__": "__main__"})


def in_fork(program: Callable[[], object], *, ruleset: int | None = None) -> str:
    """Filter a fork, confine it by ``ruleset``, run ``program`` in it: how that failed, or nothing."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if ruleset is not None:
                confine.install_landlock(ruleset)
            if FILTER is not None:
                confine.install_seccomp(FILTER)
            program()
            os._exit(0)
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return said or ("" if status == 0 else f"wait status {status}")


def refusal(number: int, *arguments: int) -> str:
    """The name of the error that a raw system call gives; empty when it went through."""
    padded = (*arguments, *[0] * 6)[:6]
    if libc.syscall(number, *padded) != -1:
        return ""
    return errno.errorcode[ctypes.get_errno()]


def number_of(name: str) -> int | None:
    return (confine.DENIED | confine.CHECKED | {"clone3": confine.CLONE3})[name][COLUMN]


def check(name: str, wanted: str, *arguments: int) -> None:
    number = number_of(name)
    assert number is not None
    assert refusal(number, *arguments) == wanted


# The filter ------------------------------------------------------------------------------------------


@needs_seccomp
def test_no_denied_call_gets_through() -> None:
    """Their arguments are nonsense: without the filter none would do anything or say EPERM to root."""

    def program() -> None:
        os.setsid()
        numbers = {name: number_of(name) for name in confine.DENIED}
        got = {name: refusal(n, *[-1] * 6) for name, n in numbers.items() if n is not None}
        assert {name: why for name, why in got.items() if why != "EPERM"} == {}

    assert in_fork(program) == ""


@needs_seccomp
@pytest.mark.parametrize(
    "name",
    WRAPPED.split(),
)
def test_the_numbers_are_those_of_libc(name: str) -> None:
    def program() -> None:
        assert getattr(libc, name)(*[ctypes.c_long(-1)] * 6) == -1
        assert errno.errorcode[ctypes.get_errno()] == "EPERM"

    assert in_fork(program) == ""


@needs_seccomp
@pytest.mark.parametrize(
    ("name", "wanted", "arguments"),
    [
        ("ptrace", "EPERM", ()),
        ("unshare", "EPERM", ()),
        ("clone", "EPERM", (CLONE_NEWUSER | SIGCHLD,)),
        ("clone3", "ENOSYS", ()),
        ("io_uring_setup", "EPERM", (1,)),
        ("socket", "EPERM", (AF_VSOCK, socket.SOCK_STREAM)),
        ("socket", "EPERM", (AF_VSOCK | UPPER_HALF, socket.SOCK_STREAM)),
        ("socket", "EPERM", (AF_ALG, socket.SOCK_SEQPACKET)),
        ("socket", "EPERM", (AF_PACKET, socket.SOCK_RAW)),
        ("socket", "EPERM", (confine.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)),
        ("socketpair", "EPERM", (AF_VSOCK, socket.SOCK_STREAM)),
        ("personality", "EPERM", (ADDR_NO_RANDOMIZE,)),
        ("personality", "", (0xFFFF_FFFF,)),
        ("personality", "", (0,)),
        ("ioctl", "EPERM", (-1, TIOCSTI)),
        ("ioctl", "EPERM", (-1, TIOCSTI | UPPER_HALF)),
        ("ioctl", "EBADF", (-1, 0x5413)),
        ("prlimit64", "", (0,)),
    ],
)
def test_arguments_decide(name: str, wanted: str, arguments: tuple[int, ...]) -> None:
    assert in_fork(lambda: check(name, wanted, *arguments)) == ""


@needs_seccomp
@pytest.mark.parametrize(
    "name",
    [
        "prlimit64",
        "sched_setaffinity",
        "sched_setscheduler",
        "sched_setparam",
        "sched_setattr",
    ],
)
def test_the_workers_limits_and_share_of_the_cpu_are_its_own(name: str) -> None:
    assert in_fork(lambda: check(name, "EPERM", os.getppid())) == ""


@needs_seccomp
def test_the_workers_priority_is_its_own() -> None:
    def program() -> None:
        for which, who in ((os.PRIO_PROCESS, os.getppid()), (os.PRIO_USER, 0)):
            check("setpriority", "EPERM", which, who, 5)
        check("ioprio_set", "EPERM", 1, os.getppid(), 0)
        check("ioprio_set", "EPERM", 3, 0, 0)

    assert in_fork(program) == ""


@needs_seccomp
@pytest.mark.skipif(MACHINE != "x86_64", reason="only x86_64 has a second way into the kernel")
def test_calls_by_their_32_bit_numbers_do_not_exist() -> None:
    def program() -> None:
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(bytes.fromhex("b8 14000000 cd80 c3"))  # mov eax, 20 (getpid); int 0x80; ret
        getpid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        assert getpid() == -errno.ENOSYS

    assert in_fork(program) == ""


def decision(column: int, number: int, *arguments: int, arch: int | None = None) -> str:
    """What the program decides, run here as the kernel would run it."""
    program = confine.instructions(column)
    words = {confine.NUMBER_OFFSET: number & 0xFFFF_FFFF}
    words[confine.ARCH_OFFSET] = (
        list(confine.AUDIT_ARCHS.values())[column] if arch is None else arch
    )
    for index, value in enumerate((*arguments, *[0] * 6)[:6]):
        words[confine.ARGUMENTS_OFFSET + 8 * index] = value & 0xFFFF_FFFF
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        match code:
            case confine.LOAD:
                loaded, met = words[constant], None
            case confine.EQUAL:
                met = loaded == constant
            case confine.AT_LEAST:
                met = loaded >= constant
            case confine.ANY_BIT:
                met = bool(loaded & constant)
            case confine.RETURN:
                return errno.errorcode[constant & 0xFFFF] if constant >> 16 == 5 else "allowed"
        at += 1 if met is None else 1 + (if_true if met else if_false)


@pytest.mark.parametrize("column", range(len(confine.AUDIT_ARCHS)), ids=confine.AUDIT_ARCHS)
def test_every_number_of_either_architecture_is_decided_as_the_tables_say(column: int) -> None:
    denied = {numbers[column] for numbers in confine.DENIED.values()}
    checked = {numbers[column] for numbers in confine.CHECKED.values()}
    for number in range(512):
        if number in checked:
            continue
        wanted = "allowed"
        if number in denied:
            wanted = "EPERM"
        elif number == confine.CLONE3[column] or number > 469:  # nothing after Linux 6.17
            wanted = "ENOSYS"
        assert decision(column, number) == wanted, number
    assert decision(column, 0x4000_0000 | 39) == "ENOSYS"  # x32's getpid
    assert decision(column, -1) == "ENOSYS"
    assert decision(column, 39, arch=0x4000_0003) == "ENOSYS"


@pytest.mark.parametrize("column", range(len(confine.AUDIT_ARCHS)), ids=confine.AUDIT_ARCHS)
def test_arguments_decide_on_either_architecture(column: int) -> None:
    def of(name: str, *arguments: int) -> str:
        return decision(column, confine.CHECKED[name][column], *arguments)

    assert of("clone", SIGCHLD) == of("clone", 0x003D_0F00) == "allowed"
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert of("clone", SIGCHLD | 1 << bit) == "EPERM", bit
    families = [family for family in range(48) if of("socket", family) == "allowed"]
    assert families == [confine.AF_UNIX, confine.AF_INET, confine.AF_INET6, confine.AF_NETLINK]
    assert of("socket", confine.AF_NETLINK, 3, NETLINK_AUDIT) == "EPERM"
    assert of("ioctl", 0, TIOCSTI) == of("ioctl", 0, 0x541C) == "EPERM"
    assert of("ioctl", 0, 0x5401) == "allowed"
    assert of("personality", 0xFFFF_FFFF) == "allowed"
    assert of("personality", 8) == "EPERM"
    assert of("prlimit64", 1) == "EPERM"
    assert of("setpriority", 0, 0, 5) == "allowed"
    assert of("setpriority", 2, 0, 5) == "EPERM"


# Honest programs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ruleset = confine.landlock(READABLE, [*DEVICES, str(tmp_path)])
    try:
        assert in_fork(lambda: honest(name), ruleset=ruleset) == ""
    finally:
        if ruleset is not None:
            os.close(ruleset)


# Landlock --------------------------------------------------------------------------------------------


def confined(program: Callable[[], object], readable: Path, writable: Path) -> str:
    ruleset = confine.landlock([*READABLE, str(readable)], [*DEVICES, str(writable)])
    assert ruleset is not None
    try:
        return in_fork(program, ruleset=ruleset)
    finally:
        os.close(ruleset)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A directory to read, one to write and one that nobody listed, with a file in each."""
    found = tuple(tmp_path / name for name in ("readable", "writable", "outside"))
    for directory in found:
        directory.mkdir()
        (directory / "file").write_text("x")
    return found[0], found[1], found[2]


def denied(action: Callable[[], object], code: int = errno.EACCES) -> None:
    with pytest.raises(OSError, check=lambda e: e.errno == code):
        action()


@needs_landlock
def test_what_is_listed_can_be_read_and_written(places: tuple[Path, Path, Path]) -> None:
    readable, writable, _ = places

    def program() -> None:
        assert (readable / "file").read_text() == "x"
        assert [p.name for p in readable.iterdir()] == ["file"]
        (writable / "file").write_text("y")
        (writable / "new").mkdir()
        (writable / "file").rename(writable / "other")

    assert confined(program, readable, writable) == ""
    assert (writable / "other").read_text() == "y"


@needs_landlock
def test_what_is_not_listed_can_not_be_read(places: tuple[Path, Path, Path]) -> None:
    readable, writable, outside = places

    def program() -> None:
        denied((outside / "file").read_text)
        denied(lambda: list(outside.iterdir()))
        denied(lambda: (writable / "link").hardlink_to(outside / "file"), errno.EXDEV)
        (writable / "symlink").symlink_to(outside / "file")
        denied((writable / "symlink").read_text)

    assert confined(program, readable, writable) == ""


@needs_landlock
def test_what_is_only_readable_can_not_be_changed(places: tuple[Path, Path, Path]) -> None:
    readable, writable, _ = places

    def program() -> None:
        denied(lambda: (readable / "file").write_text("y"))
        denied(lambda: (readable / "new").write_text("y"))
        denied((readable / "file").unlink)
        denied(lambda: (readable / "new").mkdir())

    assert confined(program, readable, writable) == ""


@needs_truncate
def test_what_is_only_readable_can_not_be_emptied(places: tuple[Path, Path, Path]) -> None:
    file = places[0] / "file"
    assert confined(lambda: denied(lambda: os.truncate(file, 0)), *places[:2]) == ""


@needs_scopes
def test_the_worker_can_not_be_signalled(places: tuple[Path, Path, Path]) -> None:
    def program() -> None:
        denied(lambda: os.kill(os.getppid(), 0), errno.EPERM)
        descriptor = os.pidfd_open(os.getppid())
        denied(lambda: signal.pidfd_send_signal(descriptor, 0), errno.EPERM)
        honest("signals")

    assert confined(program, *places[:2]) == ""


@needs_scopes
def test_abstract_sockets_outside_can_not_be_reached(places: tuple[Path, Path, Path]) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0srs-confine-{os.getpid()}")
        server.listen()

        def program() -> None:
            with socket.socket(socket.AF_UNIX) as client:
                denied(lambda: client.connect(server.getsockname()), errno.EPERM)

        assert confined(program, *places[:2]) == ""


@needs_landlock
def test_no_program_gets_hold_of_the_rules_of_later_ones(places: tuple[Path, Path, Path]) -> None:
    _, writable, outside = places
    ruleset = confine.landlock([*READABLE, "/no/such/path"], [*DEVICES, str(writable)])
    assert ruleset is not None
    try:
        assert (
            in_fork(lambda: denied(lambda: os.fstat(ruleset), errno.EBADF), ruleset=ruleset) == ""
        )
        assert in_fork(lambda: denied((outside / "file").read_text), ruleset=ruleset) == ""
    finally:
        os.close(ruleset)


# What a kernel lacks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("abi", "told"),
    [
        (0, ["can be read", "can be signalled"]),
        (2, ["can be emptied", "can be signalled"]),
        (5, ["can be signalled"]),
        (6, []),
    ],
)
def test_what_this_kernel_lacks_is_said(
    abi: int, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confine, "_landlock_abi", lambda: abi)
    monkeypatch.setattr(confine, "_kernel_filters", lambda _: True)
    monkeypatch.setattr(confine, "_column", lambda: 0)
    said = confine.missing()
    assert len(said) == len(told)
    assert all(phrase.endswith(end) for phrase, end in zip(said, told, strict=True))


def test_a_kernel_or_machine_without_filters_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine, "_kernel_filters", lambda _: False)
    assert confine.seccomp_filter() is None
    assert confine.missing()[0].startswith("no seccomp filter")
    monkeypatch.setattr(confine, "_column", lambda: None)
    assert confine.seccomp_filter() is None
    assert MACHINE in confine.missing()[0]


def test_a_kernel_without_landlock_gets_no_ruleset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine, "_landlock_abi", lambda: 0)
    assert confine.landlock(READABLE, DEVICES) is None


# The container's profile -----------------------------------------------------------------------------


def test_the_profile_names_no_call_that_is_denied_inside() -> None:
    names = ALLOWED.split()
    assert len(names) == len(set(names))
    assert not set(names) & set(confine.DENIED)
    assert set(names) & set(confine.CHECKED) == {"ioctl"}
    assert set(confine.ALLOWED_ARGUMENTS) == set(confine.CHECKED) - {"ioctl", "clone"}


IN_CONTAINER = """
import os, sys, tempfile, traceback
filter, ruleset = seccomp_filter(), landlock(["/"], ["/tmp", "/dev/null", "/dev/shm"])

def refusal(number, *arguments):
    try:
        _call(number, *arguments)
    except OSError as e:
        return errno.errorcode[e.errno]
    return ""

def number(name):
    return (DENIED | CHECKED)[name][_column()]

def fork(program):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(tempfile.mkdtemp())
            program()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]

def denied():
    got = {name: refusal(number(name), -1, -1, -1, -1) for name in DENIED if number(name) is not None}
    assert not {name: why for name, why in got.items() if why not in ("EPERM", "ENOSYS")}, got
    assert refusal(number("clone"), 0x10000011) == "EPERM"
    assert refusal(number("socket"), 40, 1, 0) == "EPERM"
    assert refusal(number("prlimit64"), 1) == "EPERM"
    assert refusal(CLONE3[_column()]) == "ENOSYS", refusal(CLONE3[_column()])

def inside(source):
    if ruleset is not None:
        install_landlock(ruleset)
    install_seccomp(filter)
    exec(source, {"__name__": "__main__"})

assert filter is not None
failed = [] if fork(denied) == 0 else ["denied"]
for name, source in HONEST.items():
    if fork(lambda: exec(source, {"__name__": "__main__"})):
        failed.append(name + ", unfiltered")
    if fork(lambda: inside(source)):
        failed.append(name)
print("failed:", failed)
"""


@needs_docker
def test_a_container_with_the_profile_runs_honest_programs_only() -> None:
    programs = {name: textwrap.dedent(text) for name, text in HONEST.items()}
    source = Path(confine.__file__).read_text(encoding="utf-8")
    script = f"{source}\nHONEST = {programs!r}\n{IN_CONTAINER}"
    with contextlib.closing(docker.connect()) as client:
        container = client.containers.create(
            image.tag(),
            entrypoint=["python3", "-c", script],
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges", f"seccomp={docker_profile()}"],
            tmpfs={"/tmp": "rw,nosuid,nodev,size=64m,mode=1777"},
        )
        try:
            container.start()
            status = container.wait(timeout=120)["StatusCode"]
            said = container.logs().decode("utf-8", "replace")
        finally:
            container.remove(force=True)
    assert status == 0, said
    assert said.endswith("failed: []\n"), said
