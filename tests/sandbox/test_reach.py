"""What is out of the candidate's reach, and what it can do to the channel."""

import textwrap

import pytest
from split_runs import IDENTITY, LIMITS, TEST_IDENTITY, assert_not_passed, assert_passed, run

from sandbox.runner import Job, Limits, Sandbox

SECRET = "the-expected-value"
GUARDED = f"""
from solution import f
def test_a():
    expected = "{SECRET}"
    assert f(1) == expected
"""
FORCED = GUARDED + "\ndef test_b(tmp_path):\n    assert tmp_path\n"
LOOKING = """
import ctypes, glob, os, re, signal, sys

def places():
    roots = ["/run/srs", "/work", "/tmp", "/var/tmp", "/dev/shm", os.getcwd(), os.path.dirname(os.getcwd()), os.path.expanduser("~")]
    for root in roots:
        for folder, _, names in os.walk(root):
            yield from (os.path.join(folder, name) for name in names if "solution" not in name or "test" in name)
    yield from (f"/proc/{pid}/{name}" for pid in pids() for name in ("environ", "cmdline", "mem"))

def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]

def memory(path):
    with open(path.replace("mem", "maps")) as maps, open(path, "rb", buffering=0) as file:
        for line in maps:
            start, end = (int(n, 16) for n in line.split()[0].split("-"))
            if line.split()[1].startswith("rw") and end - start < 1 << 27:
                file.seek(start)
                yield file.read(end - start)

def look():
    wanted = re.compile(b"the-e[x]pected-value")
    for path in places():
        try:
            texts = memory(path) if path.endswith("/mem") else [open(path, "rb").read(1 << 20)]
            for text in texts:
                if wanted.search(text):
                    return path
        except (OSError, ValueError, OverflowError):
            continue
    return None

def own_memory():
    found = 0
    for text in memory("/proc/self/mem"):
        found += len(re.findall(b"the-e[x]pected-value", text))
    return found

def traced():
    libc = ctypes.CDLL(None, use_errno=True)
    return [pid for pid in pids() if libc.ptrace(16, pid, 0, 0) == 0]

def killed():
    done = []
    for pid in pids():
        try:
            os.kill(pid, signal.SIGKILL)
            done.append(pid)
        except OSError:
            pass
    return done

def read_other_memory():
    libc = ctypes.CDLL(None, use_errno=True)
    class Part(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
    buffer = ctypes.create_string_buffer(16)
    own, other = Part(ctypes.addressof(buffer), 16), Part(id(None), 16)
    call = libc.process_vm_readv
    return [p for p in pids() if call(p, ctypes.byref(own), 1, ctypes.byref(other), 1, 0) > 0]

def descriptors():
    return [fd for fd in range(4, 256) if os.path.exists(f"/proc/self/fd/{fd}")]
"""


@pytest.mark.parametrize("test", [GUARDED, FORCED], ids=["plain", "pytest"])
@pytest.mark.parametrize(
    "attempt", ["look", "own_memory", "traced", "killed", "read_other_memory", "descriptors"]
)
def test_the_tests_are_out_of_reach(sandbox: Sandbox, attempt: str, test: str) -> None:
    """The attempt finds nothing, and says so by returning the expected value."""
    solution = LOOKING + f"def f(x):\n    return {attempt}() or {SECRET!r}\n"
    solution = solution.replace(repr(SECRET), "'the-expected' + chr(45) + 'value'")
    assert_passed(run(sandbox, solution, test))


def test_the_frames_above_are_its_own(sandbox: Sandbox) -> None:
    solution = """
        import gc, sys
        def f(x):
            names, frame = set(), sys._getframe()
            while frame:
                names |= set(frame.f_locals)
                frame = frame.f_back
            tests = [m for m in sys.modules if m.startswith(("test_", "pytest", "_pytest", "sandbox.inside.tests"))]
            return [n for n in names if n == "expected"] + tests or "the-expected-value"
        """
    assert_passed(run(sandbox, solution, GUARDED))


