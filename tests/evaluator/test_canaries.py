import ast
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evaluator.canaries import Canary, canaries
from srs.tasks import read_rows
from srs.types import Task

HELD_OUT = Path(__file__).parents[2] / "srs" / "tiny" / "held_out.jsonl"
N_TASKS = 40
HEAD = "import math\nimport numpy as np\nimport pytest\nfrom solution import f\n"


def changes(test: str) -> list[str]:
    """What changed, without the line."""
    return [c.change.split(": ", 1)[1] for c in canaries(HEAD + test)]


def test_what_an_expected_object_is_made_of_is_altered() -> None:
    made = in_test("assert Vector(1, 2) + Vector(3, 4) == Vector(4, 6)")
    assert "4 became 5" in made
    assert "6 became 5" in made
    assert not [c for c in made if c.startswith(("1 ", "2 ", "3 "))]


def in_test(body: str) -> list[str]:
    return changes(f"def test_a():\n    {body}\n")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # values, near and in both directions
        ("assert f(1) == 3", ["3 became 4", "3 became 2"]),
        ("assert 3 == f(1)", ["3 became 4", "3 became 2"]),
        ("assert f(1) == -3", ["-3 became -2", "-3 became -4"]),
        ("assert f(1) == 2.0", ["2.0 became 2.02", "2.0 became 1.98"]),
        ("assert f(1) == 'ab'", ["'ab' became 'ac'", "'ab' became 'ab_'"]),
        ("assert f(1) == ''", ["'' became ' '", "'' became '_'"]),
        ("assert f(1) == b'a'", ["b'a' became b'`'", "b'a' became b'a_'"]),
        ("assert f(1) == True", ["True became False", "True became None"]),
        ("assert f(1) == None", ["None became 0", "None became False"]),
        ("assert f(1) == []", ["[] became [0]", "[] became [None]"]),
        ("assert f(1) == ()", ["() became (0,)", "() became (None,)"]),
        ("assert f(1) == {}", ["{} became {0: 0}", "{} became {None: None}"]),
        ("assert f(1) == set()", ["set() became {0}", "set() became {None}"]),
        (
            "assert f(1) == [1, (2, 5)]",
            ["1 became 2", "5 became 4", "(2, 5) was appended", "(2, 5) was removed"],
        ),
        (
            "assert f(1) == {'a': 1}",
            ["1 became 2", "1 became 0", "key 'b' was appended", "key 'a' was removed"],
        ),
        ("assert f(1) == {1, 2}", ["1 became 2", "2 became 1", "3 was appended", "2 was removed"]),
        ("assert f(1) == {3, 2}", ["3 became 4", "2 became 1", "1 was appended", "2 was removed"]),
        # operators
        ("assert f(1) is None", ["None became False", "None became True"]),
        ("assert f(1) is True", ["True became False", "True became None"]),
        ("assert f(1) != 3", ["f(1) != 3 became ((f(1)) == (3))", "f(1) != 3 became (not (f(1) != 3))"]),
        ("assert f(1) < 3", ["f(1) < 3 became ((f(1)) >= (3))", "f(1) < 3 became (not (f(1) < 3))"]),
        (
            "assert f(1) in [2]",
            ["[2] became [None]", "f(1) in [2] became ((f(1)) not in ([2]))", "f(1) in [2] became (not (f(1) in [2]))"],
        ),
        ("assert isinstance(f(1), (int, float))", ["isinstance(f(1), (int, float)) became (not (isinstance(f(1), (int, float))))", "isinstance(f(1), (int, float)) became ((isinstance(f(1), (int, float))) == Fa…"]),
        ("assert f(1)", ["f(1) became (not (f(1)))", "f(1) became ((f(1)) == False)"]),
        ("assert not f(1)", ["not f(1) became (f(1))", "not f(1) became ((f(1)) == True)"]),
        ("assert f(1) == 1 and f(2) == 5", ["1 became 2", "1 became 0", "5 became 6", "5 became 4"]),
        # tolerances
        ("assert f(1) == pytest.approx(2.0, rel=0.1)", ["2.0 became 2.6", "2.0 became 1.4"]),
        ("assert abs(f(1) - 3) < 2", ["3 became 9", "3 became -3"]),
        ("np.testing.assert_allclose(f(1), 2.0, atol=0.5)", ["2.0 became 3.5", "2.0 became 0.5"]),
        # no literal to alter
        ("assert f(1) == len([1])", ["len([1]) became ((len([1])) + 1)", "len([1]) became ((len([1])) - 1)"]),
        ("assert f(1) == f(2)", ["f(2) became ((f(2)), None)", "f(1) == f(2) became ((f(1)) != (f(2)))"]),
        # exceptions, none of them a relative
        (
            "with pytest.raises(ValueError): f(1)",
            ["ValueError became ZeroDivisionError", "ValueError became BufferError"],
        ),
        (
            "with pytest.raises((KeyError, ArithmeticError)): f(1)",
            ["(KeyError, ArithmeticError) became BufferError", "(KeyError, ArithmeticError) became GeneratorExit"],
        ),
        ("pytest.raises(Exception, f, 1)", ["Exception became GeneratorExit", "Exception became SystemExit"]),
        # nothing to alter
        ("f(1)", []),
        ("assert False", []),
    ],
)  # fmt: skip
def test_one_expectation(body: str, expected: list[str]) -> None:
    assert in_test(body) == expected


