"""Tests and solution in processes of their own: what crosses, what may be relied on, what is out of reach."""

import textwrap
from typing import Any

import pytest

from sandbox.runner import Job, Limits, Sandbox
from srs.types import ExecResult

LIMITS = Limits(timeout_s=10)
IDENTITY = "def f(x):\n    return x\n"
TEST_IDENTITY = "from solution import f\n\ndef test_a():\n    assert f(1) == 1\n"


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

def fail(kind):
    raise kind

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

def remember(x):
    STATE.append(x)
    return len(STATE)
"""
CROSSES = {
    "values": "for v in (None, True, 0, -(10**400), 1.5, 'a\\0\\ud800', b'x', (1, [2]), {1: {2}}, frozenset(), 1j, range(3), ..., slice(1)):\n    assert f(v) == v\n    assert type(f(v)) is type(v)",
    "nan": "import math\nassert math.isnan(f(math.nan))\nassert f(-math.inf) == -math.inf",
    "library values": "import datetime, decimal, fractions, collections\nfor v in (datetime.datetime(2020, 1, 2, 3), datetime.date.min, decimal.Decimal('1.50'), fractions.Fraction(1, 3), collections.Counter('aab'), collections.deque([1], 2), collections.OrderedDict(a=1)):\n    assert f(v) == v\n    assert type(f(v)) is type(v)",
    "identity": "x = [1]\nassert f(x) is x\nassert f((x, x))[1] is x",
    "in place": "a, b, c = [], {}, set()\nchange(a); change(b); change(c)\nassert (a, b, c) == (['new'], {'new': 1}, {'new'})",
    "aliases": "row = []\nrows = [row, row]\nback, first_row = alias(rows)\nassert back is rows\nassert first_row is row\nassert row == ['new'] == rows[1]",
    "in place before an exception": "x = []\nwith pytest.raises(KeyError):\n    call(lambda: (x.append(1), f(x), fail(KeyError('k'))))\nassert x == [1]",
    "cycles": "t = tree(3)\nassert t['parent'] is t\nassert all(c['parent'] is t for c in t['children'])",
    "deep": "x = deep(5000)\nfor _ in range(5000):\n    (x,) = x\nassert x is None",
    "constants": "assert CONSTANT == {'a': [1, 2]}\nassert solution.CONSTANT['a'][0] == 1",
    "state": "assert [remember('x') for _ in range(3)] == [1, 2, 3]",
    "keywords": "assert call(f, x=3) == 3\nassert call(lambda a, *, b: (a, b), 1, b=2) == (1, 2)\nassert call(function=f, x=1) == 1",
    "a wrong call": "with pytest.raises(TypeError, match='positional argument'):\n    f()\nwith pytest.raises(TypeError):\n    f(1, 2)\nwith pytest.raises(TypeError):\n    f(y=1)",
    "callbacks": "seen = []\ndef g(x):\n    seen.append(x)\n    return len(seen)\nassert call(g, 'a') == 1\nassert call(g, 'b') == 2\nassert seen == ['a', 'b']",
    "callbacks call back": "assert call(lambda n: call(lambda m: f(m) + 1, n) + 1, 1) == 3",
    "a callback's exception": "def g():\n    raise KeyError('mine')\nwith pytest.raises(KeyError, match='mine'):\n    call(g)",
    "own functions return": "def g(): pass\nassert f(g) is g\nassert f([g])[0] is g",
    "standard functions": "assert call(max, [1, 3, 2]) == 3\nassert f(len) is len\nassert f(int) is int\nassert call(sorted, 'ba', key=str.lower) == ['a', 'b']",
    "closures": "add = adder(1)\nassert add() == 2\nassert add(3) == 5\nassert add(m=1, twice=True) == 7\nassert adder(0)() == 1",
    "generators": "assert list(count(3)) == [0, 1, 2]\ng = count(1)\nassert next(g) == 0\nwith pytest.raises(StopIteration) as e:\n    next(g)\nassert e.value.value == 'end'",
    "send and close": "g = echo()\nassert next(g) == 0\nassert g.send('a') == 1\nassert g.send('b') == 2\ng.close()\nassert solution.closed == [['a', 'b']]",
    "generators are made when called": "import inspect\nassert inspect.isgenerator(count(2))\nassert inspect.isgenerator(lazily([1]))\nassert list(lazily([1, 2])) == [2, 4]",
    "endless generators": "import itertools\nassert list(itertools.islice(echo(), 3)) == [0, 1, 2]",
    "an iterator of the tests": "assert first(iter([5, 6])) == 5\nassert list(lazily(x for x in (1, 2))) == [2, 4]",
    "map and zip": "assert list(f(map(str, [1, 2]))) == ['1', '2']\nassert f({1: 2}).items() == {1: 2}.items()",
    "exceptions": "for error in (KeyError('k'), ValueError(1, 'two'), ZeroDivisionError(), StopIteration(3), OSError(2, 'no')):\n    with pytest.raises(type(error)) as e:\n        fail(error) if not isinstance(error, (KeyError, OSError)) else fail(error)\n    assert e.value.args == error.args",
    "exceptions of the solution": "with pytest.raises(solution.Custom, match='bad, code 7') as e:\n    custom()\nassert e.value.code == 7\nassert e.value.args == ('bad',)\nassert isinstance(e.value, ValueError)\nassert type(e.value).__name__ == 'Narrow'\nassert issubclass(solution.Narrow, solution.Custom)",
    "exceptions of the solution are caught": "try:\n    custom()\nexcept solution.Narrow as e:\n    assert str(e) == 'bad, code 7'\nexcept ValueError:\n    raise AssertionError('the class got lost')",
    "exit": "with pytest.raises(SystemExit) as e:\n    fail(SystemExit(3))\nassert e.value.code == 3",
    "classes": "s = Stack(1, 2)\nassert s.push(3) is s\nassert s.items == [1, 2, 3]\nassert s.top == 3\nassert s.size == 0\ns.size = 5\nassert s.size == 5\nassert Stack.size == 0\nassert Stack.of([1]).items == [1]\nassert Stack.empty().items == []\nassert isinstance(s, Stack)\nassert type(s) is Stack\nassert type(s).__name__ == 'Stack'",
    "inheritance": "c = Child(1)\nassert isinstance(c, Stack)\nassert issubclass(Child, Stack)\nassert c.push(2).items == [1, 2]\nassert not isinstance(Stack(), Child)",
    "attributes": "s = Stack()\nassert hasattr(s, 'items')\nassert not hasattr(s, 'nothing')\nwith pytest.raises(AttributeError, match='nothing'):\n    s.nothing\nwith pytest.raises(AttributeError):\n    s.top = 3\ns.items = [9]\nassert s.items == [9]\ndel s.items\nassert not hasattr(s, 'items')\nassert getattr(s, 'nothing', 4) == 4",
    "special methods": "s = Stack(1, 2)\nassert len(s) == 2\nassert list(s) == [1, 2]\nassert s[0] == 1\ns[0] = 5\nassert s.items == [5, 2]\nassert 5 in s\nassert not Stack()\nassert repr(s) == str(s) == f'{s}' == 'Stack([5, 2])'\nassert s(2)\nassert [x for x in s] == [5, 2]\nassert sorted(s) == [2, 5]",
    "mutable content": "s = Stack()\ns.items.append(1)\nassert s.items == [1]",
    "dataclasses": "m = Money(3)\nassert (m.amount, m.unit) == (3, 'EUR')\nassert m == Money(3)\nassert m != Money(4)\nassert repr(m) == \"Money(amount=3, unit='EUR')\"\nm.amount = 5\nassert m == Money(5)",
    "operators": "assert Money(1) + Money(2) == Money(3)\nassert Money(1) < Money(2) <= Money(2)\nassert max(Money(1), Money(3)).amount == 3\nassert sorted([Money(2), Money(1)])[0] == Money(1)\nassert {Money(1), Money(1)} == {Money(1)}\nassert {Money(1): 'x'}[Money(1)] == 'x'",
    "enums": "assert Color.RED.value == 1\nassert Color.RED.name == 'RED'\nassert Color('b') == Color.BLUE\nassert Color['RED'] is Color.RED\nassert f(Color.RED) is Color.RED\nassert Color.RED != Color.BLUE\nassert [c.name for c in Color] == ['RED', 'BLUE']\nassert len(Color) == 2\nassert Level.HIGH > Level.LOW\nassert Level.HIGH == 2\nassert {Color.RED: 1}[Color.RED] == 1\nassert isinstance(Color.RED, Color)",
    "named tuples": "p = Pair(1, 2)\nassert p == (1, 2)\nassert p.left == 1\nassert f(p) == p\nassert p._replace(left=5) == Pair(5, 2)\na, b = p\nassert isinstance(p, tuple)",
    "async": "import asyncio\nassert asyncio.run(later(3)) == 3\nasync def main():\n    return await later(1) + await later(2)\nassert asyncio.run(main()) == 3\nwith pytest.raises(KeyError):\n    asyncio.run(later_fails())",
    "gather": "import asyncio\nasync def main():\n    return await asyncio.gather(later(1), later(2))\nassert asyncio.run(main()) == [1, 2]",
    "context managers": "with Resource() as r:\n    pass\nassert r.log == ['in', 'out']\nwith Resource() as r:\n    raise KeyError\nassert r.log == ['in', 'KeyError']\nlog = []\nwith opened(log):\n    assert log == ['in']\nassert log == ['in', 'out']",
    "a subclass of list": "assert f(Items_of(3)) == [0, 1, 2]\nassert isinstance(Items_of(2), list)\nassert Items_of(2)[1] == 1\nassert len(Items_of(2)) == 2",
    "names": "assert callable(solution.f)\nassert f.__name__ == 'f'\nassert not hasattr(solution, 'nothing')\nassert getattr(solution, 'nothing', 1) == 1",
    "replaced names": "solution.CONSTANT = 5\nassert solution.CONSTANT == 5",
    "introspection": "import inspect\nassert inspect.isfunction(f)\nassert inspect.isclass(Stack)\nassert list(inspect.signature(call).parameters)[0] in ('function', 'args')",
}  # fmt: skip
SOLUTION += "\ndef Items_of(n):\n    return Items(range(n))\n"


def test_file(body: str) -> str:
    lines = textwrap.indent(body, "    ")
    return f"import pytest\nimport solution\nfrom solution import *\n\ndef test_it():\n{lines}\n"


test_file.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CROSSES)
def test_crosses(sandbox: Sandbox, name: str) -> None:
    result = run(sandbox, SOLUTION, test_file(CROSSES[name]))
    assert_passed(result)


@pytest.mark.parametrize("name", CROSSES)
def test_the_same_test_can_fail(sandbox: Sandbox, name: str) -> None:
    result = run(sandbox, SOLUTION, test_file(CROSSES[name] + "\nassert f(1) == 2"))
    assert outcomes(result) == {"test_it": "failed"}