@pytest.mark.parametrize(
    "deed",
    [
        "os.close(3)",
        "os.closerange(0, 100)",
        "os.write(3, b'\\0\\0\\0\\2{]')",
        "os.write(3, b'\\xff' * 100)",
        "os.write(3, b'\\0\\0\\0\\2[]')",
        "os.write(3, b'\\0\\0\\0\\2{}')",
        "os.write(3, b'\\0\\0\\0\\4null')",
        "frame({'how': 'returned', 'nodes': [], 'roots': []})",
        "frame({'how': 'returned', 'nodes': [], 'roots': [[7]]})",
        "frame({'how': 'returned', 'nodes': [['list'], ['object', 0, 1]], 'roots': [[1]]})",
        "frame({'how': 'raised', 'nodes': [], 'roots': [1]})",
        "frame({'how': 'raised', 'nodes': [['list'], ['exception', 'x', '{}', '', 'builtins', 'print']], 'roots': [[1]]})",
        "frame({'how': 'returned', 'nodes': [['list'], ['yours', 9]], 'roots': [[1]]})",
        "frame({'how': 'returned', 'nodes': [['list'], ['global', 'os', 'system']], 'roots': [[1]]})",
        "frame({'how': 'returned', 'nodes': [], 'roots': [1], 'printed': 3})",
        "frame({'ask': 'call', 'number': 0, 'names': [], 'nodes': [], 'roots': []})",
        "frame({'ask': 'next', 'number': -1, 'names': [], 'nodes': [], 'roots': []})",
        "frame({'ask': 'call', 'number': 'x', 'names': 3, 'nodes': [], 'roots': []})",
        "os.write(3, (100000).to_bytes(4, 'big') + b'[' * 100000)",
    ],
)
def test_a_broken_channel_ends_only_its_own_job(sandbox: Sandbox, deed: str) -> None:
    solution = f"""
        import json, os
        def frame(message):
            body = json.dumps(message).encode()
            os.write(3, len(body).to_bytes(4, "big") + body)
        def f(x):
            {deed}
            return x
        """
    jobs = [
        Job(solution=textwrap.dedent(solution), test=TEST_IDENTITY, limits=LIMITS),
        Job(solution=IDENTITY, test=TEST_IDENTITY, limits=LIMITS),
    ] * 2
    for number, result in enumerate(sandbox.run(jobs)):
        if number % 2:
            assert_passed(result)
        else:
            assert result.status == "died", result
            assert result.reports == ()


def test_a_frame_of_its_own_is_only_data(sandbox: Sandbox) -> None:
    """Whatever it writes itself, it could have returned: and then nothing fits any more."""
    solution = """
        import json, os
        def f(x):
            body = json.dumps({"how": "returned", "nodes": [], "roots": [1]}).encode()
            for _ in range(9):
                os.write(3, len(body).to_bytes(4, "big") + body)
            os._exit(0)
        """
    test = TEST_IDENTITY + "def test_b():\n    assert f(2) == 2\n"
    assert_not_passed(run(sandbox, solution, test))


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        ("return 'x' * (100 << 20)", {"died", "memory"}),
        ("return [[] for _ in range(10 << 20)]", {"died", "memory", "timeout"}),
        (
            "os.write(3, (60 << 20).to_bytes(4, 'big'))\n    while True: os.write(3, b' ' * 65536)",
            {"died", "memory", "timeout"},
        ),
        (
            "while True: frame({'ask': 'call', 'number': 0, 'names': [], 'nodes': [], 'roots': []})",
            {"died", "timeout", "memory"},
        ),
        (
            "while True: frame({'how': 'returned', 'nodes': [], 'roots': [1], 'printed': ['x' * 99999]})",
            {"died", "output_limit", "timeout", "finished"},
        ),
        ("os._exit(0)", {"died"}),
        ("os.abort()", {"died"}),
        ("os.kill(os.getpid(), 9)", {"died"}),
        ("sys.exit(0)", {"finished"}),
        ("raise KeyboardInterrupt", {"died"}),
        ("raise GeneratorExit", {"finished"}),
        ("threading.Thread(target=os._exit, args=(0,)).start(); time.sleep(9)", {"died"}),
    ],
)
def test_what_does_not_answer_does_not_pass(
    sandbox: Sandbox, body: str, statuses: set[str]
) -> None:
    solution = f"import json, os, sys, threading, time\ndef frame(message):\n    body = json.dumps(message).encode()\n    os.write(3, len(body).to_bytes(4, 'big') + body)\ndef f(x):\n    {body}\n"
    for test in (TEST_IDENTITY, TEST_IDENTITY + "import unittest\n"):
        result = run(sandbox, solution, test, limits=Limits(timeout_s=3))
        assert result.status in statuses, result
        assert_not_passed(result)
        assert_passed(run(sandbox, IDENTITY, test))


def test_a_large_honest_answer_crosses(sandbox: Sandbox) -> None:
    solution = "def f(n):\n    return [list(range(1000)) for _ in range(n)], 'x' * (n << 10)\n"
    test = "from solution import f\ndef test_a():\n    rows, text = f(500)\n    assert len(rows) == 500 and rows[-1][-1] == 999\n    assert len(text) == 500 << 10\n"
    assert_passed(run(sandbox, solution, test))
