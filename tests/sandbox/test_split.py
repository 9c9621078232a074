"""Tests and solution in processes of their own: what crosses, what may be relied on, what is out of reach."""

import dataclasses
import textwrap
from typing import Any

import pytest

from sandbox.runner import AlteredTest, Job, Limits, Sandbox
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
CROSSES = {
    "values": "for v in (None, True, 0, -(10**400), 1.5, 'a\\0\\ud800', b'x', (1, [2]), {1: {2}}, frozenset(), 1j, range(3), ..., slice(1)):\n    assert f(v) == v\n    assert type(f(v)) is type(v)",
    "nan": "import math\nassert math.isnan(f(math.nan))\nassert f(-math.inf) == -math.inf",
    "library values": "import datetime, decimal, fractions, collections\nfor v in (datetime.datetime(2020, 1, 2, 3), datetime.date.min, decimal.Decimal('1.50'), fractions.Fraction(1, 3), collections.Counter('aab'), collections.deque([1], 2), collections.OrderedDict(a=1)):\n    assert f(v) == v\n    assert type(f(v)) is type(v)",
    "identity": "x = [1]\nassert f(x) is x\nassert f((x, x))[1] is x",
    "in place": "a, b, c = [], {}, set()\nchange(a); change(b); change(c)\nassert (a, b, c) == (['new'], {'new': 1}, {'new'})",
    "aliases": "row = []\nrows = [row, row]\nback, first_row = alias(rows)\nassert back is rows\nassert first_row is row\nassert row == ['new'] == rows[1]",
    "in place before an exception": "x = []\nwith pytest.raises(KeyError):\n    change_and_fail(x)\nassert x == [1]",
    "cycles": "t = tree(3)\nassert t['parent'] is t\nassert all(c['parent'] is t for c in t['children'])",
    "deep": "x = deep(5000)\nfor _ in range(5000):\n    (x,) = x\nassert x is None",
    "constants": "assert CONSTANT == {'a': [1, 2]}\nassert solution.CONSTANT['a'][0] == 1",
    "state": "assert [remember('x') for _ in range(3)] == [1, 2, 3]",
    "keywords": "assert call(f, x=3) == 3\nassert call(lambda a, *, b: (a, b), 1, b=2) == (1, 2)",
    "a wrong call": "with pytest.raises(TypeError, match='positional argument'):\n    f()\nwith pytest.raises(TypeError):\n    f(1, 2)\nwith pytest.raises(TypeError):\n    f(y=1)",
    "callbacks": "seen = []\ndef g(x):\n    seen.append(x)\n    return len(seen)\nassert call(g, 'a') == 1\nassert call(g, 'b') == 2\nassert seen == ['a', 'b']",
    "callbacks call back": "assert call(lambda n: call(lambda m: f(m) + 1, n) + 1, 1) == 3",
    "a callback's exception": "def g():\n    raise KeyError('mine')\nwith pytest.raises(KeyError, match='mine'):\n    call(g)",
    "own functions return": "def g(): pass\nassert f(g) is g\nassert f([g])[0] is g",
    "standard functions": "assert call(max, [1, 3, 2]) == 3\nassert f(len) is len\nassert f(int) is int\nassert call(sorted, 'ba', key=str.lower) == ['a', 'b']",
    "closures": "add = adder(1)\nassert add() == 2\nassert add(3) == 5\nassert add(m=1, twice=True) == 7\nassert adder(0)() == 1",
    "generators": "assert list(count(3)) == [0, 1, 2]\ng = count(1)\nassert next(g) == 0\nwith pytest.raises(StopIteration):\n    next(g)",
    "send and close": "g = echo()\nassert next(g) == 0\nassert g.send('a') == 1\nassert g.send('b') == 2\ng.close()\nassert get_closed() == [['a', 'b']]",
    "generators are made when called": "import inspect\nassert inspect.isgenerator(count(2))\nassert inspect.isgenerator(lazily([1]))\nassert list(lazily([1, 2])) == [2, 4]",
    "endless generators": "import itertools\nassert list(itertools.islice(echo(), 3)) == [0, 1, 2]",
    "an iterator of the tests": "assert first(iter([5, 6])) == 5\nassert list(lazily(x for x in (1, 2))) == [2, 4]",
    "map and zip": "assert list(f(map(str, [1, 2]))) == ['1', '2']\nassert f({1: 2}).items() == {1: 2}.items()",
    "exceptions": "for name, kind, args in (('key', KeyError, ('k',)), ('value', ValueError, (1, 'two')), ('zero', ZeroDivisionError, ()), ('exit', SystemExit, (3,))):\n    with pytest.raises(kind) as e:\n        fail(name)\n    assert type(e.value) is kind\n    assert e.value.args == args",
    "exceptions of the solution": "with pytest.raises(solution.Custom, match='bad, code 7') as e:\n    custom()\nassert e.value.code == 7\nassert e.value.args == ('bad',)\nassert isinstance(e.value, ValueError)\nassert type(e.value).__name__ == 'Narrow'\nassert issubclass(solution.Narrow, solution.Custom)",
    "exceptions of the solution are caught": "try:\n    custom()\nexcept solution.Narrow as e:\n    assert str(e) == 'bad, code 7'\nexcept ValueError:\n    raise AssertionError('the class got lost')",
    "classes": "s = Stack(1, 2)\nassert s.push(3) is s\nassert s.items == [1, 2, 3]\nassert s.top == 3\nassert s.size == 0\ns.size = 5\nassert s.size == 5\nassert Stack.size == 0\nassert Stack.of([1]).items == [1]\nassert Stack.empty().items == []\nassert isinstance(s, Stack)\nassert type(s) is Stack\nassert type(s).__name__ == 'Stack'",
    "inheritance": "c = Child(1)\nassert isinstance(c, Stack)\nassert issubclass(Child, Stack)\nassert c.push(2).items == [1, 2]\nassert not isinstance(Stack(), Child)",
    "attributes": "s = Stack()\nassert hasattr(s, 'items')\nassert not hasattr(s, 'nothing')\nwith pytest.raises(AttributeError, match='nothing'):\n    s.nothing\nwith pytest.raises(AttributeError):\n    s.top = 3\ns.items = [9]\nassert s.items == [9]\ndel s.items\nassert not hasattr(s, 'items')\nassert getattr(s, 'nothing', 4) == 4",
    "special methods": "s = Stack(1, 2)\nassert len(s) == 2\nassert list(s) == [1, 2]\nassert s[0] == 1\ns[0] = 5\nassert s.items == [5, 2]\nassert 5 in s\nassert not Stack()\nassert repr(s) == str(s) == f'{s}' == 'Stack([5, 2])'\nassert s(2)\nassert [x for x in s] == [5, 2]\nassert sorted(s) == [2, 5]",
    "dataclasses": "m = Money(3)\nassert (m.amount, m.unit) == (3, 'EUR')\nassert m == Money(3)\nassert m != Money(4)\nassert repr(m) == \"Money(amount=3, unit='EUR')\"\nm.amount = 5\nassert m == Money(5)",
    "operators": "assert Money(1) + Money(2) == Money(3)\nassert Money(1) < Money(2) <= Money(2)\nassert max(Money(1), Money(3)).amount == 3\nassert sorted([Money(2), Money(1)])[0] == Money(1)\nassert {Money(1), Money(1)} == {Money(1)}\nassert {Money(1): 'x'}[Money(1)] == 'x'",
    "enums": "assert Color.RED.value == 1\nassert Color.RED.name == 'RED'\nassert Color('b') == Color.BLUE\nassert Color['RED'] is Color.RED\nassert f(Color.RED) is Color.RED\nassert Color.RED != Color.BLUE\nassert [c.name for c in Color] == ['RED', 'BLUE']\nassert len(Color) == 2\nassert Level.HIGH > Level.LOW\nassert Level.HIGH == 2\nassert {Color.RED: 1}[Color.RED] == 1\nassert isinstance(Color.RED, Color)",
    "named tuples": "p = Pair(1, 2)\nassert p == (1, 2)\nassert p.left == 1\nassert f(p) == p\nassert p._replace(left=5) == Pair(5, 2)\na, b = p\nassert isinstance(p, tuple)",
    "async": "import asyncio\nassert asyncio.run(later(3)) == 3\nasync def main():\n    return await later(1) + await later(2)\nassert asyncio.run(main()) == 3\nwith pytest.raises(KeyError):\n    asyncio.run(later_fails())",
    "gather": "import asyncio\nasync def main():\n    return await asyncio.gather(later(1), later(2))\nassert asyncio.run(main()) == [1, 2]",
    "context managers": "with Resource() as r:\n    pass\nassert r.log == ['in', 'out']\nwith opened(['x']) as log:\n    assert log == ['x', 'in']",
    "a subclass of list": "x = items_of(3)\nassert x == [0, 1, 2]\nassert x[1] == 1\nassert len(x) == 3\nassert sorted(x) == list(x)",
    "names": "assert callable(solution.f)\nassert f.__name__ == 'f'\nassert not hasattr(solution, 'nothing')\nassert getattr(solution, 'nothing', 1) == 1",
    "replaced names": "solution.counter = 5\nassert solution.counter == 5\nassert solution.remember('x') == 6",
    "introspection": "import inspect\nassert inspect.isfunction(f)\nassert inspect.isclass(Stack)\nassert list(inspect.signature(call).parameters)[0] in ('function', 'args')",
    "keywords of any name": "assert any_names(self=1, operation=2, function=3, name=4, value=5, cls=6) == (1, 2, 3, 4, 5, 6)\nassert call(function=f, x=1) == 1",
    "what a generator returns": "def through():\n    return (yield from count(2))\ng = through()\nassert next(g) + next(g) == 1\nwith pytest.raises(StopIteration) as e:\n    next(g)\nassert e.value.value == 'end'",
    "throw": "g = patient()\nassert next(g) == 'waiting'\nassert g.throw(KeyError('x')) == ('x',)",
    "attributes of standard exceptions": "with pytest.raises(SystemExit) as e:\n    fail('exit')\nassert e.value.code == 3\nwith pytest.raises(OSError) as e:\n    fail('os')\nassert (e.value.errno, e.value.filename) == (2, 'file')\nwith pytest.raises(ImportError) as e:\n    fail('import')\nassert e.value.name == 'n'\nwith pytest.raises(UnicodeDecodeError, match='position 1') as e:\n    decode(b'a\\xff')\nassert e.value.start == 1",
    "exception groups": "with pytest.raises(ExceptionGroup) as e:\n    fail('group')\nassert e.value.exceptions[0].args == (1,)",
    "a cause": "with pytest.raises(KeyError) as e:\n    solution.cause()\nassert isinstance(e.value.__cause__, ZeroDivisionError)",
    "an exception of the tests": "error = KeyError('k')\nassert f(error) is error\nlog = []\nwith Resource() as r:\n    raise KeyError\nassert r.log == ['in', 'KeyError']",
    "names are current": "assert solution.counter == 0\nassert solution.STATE == []\nsolution.remember('x')\nassert solution.counter == 1\nassert solution.STATE == ['x']",
}  # fmt: skip


