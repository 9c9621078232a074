"""A rewritten assertion does what a plain one does, and says both values when it fails."""

import ast
from typing import Any

import pytest

from sandbox.inside import asserting

SETTING = """
trace = []
def say(value, name="value"):
    trace.append((name, repr(value)))
    return value
def fail():
    trace.append("fail")
    raise KeyError("k")
class Odd:
    def __repr__(self): raise ValueError("no repr")
    def __eq__(self, other): trace.append("eq"); return 0
class Undecided:
    def __bool__(self): raise TypeError("neither")
class Vector:
    def __eq__(self, other): return Undecided()
"""


def run(source: str, *, rewritten: bool) -> tuple[BaseException | None, list[Any], dict[str, Any]]:
    """What it raised, the order in which it evaluated its parts, and the names it left."""
    tree = ast.parse(source)
    if rewritten:
        tree = asserting.Explaining().visit(tree)
    names: dict[str, Any] = {asserting.SAY: asserting.say}
    exec(SETTING, names)
    raised = None
    try:
        exec(compile(tree, "test.py", "exec"), names)
    except BaseException as e:
        raised = e
    plain = {k: v for k, v in names.items() if isinstance(v, int | str | list | tuple)}
    return raised, names["trace"], plain


def said(source: str) -> str:
    raised, _, _ = run(source, rewritten=True)
    assert type(raised) is AssertionError
    return str(raised)


STATEMENTS = [
    "assert True",
    "assert say(0)",
    "assert say([])",
    "assert not say(1)",
    "assert say(1) == say(1)",
    "assert say(1) == say(2)",
    "assert say(1) != say(1), say('message')",
    "assert say(1) == say(1), fail()",
    "assert say(1) == say(2), fail()",
    "assert say(0), None",
    "assert fail() == say(2)",
    "assert say(2) == fail()",
    "assert say(1) < say(2) < say(3)",
    "assert say(3) < say(2) < say(1)",
    "assert say(1) <= say(2)",
    "assert say(1) > say(2)",
    "assert say(1) >= say(2)",
    "assert say(1) in say([1])",
    "assert say(1) not in say([1])",
    "assert say(None) is say(None)",
    "assert say(None) is not say(None)",
    "assert say(1) in say(2)",
    "assert say(1) and say(0)",
    "assert say(0) or say(1)",
    "assert say(1) == say(1) and say(2) == say(3)",
    "assert say(1) if say(0) else say(0)",
    "assert Odd() == Odd()",
    "assert Odd()",
    "assert Vector() == Vector()",
    "assert Undecided()",
    "assert (x := say(1)) == x",
    "assert (x := say(1)) == x + 1",
    "x = 2\nassert x == (x := 3)",
    "x = [1]\nassert x.append(2) == None\nassert x == [1, 2]",
    "assert (lambda: say(1))() == 1",
    "assert [n for n in say((1, 2))] == [1, 3]",
    "assert sum(n for n in (1, 2)) == 3",
    "for n in (1, 2, 3):\n    assert n < 3",
    "if say(1):\n    assert say(0)\nelse:\n    assert say(2)",
    "try:\n    assert say(1) == 2\nexcept AssertionError:\n    caught = 1\nelse:\n    caught = 0",
    "try:\n    assert say(0)\nfinally:\n    done = 1",
    "with __import__('contextlib').suppress(AssertionError):\n    assert say(1) == 2\ndone = 1",
    "def f(a):\n    assert a == 1\n    return a\nf(1)\nf(2)",
    "def f(a):\n    def g():\n        assert a == 1\n    return g\nf(2)()",
    "def g():\n    assert (yield 1) == 2\nlist(g())",
    "def f():\n    global y\n    y = 1\n    assert y == 1\nf()\nassert y == 2",
    "class C:\n    a = 1\n    assert a == 1\n    assert a == 2",
    "def f(n):\n    assert n == 0 or f(n - 1) == None\nassert f(3) == None",
    "def f(n):\n    assert (f(n - 1) if n else n) == n\n    return n\nf(0)\nf(1)",
    "def f(__a):\n    assert __a == 1\nf(1)\nf(2)",
    "async def f():\n    assert 1 == 2\n__import__('asyncio').run(f())",
]  # fmt: skip


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.filterwarnings("ignore")
def test_same_as_a_plain_assert(statement: str) -> None:
    plain, plain_trace, plain_names = run(statement, rewritten=False)
    raised, trace, names = run(statement, rewritten=True)
    assert type(raised) is type(plain)
    assert trace == plain_trace
    assert {k: v for k, v in names.items() if not k.startswith("@")} == plain_names
    if isinstance(plain, AssertionError) and plain.args and plain.args[0] is not None:
        assert str(raised).startswith(str(plain) + "\n")
    elif not isinstance(plain, AssertionError):
        assert str(raised) == str(plain)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("assert 1 == 2", "assert 1 == 2"),
        ("assert 1 == 2, 'why'", "why\nassert 1 == 2"),
        ("assert 1 == 2, ''", "\nassert 1 == 2"),
        ("assert 1 == 2, ('a', 3)", "('a', 3)\nassert 1 == 2"),
        ("assert len([1]) == 2", "assert 1 == 2\n +  where 1 = len([1])"),
        ("x = [1]\nassert x != x", "assert [1] != [1]\n +  where [1] = x"),
        ("assert 'a' in ['b']", "assert 'a' in ['b']"),
        ("assert 'a' not in 'abc'", "assert 'a' not in 'abc'"),
        ("assert 3 < len('ab')", "assert 3 < 2"),
        ("assert not len('a')", "assert not len('a')"),
        ("assert 1 < 2 < 2", "assert 1 < 2 < 2"),
        ("assert []", "assert []"),
    ],
)
def test_what_a_failure_says(source: str, text: str) -> None:
    assert said(source) == text


def test_a_failing_repr_is_no_other_failure() -> None:
    assert "Odd" in said("assert Odd() == 1")
    assert "whose repr raised" in asserting.shown(10**5000)
    assert "Odd" in said("assert [Odd()] == 1")


def test_long_values_are_cut() -> None:
    assert len(said("assert list(range(10**6)) == 'x' * 10**6")) < 1500
    nested: list[Any] = []
    nested.append(nested)
    assert len(asserting.shown(nested)) < 500


def test_the_line_is_that_of_the_assertion() -> None:
    raised, _, _ = run("\n\nassert (\n    1 ==\n    2\n)", rewritten=True)
    assert raised is not None
    assert raised.__traceback__ is not None
    assert raised.__traceback__.tb_next is not None
    assert raised.__traceback__.tb_next.tb_lineno == 3
