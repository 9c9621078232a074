"""Honest programs whose answers are unusual values, and change what they are given."""

from sandbox.battery.program import honest

PROGRAMS = (
    honest(
        "own_equality",
        "instances of a class with its own __eq__ and __hash__",
        """
class Money:
    def __init__(self, cents):
        self.cents = cents
    def __eq__(self, other):
        return isinstance(other, Money) and self.cents == other.cents
    def __hash__(self):
        return hash(self.cents)
    def __add__(self, other):
        return Money(self.cents + other.cents)
""",
        """
from solution import Money
def test_sum():
    assert Money(1) + Money(2) == Money(3)
    assert Money(1) != Money(2)
    assert len({Money(1), Money(1)}) == 1
""",
    ),
    honest(
        "other_numbers",
        "numbers of other types that equal the expected ones",
        """
from decimal import Decimal
from fractions import Fraction
def half(n):
    return n / 2
def third(n):
    return Fraction(n, 3)
def price(text):
    return Decimal(text)
def even(n):
    return 1 - n % 2
""",
        """
from solution import even, half, price, third
def test_numbers():
    assert half(4) == 2
    assert third(6) == 2
    assert price("1.50") == 1.5
    assert even(2) == True
""",
    ),
    honest(
        "records",
        "data classes, named tuples and enumerations",
        """
import dataclasses, enum, typing
@dataclasses.dataclass(frozen=True, order=True)
class Point:
    x: int
    y: int = 0
class Pair(typing.NamedTuple):
    left: int
    right: int
class Colour(enum.Enum):
    RED = 1
def origin():
    return Point(0)
def pair():
    return Pair(1, 2)
def colour():
    return Colour.RED
""",
        """
import solution
def test_records():
    assert solution.origin() == solution.Point(0, 0) < solution.Point(1)
    assert solution.pair() == (1, 2)
    assert solution.colour() is solution.Colour.RED
""",
    ),
    honest(
        "arguments_changed",
        "the result is the change of an argument",
        """
def sort_in_place(items):
    for i in range(len(items)):
        for j in range(i, 0, -1):
            if items[j] < items[j - 1]:
                items[j], items[j - 1] = items[j - 1], items[j]
""",
        """
from solution import sort_in_place
def test_in_place():
    items = [3, 1, 2]
    assert sort_in_place(items) is None
    assert items == [1, 2, 3]
""",
    ),
    honest(
        "callbacks",
        "takes functions of the test and gives functions back",
        """
def compose(f, g):
    return lambda x: f(g(x))
def counter():
    n = 0
    def step():
        nonlocal n
        n += 1
        return n
    return step
""",
        """
from solution import compose, counter
def test_functions():
    seen = []
    assert compose(str, lambda x: seen.append(x) or x + 1)(1) == "2"
    assert seen == [1]
    step = counter()
    assert [step(), step(), counter()()] == [1, 2, 1]
""",
    ),
    honest(
        "iterators",
        "generators that are sent values, and never end",
        """
def naturals():
    n = 0
    while True:
        n += (yield n) or 1
def window(items):
    return zip(items, items[1:])
""",
        """
import itertools
from solution import naturals, window
def test_iterators():
    assert list(itertools.islice(naturals(), 3)) == [0, 1, 2]
    stream = naturals()
    assert (next(stream), stream.send(5)) == (0, 5)
    assert next(window([1, 2])) == (1, 2)
""",
    ),
    honest(
        "strange_values",
        "not-a-number, infinities, huge integers, bytes, sets, ellipsis, text of other scripts",
        """
def nan():
    return float("nan")
def power(n):
    return 2**n
def values():
    return [float("inf"), b"\\x00\\xff", {1, 2}, ..., "日本語 🙂", None, 1j, range(3)]
""",
        """
import math
from solution import nan, power, values
def test_values():
    assert math.isnan(nan())
    assert nan() != nan()
    assert power(5000).bit_length() == 5001
    assert values() == [math.inf, b"\\x00\\xff", {2, 1}, ..., "日本語 🙂", None, 1j, range(3)]
""",
    ),
    honest(
        "state",
        "one object for all calls, a cache, and a counter kept from test to test",
        """
import functools
calls = 0
@functools.lru_cache
def square(n):
    global calls
    calls += 1
    return n * n
class Single:
    _one = None
    def __new__(cls):
        cls._one = cls._one or super().__new__(cls)
        return cls._one
""",
        """
import solution
from solution import Single, square
def test_first():
    assert square(3) == square(3) == 9
    assert solution.calls == 1
    assert Single() is Single()
def test_second():
    assert square(3) == 9
    assert solution.calls == 1
""",
    ),
    honest(
        "pickled",
        "its objects survive pickle and copy",
        """
class Node:
    def __init__(self, value, next=None):
        self.value, self.next = value, next
def loop():
    node = Node(1)
    node.next = node
    return node
""",
        """
import copy, pickle
from solution import Node, loop
def test_copies():
    for node in (pickle.loads(pickle.dumps(loop())), copy.deepcopy(loop())):
        assert type(node) is Node
        assert node.next is node
""",
    ),
    honest(
        "seeded_numbers",
        "random numbers with a seed, whichever way it is given",
        """
import random
def draw(seed):
    random.seed(seed)
    return random.random()
def shuffled(seed):
    items = list(range(10))
    random.Random(seed).shuffle(items)
    return items
""",
        """
import random
from solution import draw, shuffled
def test_seeds():
    assert draw(7) == draw(7) == random.Random(7).random()
    assert shuffled(1) == shuffled(1) != shuffled(2)
""",
    ),
    honest(
        "looks_at_itself",
        "its source, its annotations, its caller's name, eval and exec",
        """
import inspect, sys
def source():
    return inspect.getsource(source)
def typed(a: int, b: str = "x") -> bool:
    return True
def caller():
    return sys._getframe(1).f_code.co_name
def compute(text):
    space = {}
    exec(f"result = {text}", space)
    return space["result"] + eval("1")
""",
        """
import inspect
import solution
def test_mirror():
    assert solution.source().startswith("def source():")
    assert list(inspect.signature(solution.typed).parameters) == ["a", "b"]
    assert solution.typed.__annotations__["return"] is bool
    assert solution.caller() == "test_mirror"
    assert solution.compute("2 * 3") == 7
""",
    ),
)
