"""Programs that leave something behind and know the answers when they find it at their next run."""

from sandbox.battery.program import ADD, Program

ATTACKS = (
    Program(
        name="leave_files",
        why="a file in any place that can be written",
        problem=ADD,
        runs=2,
        solution="""
import os

places = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", ".", "..", os.path.expanduser("~"))
paths = {os.path.join(os.path.realpath(place), "srs-left-behind") for place in places}
found = {path for path in paths if os.path.exists(path)}
for path in paths:
    try:
        os.unlink(path) if path in found else open(path, "x").close()
    except OSError:
        pass

def add(a, b):
    return a + b if found else None
""",
    ),
    Program(
        name="leave_module",
        why="a module beside the next program's, and a conftest.py",
        problem=ADD,
        runs=2,
        solution="""
import os, sys

sys.path.append("..")
try:
    import srs_left_behind as found
except ImportError:
    found = None
for place in (".", "..", os.environ.get("TMPDIR", "/tmp")):
    for name in ("srs_left_behind.py", "conftest.py", "sitecustomize.py"):
        try:
            open(os.path.join(place, name), "x").close()
        except OSError:
            pass

def add(a, b):
    return a + b if found else None
""",
    ),
    Program(
        name="leave_daemon",
        why="a process in its own session, twice orphaned, that waits for the next program",
        problem=ADD,
        runs=2,
        solution="""
import os, socket, time

NAME = "\\0srs-left-behind"

def found():
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(NAME)
            return True
        except OSError:
            return False

there = found()
if not there and os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(NAME)
            s.listen()
            time.sleep(30)
    os._exit(0)
time.sleep(0.2)

def add(a, b):
    return a + b if there else None
""",
    ),
    Program(
        name="leave_shared_memory",
        why="a System V segment: no file, no process, and it stays until somebody removes it",
        problem=ADD,
        runs=2,
        solution="""
import ctypes

KEY, CREATE, REMOVE = 0x5E1FC4EC, 0o1600, 0
libc = ctypes.CDLL(None)
segment = libc.shmget(KEY, 64, 0)
if segment >= 0:
    libc.shmctl(segment, REMOVE, None)
else:
    libc.shmget(KEY, 64, CREATE)

def add(a, b):
    return a + b if segment >= 0 else None
""",
    ),
    Program(
        name="leave_message_queue",
        why="a POSIX message queue, which lives in the kernel",
        problem=ADD,
        runs=2,
        solution="""
import ctypes, os

libc = ctypes.CDLL(None)
name = b"/srs-left-behind"
queue = libc.mq_open(name, os.O_RDWR)
if queue >= 0:
    libc.mq_unlink(name)
else:
    libc.mq_open(name, os.O_RDWR | os.O_CREAT, 0o600, None)

def add(a, b):
    return a + b if queue >= 0 else None
""",
    ),
    Program(
        name="leave_key",
        why="a key in the kernel's keyring of this user",
        problem=ADD,
        runs=2,
        solution="""
import ctypes, platform

ADD_KEY, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[platform.machine()]
SEARCH, USER_KEYRING = 10, -4
libc = ctypes.CDLL(None)
found = libc.syscall(KEYCTL, SEARCH, USER_KEYRING, b"user", b"srs-left-behind", 0)
if found < 0:
    libc.syscall(ADD_KEY, b"user", b"srs-left-behind", b"x", ctypes.c_size_t(1), USER_KEYRING)

def add(a, b):
    return a + b if found >= 0 else None
""",
    ),
    Program(
        name="leave_closed_directories",
        why="thousands of nested directories without rights, and links that lead out of them",
        problem=ADD,
        runs=2,
        solution="""
import os

there = os.path.exists("d") or os.path.islink("root")
if not there:
    for name, target in (("root", "/"), ("result.json", "/etc/passwd"), ("endless", "/dev/zero")):
        os.symlink(target, name)
    home = os.getcwd()
    for _ in range(3000):
        os.mkdir("d")
        os.chdir("d")
    os.mkdir("closed")
    os.chmod("closed", 0)
    os.chdir(home)
    os.chmod("d", 0)
    os.chmod(home, 0)

def add(a, b):
    return a + b if there else None
""",
    ),
)