def file_of(body: str) -> str:
    lines = textwrap.indent(body, "    ")
    return f"import pytest\nimport solution\nfrom solution import *\n\ndef test_it():\n{lines}\n"


@pytest.mark.parametrize("name", CROSSES)
def test_crosses(sandbox: Sandbox, name: str) -> None:
    result = run(sandbox, SOLUTION, file_of(CROSSES[name]))
    assert_passed(result)


def test_no_assertion_of_these_tests_is_vacuous(sandbox: Sandbox) -> None:
    """Each of them, with one more assertion that is wrong, fails there."""
    jobs = [
        Job(solution=SOLUTION, test=file_of(body + "\nassert f(1) == 2"), limits=LIMITS)
        for body in CROSSES.values()
    ]
    for name, result in zip(CROSSES, sandbox.run(jobs), strict=True):
        assert outcomes(result) == {"test_it": "failed"}, (name, result)


def test_what_it_prints_is_seen_by_the_tests(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        SOLUTION,
        r"""
        import contextlib, io
        from solution import say

        def test_capsys(capsys):
            say("first")
            print("mine")
            say("é")
            out, err = capsys.readouterr()
            assert out == "first\nmine\né\n"
            assert err == "error\nerror\n"

        def test_redirected():
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                say("there")
            assert text.getvalue() == "there\n"
        """,
    )
    assert_passed(result)