@pytest.mark.parametrize(
    ("test", "answers"),
    [
        ("assert 'A' in f()", ["ABC", {"A": "B", "B": "A", "A_": ""}, ["A", "B", "AB"]]),
        ("assert '12' in f()", ["0123456789", "13 12"]),
        ("assert isinstance(f(), (int, float))", [1, 1.5, True]),
        ("assert all(isinstance(x, (int, float)) for x in f())", [[1, 2.0], [3], [2.5]]),
        ("assert issubclass(f(), (int, str))", [int, str, bool]),
        ("assert hasattr(f(), 'real')", [1, types.SimpleNamespace(real=1, imag=2, reak=3, real_=4)]),
        ("assert re.search('a|b', f())", ["a", "b", "abc", "a_ b_"]),
        ("assert re.fullmatch(f(), 'abc')", [".*", "ab?.+"]),
        ("assert isinstance(f(), int) or isinstance(f(), str)", [1, "a"]),
        ("assert f() < 3 or (f() >\n        10)", [2, 3.0 - 1, 11]),
        ("assert f() in (None, 0)", [None, 0]),
        ("assert f() == 1 or f() == 2", [1, 2]),
        ("assert f() or f() == ''", ["a", ""]),
        ("want = 'x'\n    assert want in f() or f() == []", ["x", [], ["x", "y"]]),
    ],
)  # fmt: skip
def test_no_honest_answer_passes_a_canary(test: str, answers: list[Any]) -> None:
    source = f"import re\nfrom solution import f\ndef test_a():\n    {test}\n"
    for answer in answers:
        run(source, "test_a", {"f": lambda answer=answer: answer})
        for canary in canaries(source):
            assert fails(canary.source, "test_a", {"f": lambda answer=answer: answer}), canary


class Holder:
    """Holds all and has all attributes."""

    def __contains__(self, item: object) -> bool:
        return True

    def __getattr__(self, name: str) -> int:
        return 1


@pytest.mark.parametrize("condition", ["'A' in f()", "'12' in f()", "hasattr(f(), 'real')"])
def test_what_holds_everything_passes_a_canary_near_the_truth(condition: str) -> None:
    source = f"from solution import f\ndef test_a():\n    assert {condition}\n"
    found = [c for c in canaries(source) if not fails(c.source, "test_a", {"f": Holder})]
    assert len(found) == 1
    was, now = (ast.literal_eval(t) for t in found[0].change.split(": ")[1].split(" became "))
    assert now.startswith(was)
    assert now[len(was) :].isalnum()
    other = canaries(source + "# another file\n")[0].change
    assert other != found[0].change, "whoever knows this module must not know the letters"


def test_alternatives_change_together() -> None:
    assert in_test("assert f(1) == 1 or f(1) == 5")[:2] == [
        "1 became 2, 5 became 6",
        "1 became 0, 5 became 4",
    ]
    assert in_test("assert math.isclose(f(1), 2.0, rel_tol=0.2)")[:2] == [
        "2.0 became 3.2",
        "2.0 became 0.8",
    ]


