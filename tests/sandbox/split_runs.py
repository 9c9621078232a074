"""Runs with tests and solution in processes of their own, what is to come of them, and a solution with much to cross."""

import textwrap
from typing import Any

from sandbox.runner import Job, Limits, Sandbox
from srs.types import ExecResult

LIMITS = Limits(timeout_s=10)
IDENTITY = "def f(x):\n    return x\n"
TEST_IDENTITY = "from solution import f\n\ndef test_a():\n    assert f(1) == 1\n"
SOLUTION = """
import abc, asyncio as _asyncio, collections, contextlib, dataclasses, enum, functools, math, sys as _sys

def f(x):
    return x

def call(function, *args, **kwargs):
    return function(*args, **kwargs)

def change(x):
    if isinstance(x, dict):
        x["new"] = 1
    elif isinstance(x, set):
        x.add("new")
    else:
        x.append("new")

def alias(rows):
    rows[0].append("new")
    return rows, rows[0]

def change_and_fail(x):
    x.append(1)
    raise KeyError("k")

def fail(kind):
    raise {
        "key": lambda: KeyError("k"), "value": lambda: ValueError(1, "two"), "zero": ZeroDivisionError,
        "os": lambda: FileNotFoundError(2, "no", "file"), "exit": lambda: SystemExit(3),
        "import": lambda: ImportError("m", name="n"), "group": lambda: ExceptionGroup("g", [ValueError(1)]),
    }[kind]()

def decode(data):
    return data.decode()

def any_names(self, operation, function, name, value, cls):
    return self, operation, function, name, value, cls

class Custom(ValueError):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code
    def __str__(self):
        return f"{self.args[0]}, code {self.code}"

class Narrow(Custom):
    pass

def custom():
    raise Narrow("bad", 7)

def cause():
    try:
        1 / 0
    except ZeroDivisionError as e:
        raise KeyError("k") from e

def count(n):
    yield from range(n)
    return "end"

def echo():
    got = []
    try:
        while True:
            got.append((yield len(got)))
    finally:
        closed.append(list(got))

closed = []

def get_closed():
    return closed

def patient():
    while True:
        try:
            yield "waiting"
        except KeyError as e:
            yield e.args

def lazily(items):
    return (x * 2 for x in items)

def first(items):
    return next(iter(items))

class Stack:
    size = 0
    def __init__(self, *items):
        self.items = list(items)
    def push(self, item):
        self.items.append(item)
        return self
    @property
    def top(self):
        return self.items[-1]
    @staticmethod
    def of(items):
        return Stack(*items)
    @classmethod
    def empty(cls):
        return cls()
    def __len__(self):
        return len(self.items)
    def __iter__(self):
        return iter(self.items)
    def __getitem__(self, i):
        return self.items[i]
    def __setitem__(self, i, value):
        self.items[i] = value
    def __contains__(self, item):
        return item in self.items
    def __bool__(self):
        return bool(self.items)
    def __repr__(self):
        return f"Stack({self.items})"
    def __call__(self, x):
        return x in self.items

class Child(Stack):
    pass

@functools.total_ordering
@dataclasses.dataclass
class Money:
    amount: int
    unit: str = "EUR"
    def __add__(self, other):
        return Money(self.amount + other.amount, self.unit)
    def __lt__(self, other):
        return self.amount < other.amount
    def __hash__(self):
        return hash(self.amount)

class Color(enum.Enum):
    RED = 1
    BLUE = "b"

class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2

Pair = collections.namedtuple("Pair", "left right")

class Items(list):
    pass

def items_of(n):
    return Items(range(n))

async def later(x):
    await _asyncio.sleep(0)
    return x

async def later_fails():
    raise KeyError("k")

class Resource:
    def __init__(self):
        self.log = []
    def __enter__(self):
        self.log.append("in")
        return self
    def __exit__(self, kind, error, trace):
        self.log.append("out" if kind is None else kind.__name__)
        return kind is KeyError

@contextlib.contextmanager
def opened(log):
    log.append("in")
    yield log
    log.append("out")

def say(text):
    print(text)
    print("error", file=_sys.stderr)

def adder(n):
    total = n
    def add(m=1, *, twice=False):
        nonlocal total
        total += m * (1 + twice)
        return total
    return add

def tree(n):
    root = {"children": []}
    root["parent"] = root
    for i in range(n):
        root["children"].append({"parent": root, "i": i})
    return root

def deep(n):
    x = None
    for _ in range(n):
        x = (x,)
    return x

CONSTANT = {"a": [1, 2]}
STATE = []

counter = 0

def remember(x):
    global counter
    counter += 1
    STATE.append(x)
    return counter
"""


def run(sandbox: Sandbox, solution: str, test: str, **fields: Any) -> ExecResult:
    job = Job(
        solution=textwrap.dedent(solution),
        test=textwrap.dedent(test),
        **{"limits": LIMITS, **fields},
    )
    (result,) = sandbox.run([job])
    return result


def outcomes(result: ExecResult) -> dict[str, str]:
    return {report.id: report.outcome for report in result.reports}


def assert_passed(result: ExecResult) -> None:
    wrong = [report for report in result.reports if report.outcome != "passed"]
    assert (result.status, result.detail, wrong) == ("finished", "", [])
    assert result.reports


def assert_not_passed(result: ExecResult) -> None:
    assert result.status != "finished" or {"passed"} != set(outcomes(result).values())


def file_of(body: str) -> str:
    lines = textwrap.indent(body, "    ")
    return f"import pytest\nimport solution\nfrom solution import *\n\ndef test_it():\n{lines}\n"