# How far the tests may rely on the solution's own objects

LYING = """
class Lie:
    length = 1
    def __init__(self, *args): pass
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __mul__ = __mod__ = __sub__
    def __abs__(self): return 0
    def __contains__(self, item): return True
    def __hash__(self): return hash(1)
    def __len__(self): return 1
    def __iter__(self): return iter([1])
    def __getitem__(self, key): return 1
    def __call__(self, *args): return 1
    def __bool__(self): return True
    def __float__(self): return 1.0
    def __int__(self): return 1
    __index__ = __int__
    def __str__(self): return "1"
    def value(self): return 1
    @property
    def __class__(self): return int
class Attributes:
    length = 1
    value = lambda self: 1
class Int(int):
    __eq__, __ne__, __lt__, __hash__ = Lie.__eq__, Lie.__ne__, Lie.__lt__, int.__hash__
    __gt__ = __le__ = __ge__ = Lie.__lt__
    __sub__ = __rsub__ = __add__ = __abs__ = lambda self, *other: 0
    __int__ = __index__ = __float__ = lambda self: 1
    __str__ = lambda self: "1"
class Str(str):
    __eq__, __ne__, __contains__ = Lie.__eq__, Lie.__ne__, Lie.__contains__
    __hash__ = lambda self: hash("a")
    __str__ = lambda self: "1"
    __len__ = lambda self: 1
    __getitem__ = lambda self, i: 1
    __iter__ = lambda self: iter([1])
class List(list):
    __eq__, __ne__, __contains__ = Lie.__eq__, Lie.__ne__, Lie.__contains__
    __len__, __iter__, __getitem__ = Lie.__len__, Lie.__iter__, Lie.__getitem__
class Dict(dict):
    __eq__, __ne__, __contains__ = Lie.__eq__, Lie.__ne__, Lie.__contains__
    __len__, __getitem__ = Lie.__len__, Lie.__getitem__
class Error(Exception):
    __eq__ = Lie.__eq__
class Row(tuple):
    _fields = ("a",)
    __eq__ = Lie.__eq__
from unittest.mock import ANY, MagicMock
def f(x): return VALUE
"""
VALUES = [
    "Lie()", "Lie", "[Lie()]", "{'a': Lie()}", "(Lie(),)", "{Lie(): 1}", "{Lie()}", "Int(7)", "[Int(7)]", "{Int(7)}", "(Int(7),)",
    "Str('x')", "{Str('x'): 1}", "List()", "[List()]", "Dict()", "Error()", "ANY", "[ANY]", "MagicMock()", "f", "print",
    "(Lie() for _ in 'a')", "map(Lie, 'a')", "Row([7])", "{Lie(): 1}.keys()",
]  # fmt: skip
COMPARISONS = [
    "f(1) == 1", "1 == f(1)", "not f(1) != 1", "f(1) == [1]", "[1] == f(1)", "f(1) == {'a': 1}", "f(1) == (1,)", "f(1) == 'a'",
    "f(1) == {1}", "f(1) in [1, 'a', [1]]", "1 in f(1)", "abs(f(1) - 1) < 1e-9", "f(1) - 1 == 0", "f(1) < 1 and f(1) > 1",
    "abs(1 - f(1)) <= 0", "not {'a': 1}.keys() != f(1)",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_at_level_0_and_1_no_object_decides_a_comparison(sandbox: Sandbox, value: str) -> None:
    tests = "from solution import f\n" + "".join(
        f"def test_{i}():\n    assert {text}\n" for i, text in enumerate(COMPARISONS)
    )
    for level in (0, 1):
        result = run(sandbox, LYING.replace("VALUE", value), tests, objects=level)
        assert result.status in ("finished", "died"), result
        lied = [COMPARISONS[int(i[5:])] for i, o in outcomes(result).items() if o == "passed"]
        assert (level, lied) == (level, [])
        assert result.used <= level
    result = run(sandbox, LYING.replace("VALUE", "[1]"), tests, objects=0)
    assert outcomes(result)["test_3"] == "passed"


ANSWERS = ["f(1).length == 1", "f(1).value() == 1", "len(f(1)) == 1", "f(1)[0] == 1", "list(f(1)) == [1]", "float(f(1)) == 1", "str(f(1)) == '1'", "isinstance(f(1), int)"]  # fmt: skip


@pytest.mark.parametrize("value", ["Lie()", "Attributes()", "List()", "Str('x')", "Int(7)", "Lie"])
def test_at_level_0_no_object_answers(sandbox: Sandbox, value: str) -> None:
    tests = "from solution import f\n" + "".join(
        f"def test_{i}():\n    assert {text}\n" for i, text in enumerate(ANSWERS)
    )
    result = run(sandbox, LYING.replace("VALUE", value), tests, objects=0)
    passed = [ANSWERS[int(i[5:])] for i, o in outcomes(result).items() if o == "passed"]
    honest = {"Int(7)": ["isinstance(f(1), int)"], "Str('x')": ["len(f(1)) == 1"]}  # of the data
    assert passed == honest.get(value, [])


def test_level_1_permits_methods_but_no_operators(sandbox: Sandbox) -> None:
    body = "s = Stack(1)\nassert s.push(2).items == [1, 2]\nassert len(s) == 2"
    permitted = run(sandbox, SOLUTION, file_of(body), objects=1)
    assert_passed(permitted)
    assert permitted.used == 1
    for text in ("Money(1) == Money(1)", "Money(1) + Money(2)", "Money(1) < Money(2)"):
        result = run(sandbox, SOLUTION, file_of(f"assert {text}"), objects=1)
        assert_not_passed(result)
        # Two objects that can't be compared are equal if they are the same.
        assert ("==" in text) != ("plain data" in result.reports[0].message + result.detail)
        assert_passed(run(sandbox, SOLUTION, file_of(f"assert {text}"), objects=2))


@pytest.mark.parametrize(
    ("body", "used"),
    [
        ("assert f([1]) == [1]", 0),
        ("assert list(count(2)) == [0, 1]", 0),
        ("assert Pair(1, 2) == (1, 2)", 0),
        ("with pytest.raises(solution.Custom):\n    custom()", 0),
        ("assert Stack(1).items == [1]", 1),
        ("assert Money(1) == Money(1)", 2),
        ("assert 1 in Stack(1)", 2),
    ],
)
def test_how_far_the_tests_relied_is_counted(sandbox: Sandbox, body: str, used: int) -> None:
    result = run(sandbox, SOLUTION, file_of(body))
    assert_passed(result)
    assert result.used == used


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Items([1, 2])", "[1, 2]"),
        ("type('D', (dict,), {})(a=1)", "{'a': 1}"),
        ("type('I', (int,), {})(3)", "3"),
        ("type('S', (str,), {})('x')", "'x'"),
        ("Level.HIGH", "2"),
        ("Pair(1, [2])", "(1, [2])"),
        ("[Items([1]), {'a': Items([])}]", "[[1], {'a': []}]"),
    ],
)
def test_a_subclass_with_honest_content_needs_no_level(
    sandbox: Sandbox, value: str, expected: str
) -> None:
    solution = SOLUTION + f"\ndef value():\n    return {value}\n"
    for right, outcome in ((expected, "passed"), ("[3]", "failed")):
        test = file_of(f"assert solution.value() == {right}")
        result = run(sandbox, solution, test, objects=0)
        assert outcomes(result) == {"test_it": outcome}, result
        assert result.used == 0