@pytest.mark.parametrize(
    "test",
    [
        "def test_a():\n    expected = 7\n    assert f(1) == expected\n",
        "WANT = 7\ndef test_a():\n    assert f(1) == WANT\n",
        "def test_a():\n    result, want = f(1), 7\n    assert want == result\n",
        "@pytest.mark.parametrize('x, y', [(1, 7)])\ndef test_a(x, y):\n    assert f(x) == y\n",
        "@pytest.mark.parametrize(['y', 'x'], [pytest.param(7, 1)])\ndef test_a(x, y):\n    assert f(x) == y\n",
        "def test_a():\n    for x, y in [(1, 7)]:\n        assert f(x) == y\n",
        "X, Y = [1], [7]\ndef test_a():\n    for i, (x, y) in enumerate(zip(X, Y)):\n        assert f(x) == y\n",
        "def test_a():\n    for x, y in {1: 7}.items():\n        assert f(x) == y\n",
        "def test_a():\n    for c in [{'x': 1, 'y': 7}]:\n        assert f(c['x']) == c['y']\n",
        "def test_a():\n    assert all(f(x) == y for x, y in [(1, 7)])\n",
        "def check(x, y):\n    assert f(x) == y\ndef test_a():\n    check(1, y=7)\n",
        "def check(out, y):\n    assert out == y\ndef test_a():\n    check(f(1), 7)\n",
        "@pytest.fixture\ndef y():\n    return 7\ndef test_a(y):\n    assert f(1) == y\n",
        "class TestC:\n    y = 7\n    def test_a(self):\n        assert f(1) == self.y\n",
        "class TestC:\n    def setup_method(self):\n        self.y = 7\n    def test_a(self):\n        assert f(1) == self.y\n",
    ],
)
def test_altered_at_its_origin(test: str) -> None:
    assert changes(test) == ["7 became 8", "7 became 6"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("s = 'ab'\n    assert f(f(s)) == s", ["s became ((s) + '_')", "s became ('_' + (s))"]),
        ("a = [2]\n    f(a)\n    assert a == [3]", ["3 became 4", "3 became 2", "4 was appended", "3 was removed"]),
        ("a = [2]\n    b = a\n    f(b)\n    assert f(1) == a", ["a became [*(a), None]", "a became [None, *(a)]"]),
        ("a = [7]\n    a.append(9)\n    assert f(1) == a", ["7 became 8", "7 became 6", "8 was appended", "7 was removed"]),
        ("for i in range(3):\n        assert f(i) == i", ["i became ((i) + 1)", "i became ((i) - 1)"]),
    ],
)  # fmt: skip
def test_input_stays(body: str, expected: list[str]) -> None:
    assert in_test(body) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("assertEqual(f(1), 3)", ["3 became 4", "3 became 2"]),
        ("assertEqual(3, f(1))", ["3 became 4", "3 became 2"]),
        ("assertAlmostEqual(f(1), 2.0, places=1)", ["2.0 became 2.45", "2.0 became 1.55"]),
        ("assertTrue(f(1) == 3)", ["3 became 4", "3 became 2"]),
        ("assertTrue(f(1))", ["self.assertTrue became self.assertFalse", "self.assertTrue(f(1)) became self.assertEqual(f(1), False)"]),
        ("assertFalse(f(1))", ["self.assertFalse became self.assertTrue", "self.assertFalse(f(1)) became self.assertEqual(f(1), True)"]),
        ("assertIn(f(1), [2])", ["[2] became [None]", "self.assertIn became self.assertNotIn"]),
        ("assertIsNone(f(1))", ["self.assertIsNone(f(1)) became self.assertEqual(f(1), 0)", "self.assertIsNone became self.assertIsNotNone"]),
        ("assertRaises(KeyError, f, 1)", ["KeyError became ZeroDivisionError", "KeyError became BufferError"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "async "])
def test_unittest(prefix: str, call: str, expected: list[str]) -> None:
    test = f"class Sums(unittest.TestCase):\n    {prefix}def test_m(self):\n        self.{call}\n"
    assert changes("import unittest\n" + test) == expected
    assert {c.test for c in canaries(HEAD + test)} == {"Sums::test_m"}


def test_the_rest_stays_byte_for_byte() -> None:
    test = (
        '"""é"""\r\nfrom __future__ import annotations\nfrom solution import f\n\n'
        "def test_a():  # ü\n    assert f('é€😀') == 3, 'ö'  # 3\n    assert  f( 2 )==[ 1,\n  2 ]\n"
    )
    assert canaries(test)[0] == Canary(
        source=test.replace("== 3", "== 4"), test="test_a", change="line 6: 3 became 4"
    )
    assert canaries(test)[2].source == test.replace("[ 1", "[ 2")


