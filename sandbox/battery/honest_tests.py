"""Honest programs with tests that use more of pytest than most."""

from sandbox.battery.program import honest

PROGRAMS = (
    honest(
        "context_manager",
        "a resource in a with statement, and an exception that it swallows",
        """
import contextlib
@contextlib.contextmanager
def opened(log):
    log.append("open")
    try:
        yield log
    except KeyError:
        log.append("swallowed")
    finally:
        log.append("closed")
""",
        """
from solution import opened
def test_with():
    log = []
    with opened(log):
        raise KeyError("x")
    assert log == ["open", "swallowed", "closed"]
""",
    ),
    honest(
        "subclassed_by_the_test",
        "the test derives from the program's abstract class",
        """
import abc
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
    def describe(self):
        return f"{type(self).__name__}: {self.area()}"
""",
        """
import pytest
from solution import Shape
class Square(Shape):
    def area(self):
        return 4
def test_subclass():
    assert Square().describe() == "Square: 4"
    assert isinstance(Square(), Shape)
    with pytest.raises(TypeError):
        Shape()
""",
    ),
    honest(
        "own_exceptions",
        "exceptions with attributes, causes and messages",
        """
class BadInput(ValueError):
    def __init__(self, field):
        super().__init__(f"bad {field}")
        self.field = field
def check(value):
    try:
        return int(value)
    except ValueError as e:
        raise BadInput("number") from e
""",
        """
import pytest
from solution import BadInput, check
def test_error():
    with pytest.raises(BadInput, match="bad number") as caught:
        check("x")
    assert caught.value.field == "number"
    assert isinstance(caught.value.__cause__, ValueError)
""",
    ),
    honest(
        "exits_that_are_tested",
        "SystemExit is the specified behaviour",
        """
import sys
def main(args):
    if not args:
        print("usage", file=sys.stderr)
        sys.exit(2)
    return 0
""",
        """
import pytest
from solution import main
def test_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "usage\\n"
    assert main(["x"]) == 0
""",
    ),
    honest(
        "output_captured",
        "what it prints is the result: capsys, redirect_stdout, input replaced",
        """
def greet():
    print("Hello,", input("name? "))
""",
        """
import contextlib, io
import solution
def test_capsys(capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt="": "Ada")
    solution.greet()
    assert capsys.readouterr().out == "Hello, Ada\\n"
def test_redirected(monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt="": "Bob")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        solution.greet()
    assert out.getvalue() == "Hello, Bob\\n"
""",
    ),
    honest(
        "replaced_by_the_test",
        "the test patches the program's own module",
        """
import time
RATE = 2
def fetch():
    time.sleep(1)
def price():
    return fetch() * RATE
""",
        """
from unittest import mock
import solution
def test_patched(monkeypatch):
    monkeypatch.setattr(solution, "RATE", 10)
    with mock.patch("solution.fetch", return_value=4) as fetch:
        assert solution.price() == 40
    fetch.assert_called_once_with()
""",
    ),
    honest(
        "reloaded",
        "the test imports the module by name and reloads it",
        "value = 1\ndef bump():\n    global value\n    value += 1\n    return value\n",
        """
import importlib
import solution
def test_reload():
    assert solution.bump() == 2
    assert importlib.reload(solution).value == 1
""",
    ),
    honest(
        "logs_and_warnings",
        "messages through logging and warnings are the result",
        """
import logging, warnings
def old():
    warnings.warn("use new", DeprecationWarning, stacklevel=2)
    logging.getLogger("shop").warning("old called")
""",
        """
import pytest
from solution import old
def test_messages(caplog):
    with pytest.warns(DeprecationWarning, match="use new"):
        old()
    assert caplog.messages == ["old called"]
""",
    ),
    honest(
        "tests_of_many_kinds",
        "classes with set-up, fixtures that are torn down, and one test that is meant to be skipped",
        """
class Stack:
    def __init__(self):
        self.items = []
    def push(self, item):
        self.items.append(item)
    def pop(self):
        return self.items.pop()
""",
        """
import pytest
from solution import Stack
@pytest.fixture(scope="module")
def shared():
    stack = Stack()
    yield stack
    assert stack.items == [1, 2]
class TestStack:
    def setup_method(self):
        self.stack = Stack()
    @pytest.mark.parametrize("item", [0, "", None], ids=["zero", "empty", "none"])
    def test_round_trip(self, item):
        self.stack.push(item)
        assert self.stack.pop() is item
    def test_empty(self):
        with pytest.raises(IndexError):
            self.stack.pop()
@pytest.mark.parametrize("n", [1, 2])
def test_shared(shared, n):
    shared.push(n)
@pytest.mark.skip(reason="for another platform")
def test_elsewhere():
    raise AssertionError
""",
    ),
)