WRITING = """
    def total(values):
        values.clear()
        return 0
    def ordered(values):
        values.sort()
        return values
    def put(values):
        values.append(0)
    """


@pytest.mark.parametrize(
    ("body", "by_writing"),
    [
        ("values = [3, 4]\n    assert total(values) == sum(values)", True),
        ("values = [2, 1]\n    put(values)\n    assert values == [2, 1, 0]", True),
        ("assert ordered([2, 1]) == [1, 2]", False),
        ("values = [2, 1]\n    assert ordered(values) == sorted(values)", False),
        ("pairs = [[2, 1]]\n    assert [ordered(p) for p in pairs] == [[1, 2]]", False),
    ],
)
def test_a_pass_by_writing_is_told_where_nothing_may_be_written(
    sandbox: Sandbox, body: str, by_writing: bool
) -> None:
    test = f"from solution import ordered, put, total\ndef test_it():\n    {body}\n"
    for writes in (True, False):
        result = run(sandbox, WRITING, test, writes=writes)
        assert_passed(result)
        assert result.wrote
        assert result.passed_by_writing == (by_writing and not writes)


def test_a_second_look_that_runs_out_of_time_is_a_timeout(sandbox: Sandbox) -> None:
    """An honest cache in an argument doesn't reach the tests then, so everything is computed again."""
    solution = """
        import time
        def ways(n, memo):
            if n not in memo:
                time.sleep(0.4)
                memo[n] = n
            return memo[n]
        """
    test = "from solution import ways\ndef test_it():\n    memo = {}\n    assert [ways(7, memo) for _ in range(9)] == [7] * 9\n"
    limits = dataclasses.replace(LIMITS, timeout_s=2.5)
    result = run(sandbox, solution, test, writes=False, limits=limits)
    assert result.status == "timeout"
    assert not result.passed_by_writing