@pytest.mark.parametrize(
    "text", ["def test_a(:", "\x00", "\udce9", "assert " + "(" * 500 + ")" * 500, "{'stdin': []}"]
)
def test_no_test_file(text: str) -> None:
    assert canaries(text) == ()


def test_equal_copies_come_once_in_the_order_of_the_source() -> None:
    test = "WANT = 7\ndef test_b():\n    assert f(1) == WANT\n    assert f(2) == 5\ndef test_a():\n    assert f(3) == WANT\n"
    found = canaries(HEAD + test)
    assert [(c.test, c.change) for c in found] == [
        ("test_b", "line 5: 7 became 8"),
        ("test_b", "line 5: 7 became 6"),
        ("test_b", "line 8: 5 became 6"),
        ("test_b", "line 8: 5 became 4"),
    ]


def values() -> st.SearchStrategy[object]:
    scalars = (
        st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=3)
        | st.floats(allow_nan=False, allow_infinity=False)
    )  # fmt: skip
    return st.recursive(
        scalars | st.sets(scalars, max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(scalars, inner, max_size=3)
        ),
        max_leaves=8,
    )


@settings(max_examples=300, deadline=None)
@given(value=values())
@example(value={False: None, None: None})
def test_an_altered_literal_never_equals_the_value(value: object) -> None:
    found = canaries(f"def test_a():\n    assert f() == {value!r}\n")
    assert 2 <= len(found) <= 4
    for canary in found:
        with pytest.raises(AssertionError):
            run(canary.source, canary.test, {"f": lambda: value})


class Lie:
    """Equal to everything; its attributes and items are such objects too."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def run(source: str, test: str, names: dict[str, Any]) -> None:
    solution = types.ModuleType("solution")
    vars(solution).update(names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "solution", solution)
        module = dict(names)
        exec(compile(source, "test_solution.py", "exec"), module)
        module[test]()


def fails(source: str, test: str, names: dict[str, Any]) -> bool:
    try:
        run(source, test, names)
    except AssertionError:
        return True
    return False


@pytest.fixture(scope="module")
def shipped() -> list[tuple[Task, dict[str, Any]]]:
    tasks = read_rows(HELD_OUT)
    some = tasks[:: len(tasks) // N_TASKS][:N_TASKS]
    found = []
    for task in some:
        names: dict[str, Any] = {}
        exec(task.reference or "", names)
        found.append((task, names))
    return found


def test_shipped_references_fail_their_canaries(shipped: list[tuple[Task, dict[str, Any]]]) -> None:
    results = []
    for task, names in shipped:
        n_failed = dict.fromkeys(asserting_tests(task.test), 0)
        for test in n_failed:
            run(task.test, test, names)
        for canary in canaries(task.test):
            failed = fails(canary.source, canary.test, names)
            results.append(failed)
            n_failed[canary.test] += failed
        assert min(n_failed.values()) >= 2, task.id
    assert sum(results) / len(results) >= 0.95


def test_shipped_tests_let_a_lie_through(shipped: list[tuple[Task, dict[str, Any]]]) -> None:
    """What canaries are for: an object that equals everything passes where the reference fails."""
    for task, names in shipped:
        lies = {n: _lie for n, v in names.items() if callable(v)}
        for canary in canaries(task.test):
            assert not fails(canary.source, canary.test, lies), (task.id, canary.change)


def test_shipped_inputs_stay(shipped: list[tuple[Task, dict[str, Any]]]) -> None:
    for task, names in shipped:
        given: list[str] = []
        watched = {n: _watched(v, given) if callable(v) else v for n, v in names.items()}
        for canary in canaries(task.test):
            given.clear()
            run(task.test, canary.test, watched)
            original = given.copy()
            given.clear()
            fails(canary.source, canary.test, watched)
            assert given == original[: len(given)], (task.id, canary.change)


def _lie(*_: object) -> Lie:
    return Lie()


def _watched(function: Callable[..., object], given: list[str]) -> Callable[..., object]:
    def call(*args: object) -> object:
        given.append(repr(args))
        return function(*args)

    return call


def asserting_tests(test: str) -> list[str]:
    return [
        n.name
        for n in ast.parse(test).body
        if isinstance(n, ast.FunctionDef) and any(isinstance(m, ast.Assert) for m in ast.walk(n))
    ]
