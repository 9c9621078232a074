"""How far the tests may rely on the solution's own objects."""

import dataclasses

import pytest
from split_runs import (
    LIMITS,
    SOLUTION,
    assert_not_passed,
    assert_passed,
    file_of,
    outcomes,
    run,
)

from sandbox.runner import Sandbox

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