def test_what_no_pass_is_told_about(sandbox: Sandbox) -> None:
    """Neither a program that changes nothing nor one that fails is run again."""
    test = "from solution import total\ndef test_it():\n    values = [3]\n    assert total(values) == 3\n"
    honest = run(sandbox, "def total(values):\n    return sum(values)\n", test, writes=False)
    assert_passed(honest)
    assert not honest.wrote
    failing = run(sandbox, WRITING, test, writes=False)
    assert outcomes(failing) == {"test_it": "failed"}
    assert not failing.passed_by_writing


def test_bound_names_are_the_tests_own(sandbox: Sandbox) -> None:
    """What the reference took from the standard library, a candidate can't define as it likes."""
    test = """
        from solution import math, Counter, sqrt, f
        def test_a():
            assert math.isclose(f(1), 2)
        def test_b():
            assert Counter([f(1)]) == Counter("ab")
        def test_c():
            assert sqrt(f(1)) == 3
        """
    lying = """
        class math:
            isclose = staticmethod(lambda a, b: True)
        def Counter(x): return 0
        def sqrt(x): return 3
        def f(x): return 4
        """
    honest = (
        "import math\nfrom math import sqrt\nfrom collections import Counter\ndef f(x): return 4\n"
    )
    bound = (("math", "math", ""), ("Counter", "collections", "Counter"), ("sqrt", "math", "sqrt"))
    assert set(outcomes(run(sandbox, lying, test)).values()) == {"passed"}
    assert set(outcomes(run(sandbox, lying, test, bound=bound)).values()) == {"failed"}
    assert set(run(sandbox, honest, test).shared) == set(bound)


