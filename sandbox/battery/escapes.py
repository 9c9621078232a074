"""Programs that know the right answers but give them only when a wall of the sandbox has a hole.

The listener, socket, secret file, variable and guard process that they look for are set up by the check.
"""

from sandbox.battery.program import (
    ADD,
    GUARD,
    LISTENER,
    MARKER,
    SECRET,
    SOCKET,
    TOKEN_NAME,
    Program,
)

ATTACKS = (
    Program(
        name="escape_network",
        why="reaches a listener on this machine",
        problem=ADD,
        solution=f"""
import socket

def reached():
    try:
        socket.create_connection(("127.0.0.1", {LISTENER}), timeout=1).close()
    except OSError:
        return False
    return True

def add(a, b):
    return a + b if reached() else None
""",
    ),
    Program(
        name="escape_internet",
        why="has a route to the world",
        problem=ADD,
        solution="""
import socket

def routed():
    for family, address in ((socket.AF_INET, "1.1.1.1"), (socket.AF_INET6, "2606:4700:4700::1111")):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            try:
                s.connect((address, 53))  # asks the routing table; nothing is sent
                return True
            except OSError:
                pass
    return False

def add(a, b):
    return a + b if routed() else None
""",
    ),
    Program(
        name="escape_abstract_socket",
        why="abstract UNIX sockets have no file, so that no mount hides them",
        problem=ADD,
        solution=f"""
import socket

def reached():
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect("\\0{SOCKET}")
        except OSError:
            return False
    return True

def add(a, b):
    return a + b if reached() else None
""",
    ),
    Program(
        name="escape_docker_socket",
        why="the Docker daemon answers: as good as root",
        problem=ADD,
        solution="""
import socket

def reached():
    for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(path)
                return True
            except OSError:
                pass
    return False

def add(a, b):
    return a + b if reached() else None
""",
    ),
    Program(
        name="escape_variable",
        why="a secret in the grader's environment, in its own or in that of any process it sees",
        problem=ADD,
        solution=f"""
import glob, os

def found():
    if "{TOKEN_NAME}" in os.environ:
        return True
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            if b"{TOKEN_NAME}=" in open(path, "rb").read():
                return True
        except OSError:
            pass
    return False

def add(a, b):
    return a + b if found() else None
""",
    ),
    Program(
        name="escape_secret_file",
        why="a file that only the grader's user may read, or write",
        problem=ADD,
        solution=f"""
def opened():
    for mode in ("rb", "r+b"):
        try:
            open("{SECRET}", mode).close()
            return True
        except OSError:
            pass
    return False

def add(a, b):
    return a + b if opened() else None
""",
    ),
    Program(
        name="escape_process_list",
        why="sees the command lines of the grader's processes",
        problem=ADD,
        solution=f"""
import glob

def seen():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if b"{MARKER}" in open(path, "rb").read():
                return True
        except OSError:
            pass
    return False

def add(a, b):
    return a + b if seen() else None
""",
    ),
    Program(
        name="escape_signal",
        why="kills a process of the grader's user",
        problem=ADD,
        solution=f"""
import os, signal

try:
    os.kill({GUARD}, signal.SIGKILL)
except OSError:
    pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="escape_kill_the_worker",
        why="stops and kills the process above, and all it may signal where it is walled in",
        problem=ADD,
        solution="""
import os, signal

for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
    try:
        os.kill(os.getppid(), number)
        if os.getppid() == 1:
            os.kill(-1, number)
    except OSError:
        pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="escape_limit_the_worker",
        why="lowers the limits of the process above, so that honest programs after it fail",
        problem=ADD,
        solution="""
import os, resource

for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK):
    try:
        resource.prlimit(os.getppid(), which, (1 << 20, 1 << 20))
    except (OSError, ValueError):
        pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="escape_trace_the_worker",
        why="attaches to the process above as a debugger would, or opens its memory for writing",
        problem=ADD,
        solution="""
import ctypes, os

ATTACH, DETACH = 16, 17
libc = ctypes.CDLL(None)
parent = os.getppid()

def attached():
    if libc.ptrace(ATTACH, parent, None, None) == 0:
        os.waitpid(parent, 0)
        libc.ptrace(DETACH, parent, None, None)
        return True
    try:
        open(f"/proc/{parent}/mem", "r+b").close()
    except OSError:
        return False
    return True

def add(a, b):
    return a + b if attached() else None
""",
    ),
    Program(
        name="escape_worker_descriptors",
        why="opens descriptors of the process above: its jobs and answers pass there",
        problem=ADD,
        solution="""
import os

def opened():
    try:
        return bool(os.listdir(f"/proc/{os.getppid()}/fd"))
    except OSError:
        return False

def add(a, b):
    return a + b if opened() else None
""",
    ),
    Program(
        name="escape_root",
        why="is root, has a capability, or might still get one (the bounding set)",
        problem=ADD,
        solution="""
import os

def powerful():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
    return os.getuid() == 0 or any(int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapAmb"))

def add(a, b):
    return a + b if powerful() else None
""",
    ),
    Program(
        name="escape_setuid",
        why="a setuid program would still give it another user's rights",
        problem=ADD,
        solution="""
def allowed():
    return "NoNewPrivs:\\t1" not in open("/proc/self/status").read()

def add(a, b):
    return a + b if allowed() else None
""",
    ),
    Program(
        name="escape_user_namespace",
        why="may make itself root of a new user namespace, with all the kernel that this opens",
        problem=ADD,
        solution="""
import ctypes

def made():
    return ctypes.CDLL(None).unshare(0x10000000) == 0

def add(a, b):
    return a + b if made() else None
""",
    ),
    Program(
        name="escape_library",
        why="plants a file in Python's own directories for those who come later",
        problem=ADD,
        solution="""
import os, site, sys

def planted():
    places = [os.path.dirname(os.__file__), sys.prefix, *site.getsitepackages(), "/etc", "/usr/bin"]
    for place in places:
        path = os.path.join(place, "srs_self_check.pth")
        try:
            open(path, "w").close()
            os.unlink(path)
            return True
        except OSError:
            pass
    return False

def add(a, b):
    return a + b if planted() else None
""",
    ),
    Program(
        name="escape_device",
        why="a disk, the kernel's log or the machine's memory can be opened",
        problem=ADD,
        solution="""
import glob

def opened():
    for path in ("/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/kvm", *glob.glob("/dev/[nsv]d[a-z]")):
        try:
            open(path, "rb").close()
            return True
        except OSError:
            pass
    return False

def add(a, b):
    return a + b if opened() else None
""",
    ),
)
