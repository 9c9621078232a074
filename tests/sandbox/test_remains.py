"""Nothing of one job reaches the next."""

from split_runs import IDENTITY, LIMITS, TEST_IDENTITY, assert_passed

from sandbox.runner import Job, Sandbox


def test_nothing_of_one_job_reaches_the_next(sandbox: Sandbox) -> None:
    """Generators that the tests didn't finish, whose ends would be told to whoever answers then."""
    unfinished = "from solution import g\nkept = []\ndef test_a():\n    for _ in range(50):\n        ring = [g()]\n        ring.append(ring)\n        assert next(ring[0]) == 1\n"
    next_job = "from solution import f\ndef test_b():\n    rows = [[[i]] for i in range(100000)]\n    assert f(len(rows)) == 100000\n"
    jobs = [
        Job(solution="def g():\n    yield 1\n    yield 2\n", test=unfinished, limits=LIMITS),
        Job(solution=IDENTITY, test=next_job, limits=LIMITS),
    ] * 6
    for result in sandbox.run(jobs):
        assert_passed(result)


def test_what_the_tests_change_in_the_standard_library_is_gone_with_them(sandbox: Sandbox) -> None:
    change = "import math, builtins, sys\nfrom solution import f\ndef test_a():\n    math.pi = f(1)\n    builtins.extra = 1\n    sys.path.append('/nowhere')\n    sys.setrecursionlimit(500)\n"
    look = "import math, builtins, sys\nfrom solution import f\ndef test_a():\n    assert f(1) == 1\n    assert math.pi > 3\n    assert not hasattr(builtins, 'extra')\n    assert '/nowhere' not in sys.path\n    assert sys.getrecursionlimit() > 500\n"
    jobs = [Job(solution=IDENTITY, test=test, limits=LIMITS) for test in (change, look) * 4]
    for result in sandbox.run(jobs):
        assert_passed(result)


def test_what_a_candidate_changes_in_values_of_the_tests_is_gone_with_it(sandbox: Sandbox) -> None:
    """A list of the test file's that one candidate changed in place is new for the next."""
    test = "from solution import f\nCASES = [1, 2]\ndef helper(x, seen=[]):\n    seen.append(x)\n    return len(seen)\ndef test_a():\n    assert CASES == [1, 2]\n    assert helper(1) == 1\n    f(CASES)\n"
    solution = "def f(x):\n    x.append(3)\n"
    jobs = [Job(solution=solution, test=test, limits=LIMITS)] * 8
    for result in sandbox.run(jobs):
        assert_passed(result)


LINGERING = """
import multiprocessing, os, signal, subprocess, sys, threading, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                for place in ("/tmp", "/dev/shm", os.path.expanduser("~")):
                    try:
                        open(place + "/left", "w").close()
                    except OSError:
                        pass
                time.sleep(0.001)
        os._exit(0)
def f(x):
    return x
"""
COUNTING = """
import os
def f(x):
    own = [p for p in os.listdir("/proc") if p.isdigit() and os.stat(f"/proc/{p}").st_uid == os.getuid()]
    assert own == [str(os.getpid())], own
    left = [p for p in ("/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~")) if os.path.exists(p + "/left")]
    assert not left, left
    return x
"""


def test_a_candidate_that_lives_on_is_gone_before_the_next(sandbox: Sandbox) -> None:
    jobs = [Job(solution=s, test=TEST_IDENTITY, limits=LIMITS) for s in (LINGERING, COUNTING) * 4]
    for number, result in enumerate(sandbox.run(jobs)):
        if number % 2 or result.status == "finished":
            assert_passed(result)


LEAVING = """
import os
for place in ("/tmp", "/dev/shm", "/var/tmp", os.getcwd(), os.path.expanduser("~")):
    for number in range(40):
        for name in (f"left-{number}", f".trash-{number}", f"closed-{number}"):
            try:
                os.makedirs(f"{place}/{name}/inner")
                open(f"{place}/{name}/inner/file", "w").close()
                if name.startswith("closed"):
                    os.chmod(f"{place}/{name}", 0)
            except OSError:
                pass
def f(x):
    return x
"""
SEARCHING = """
import os
places = {os.path.realpath(p) for p in ("/tmp", "/dev/shm", "/var/tmp", os.getcwd(), os.path.expanduser("~"))}
def names(place):
    try:
        return os.listdir(place)
    except OSError:
        return []
def f(x):
    found = [n for p in places for n in names(p) if n != "solution.py"]
    assert not found, found
    return x
"""


def test_files_left_behind_are_gone(sandbox: Sandbox) -> None:
    jobs = [Job(solution=s, test=TEST_IDENTITY, limits=LIMITS) for s in (LEAVING, SEARCHING) * 4]
    for result in sandbox.run(jobs):
        assert_passed(result)


SHARING = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
made = [libc.shmget(KEY, 4096, 0o1666), libc.msgget(KEY, 0o1666), libc.semget(KEY, 1, 0o1666)]
try:
    import _posixshmem, os
    _posixshmem.shm_open("/left", os.O_CREAT | os.O_RDWR, 0o666)
except (ImportError, OSError):
    pass
def f(x):
    return x
"""
FINDING = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def f(x):
    found = [libc.shmget(KEY, 0, 0), libc.msgget(KEY, 0), libc.semget(KEY, 0, 0)]
    assert found == [-1, -1, -1], found
    assert not os.path.exists("/dev/shm/left")
    return x
"""


def test_memory_shared_by_key_is_no_way_to_the_next(sandbox: Sandbox) -> None:
    jobs = [
        Job(solution=s.replace("KEY", "424242"), test=TEST_IDENTITY, limits=LIMITS)
        for s in (SHARING, FINDING) * 4
    ]
    for result in sandbox.run(jobs):
        assert_passed(result)