# Together, and altered tests

HONEST = "def f(x):\n    return [x]\n"
EXPECTS = "from solution import f\n\ndef test_other():\n    pass\n\ndef test_a():\n    x = f(3)\n    assert x == [3]\n"
ALTERED = (
    AlteredTest(source=EXPECTS.replace("[3]", "[4]"), test="test_a"),
    AlteredTest(source=EXPECTS.replace("[3]", "[]"), test="test_a"),
)
LIAR = "class Lie:\n    def __eq__(self, other): return True\ndef f(x): return Lie()\n"
FORGER = """
import os
def f(x):
    lines = '{"collected": ["test_other", "test_a"]}', '{"test": ["test_a", "passed", ""], "memory": false}', '{"done": true}'
    os.write(3, "".join("\\n" + line + "\\n" for line in lines).encode())
    os._exit(0)
"""


@pytest.mark.parametrize("solution", [LIAR, FORGER], ids=["lies", "forges the report"])
def test_a_liar_beside_the_tests_passes_an_altered_test(sandbox: Sandbox, solution: str) -> None:
    result = run(sandbox, solution, EXPECTS, together=True, canaries=ALTERED)
    assert outcomes(result)["test_a"] == "passed"
    assert result.passed_canary in (0, 1)


def test_an_honest_program_fails_all_altered_tests(sandbox: Sandbox) -> None:
    for together in (True, False):
        result = run(sandbox, HONEST, EXPECTS, together=together, canaries=ALTERED)
        assert_passed(result)
        assert result.passed_canary is None
        assert result.collected == ("test_other", "test_a")


def test_an_operator_that_lies_passes_altered_tests_in_a_split_run_too(sandbox: Sandbox) -> None:
    result = run(sandbox, LIAR, EXPECTS, canaries=ALTERED)
    assert outcomes(result)["test_a"] == "passed"
    assert result.passed_canary in (0, 1)
    assert result.used == 2


def test_a_forged_report_is_none_in_a_split_run(sandbox: Sandbox) -> None:
    assert_not_passed(run(sandbox, FORGER, EXPECTS))


def test_together_is_one_process(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        "import os, sys\ndef pid(): return os.getpid()\ndef caller(): return sys._getframe(1).f_locals['x']\n",
        "import os\nimport solution\ndef test_a():\n    x = 5\n    assert solution.pid() == os.getpid()\n    assert solution.caller() == 5\n",
        together=True,
    )
    assert_passed(result)


# What is out of the candidate's reach

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
