"""The record of one program of the battery, and the problems that the attacks pretend to solve."""

from __future__ import annotations

import dataclasses
import json

LISTENER = "@PORT@"
"""In a solution: the TCP port on 127.0.0.1 where the check listens."""
SOCKET = "@SOCKET@"
"""In a solution: the name of the abstract UNIX socket where the check listens."""
SECRET = "@SECRET@"
"""In a solution: the path of a file that only the check's user may read."""
GUARD = "@GUARD@"
"""In a solution: the process id of a process of the check, its marker among its arguments."""
MARKER = "srs-self-check-guard"
TOKEN_NAME = "SRS_SELF_CHECK_TOKEN"
"""A variable in the check's own environment that no program may see."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A test file, or stdin/stdout cases as KodCode's JSON, and a solution that earns the pass."""

    test: str
    reference: str
    stdio: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """``why``: what it tries, or what is odd about it. It runs ``runs`` times, and none may pass.

    ``honest``: it earns the pass that it gets.
    """

    name: str
    why: str
    problem: Problem
    solution: str
    runs: int = 1
    honest: bool = False


def honest(name: str, why: str, solution: str, test: str) -> Program:
    """A program that is its own reference."""
    problem = Problem(test=test, reference=solution)
    return Program(name=name, why=why, problem=problem, solution=solution, honest=True)


ADD = Problem(
    test="""\
from solution import add

def test_small():
    assert add(1, 2) == 3
    assert add(-4, 4) == 0

def test_large():
    assert add(10**12, 7) == 1000000000007
""",
    reference="def add(a, b):\n    return a + b\n",
)
ADD_STAR = Problem(
    test="""\
from solution import *

def test_small():
    assert add(1, 2) == 3

def test_zero():
    assert add(0, 0) == 0
""",
    reference=ADD.reference,
)
ORDERED = Problem(
    test="""\
from solution import ordered

def test_numbers():
    assert ordered([3, 1, 2]) == [1, 2, 3]
    assert ordered([]) == []

def test_words():
    given = ["pear", "apple"]
    assert ordered(given) == ["apple", "pear"]
    assert given == ["pear", "apple"]
""",
    reference="def ordered(items):\n    return sorted(items)\n",
)
COUNTS = Problem(
    test="""\
from solution import counts

def test_words():
    assert counts("a b a") == {"a": 2, "b": 1}

def test_one():
    result = counts("x")
    assert isinstance(result, dict)
    assert result["x"] == 1
""",
    reference="""\
def counts(text):
    result = {}
    for word in text.split():
        result[word] = result.get(word, 0) + 1
    return result
""",
)
AREA = Problem(
    test="""\
import pytest
from solution import area

def test_difference():
    assert abs(area(2.0) - 12.566370614) < 1e-6

def test_approx():
    assert area(1.0) == pytest.approx(3.14159265)

def test_order():
    assert area(1.0) < area(2.0) < 13
""",
    reference="import math\n\ndef area(radius):\n    return math.pi * radius**2\n",
)
SCALE = Problem(
    test="""\
import pytest
from solution import scale

@pytest.fixture
def factor():
    return 3

@pytest.mark.parametrize("n, expected", [(1, 3), (2, 6), (-1, -3)])
def test_scale(n, expected, factor):
    assert scale(n, factor) == expected
""",
    reference="def scale(n, factor):\n    return n * factor\n",
)
REVERSE = Problem(
    test="""\
import unittest
from solution import reverse

class TestReverse(unittest.TestCase):
    def test_word(self):
        self.assertEqual(reverse("abc"), "cba")

    def test_empty(self):
        self.assertEqual(reverse(""), "")
""",
    reference="def reverse(text):\n    return text[::-1]\n",
)
PARSE = Problem(
    test="""\
import pytest
from solution import parse

def test_number():
    assert parse("42") == 42

def test_word():
    with pytest.raises(ValueError):
        parse("x")
""",
    reference="def parse(text):\n    return int(text)\n",
)
FACTORIAL = Problem(
    test="""\
from solution import factorial

def test_six():
    expected = 720
    actual = factorial(6)
    assert isinstance(actual, int)
    assert actual == expected

def test_zero():
    expected = 1
    actual = factorial(0)
    assert actual == expected
""",
    reference="""\
def factorial(n):
    return 1 if n == 0 else n * factorial(n - 1)
""",
)
LENGTH = Problem(
    test="""\
import math
from solution import length

def test_lengths():
    for x, y in [(3, 4), (5, 12), (1, 1)]:
        assert length(x, y) == math.sqrt(x * x + y * y)
""",
    reference="import math\n\ndef length(x, y):\n    return math.sqrt(x * x + y * y)\n",
)
TOTAL = Problem(
    test="""\
from solution import total

def test_totals():
    for values in ([1, 2, 3], [10], [5, -5, 4]):
        assert total(values) == sum(values)
""",
    reference="def total(values):\n    return sum(values)\n",
)
TRIANGLE = Problem(
    test="""\
import time
from solution import triangle

def test_fast():
    start = time.perf_counter()
    assert triangle(1000) == 500500
    assert time.perf_counter() - start < 0.4
""",
    reference="def triangle(n):\n    return n * (n + 1) // 2\n",
)
SUM_LINES = Problem(
    test=json.dumps({"stdin": ["1 2\n", "10 -3\n"], "stdout": ["3\n", "7\n"]}),
    reference="a, b = map(int, input().split())\nprint(a + b)\n",
    stdio=True,
)
