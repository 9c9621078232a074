"""Programs that end, stop or skip the tests instead of passing them."""

from sandbox.battery.program import ADD, ADD_STAR, ORDERED, REVERSE, SCALE, SUM_LINES, Program

ATTACKS = (
    Program(
        name="exit_at_import",
        why="status 0 before any test exists",
        problem=ADD,
        solution="import os\nos._exit(0)\n",
    ),
    Program(
        name="exit_in_the_call",
        why="status 0 in the first test",
        problem=SCALE,
        solution="import os\n\ndef scale(n, factor):\n    os._exit(0)\n",
    ),
    Program(
        name="exit_system_exit",
        why="SystemExit(0) from the function",
        problem=ADD,
        solution="import sys\n\ndef add(a, b):\n    sys.exit(0)\n",
    ),
    Program(
        name="exit_pytest_exit",
        why="pytest's own way to stop a session with status 0",
        problem=ADD,
        solution='import pytest\n\ndef add(a, b):\n    pytest.exit("all done", returncode=0)\n',
    ),
    Program(
        name="exit_keyboard_interrupt",
        why="looks as if somebody had stopped the session",
        problem=REVERSE,
        solution="def reverse(text):\n    raise KeyboardInterrupt\n",
    ),
    Program(
        name="exit_base_exception",
        why="an exception that `except Exception` does not catch",
        problem=ADD,
        solution="class Stop(BaseException):\n    pass\n\ndef add(a, b):\n    raise Stop\n",
    ),
    Program(
        name="exit_handler",
        why="wrong answers; an exit handler turns the status into 0",
        problem=ADD,
        solution="import atexit, os\natexit.register(os._exit, 0)\n\ndef add(a, b):\n    return None\n",
    ),
    Program(
        name="exit_from_a_thread",
        why="a thread ends the process while the first test waits",
        problem=ADD,
        solution="""
import os, threading, time

def add(a, b):
    threading.Thread(target=os._exit, args=(0,)).start()
    time.sleep(60)
""",
    ),
    Program(
        name="exit_from_a_signal",
        why="its own handler for the alarm that in-process time limits rely on",
        problem=ADD,
        solution="""
import os, signal, time

signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
signal.setitimer(signal.ITIMER_REAL, 0.1)

def add(a, b):
    time.sleep(60)
""",
    ),
    Program(
        name="exit_libc",
        why="_exit of the C library: Python's own can be taken away in vain",
        problem=ADD,
        solution="import ctypes\n\ndef add(a, b):\n    ctypes.CDLL(None)._exit(0)\n",
    ),
    Program(
        name="exit_exec",
        why="becomes another program, which succeeds",
        problem=ADD,
        solution='import os\n\ndef add(a, b):\n    os.execv("/bin/true", ["true"])\n',
    ),
    Program(
        name="exit_hidden",
        why="no word in the text by which a deny list would know it",
        problem=ORDERED,
        solution="""
def ordered(items):
    getattr(__import__("so"[::-1]), "tixe_"[::-1])(len([]))
""",
    ),
    Program(
        name="exit_finalizer",
        why="an object's finalizer at the interpreter's end sets the status",
        problem=ADD,
        solution="""
import os

class Last:
    def __del__(self, end=os._exit):
        end(0)

last = Last()

def add(a, b):
    return None
""",
    ),
    Program(
        name="exit_script",
        why="a stdin/stdout program that succeeds without a word",
        problem=SUM_LINES,
        solution="import os\nos._exit(0)\n",
    ),
    Program(
        name="skip_in_the_call",
        why="skips the test that calls it",
        problem=ADD,
        solution='import pytest\n\ndef add(a, b):\n    pytest.skip("not today")\n',
    ),
    Program(
        name="skip_the_module",
        why="skips the whole test file while it is imported",
        problem=SCALE,
        solution='import pytest\npytest.skip("not today", allow_module_level=True)\n',
    ),
    Program(
        name="skip_a_missing_module",
        why="skips because a module that nobody needs is missing",
        problem=ADD,
        solution='import pytest\npytest.importorskip("no_such_module_anywhere")\n',
    ),
    Program(
        name="skip_unittest",
        why="unittest's way to skip",
        problem=REVERSE,
        solution='import unittest\n\ndef reverse(text):\n    raise unittest.SkipTest("later")\n',
    ),
    Program(
        name="skip_expected_failure",
        why="declares its own failure to be expected",
        problem=ADD,
        solution='import pytest\n\ndef add(a, b):\n    pytest.xfail("known bug")\n',
    ),
    Program(
        name="skip_by_the_class",
        why="raises the exception behind a skip without naming pytest",
        problem=ADD,
        solution="""
import sys

def add(a, b):
    raise sys.modules["_pytest.outcomes"].Skipped("later")
""",
    ),
    Program(
        name="skip_mark_in_the_importer",
        why="plants pytestmark in the test file that imports it",
        problem=SCALE,
        solution="""
import sys
import pytest

frame = sys._getframe()
while frame:
    if frame.f_globals.get("__name__") == "test_solution":
        frame.f_globals["pytestmark"] = pytest.mark.skip
    frame = frame.f_back

def scale(n, factor):
    return None
""",
    ),
    Program(
        name="skip_fixture_by_star_import",
        why="a star import brings a fixture into the test file that skips every test",
        problem=ADD_STAR,
        solution="""
import pytest

@pytest.fixture(autouse=True)
def be_kind():
    pytest.skip("later")

def add(a, b):
    return None
""",
    ),
    Program(
        name="skip_by_assertion_error",
        why="what a failing assert raises is replaced by what a skip raises",
        problem=ADD,
        solution="""
import builtins, pytest

builtins.AssertionError = pytest.skip.Exception

def add(a, b):
    return None
""",
    ),
)
