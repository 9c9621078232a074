"""Which names a test calls, and how they are declared: the shapes KodCode rows come in."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srs.declaration import (
    carries_own_copy,
    declaration,
    entry_points,
    imported_modules,
    used_names,
)

TWO = "def helper(x):\n    return x\n\ndef solve(x):\n    return helper(x)\n"


@pytest.mark.parametrize(
    ("test", "names"),
    [
        ("from solution import solve\ndef test_a():\n    assert solve(1) == 1\n", ("solve",)),
        ("def test_a():\n    assert solve(1) == 1\n", ("solve",)),
        ("import solution\ndef test_a():\n    assert solution.solve(1)\n", ("solve",)),
        ("import solution as s\ndef test_a():\n    assert s.solve(1)\n", ("solve",)),
        ("from solution import *\ndef test_a():\n    assert solve(1)\n", ("solve",)),
        ("from solution import solve as f\ndef test_a():\n    assert f(1)\n", ("solve",)),
        ("from solution import (\n    solve,  # it\n    helper,\n)\n", ("helper", "solve")),
        ("def test_a():\n    assert helper(1) == solve(1)\n", ("helper", "solve")),
    ],
)
def test_the_names_a_test_takes_from_the_solution(test: str, names: tuple[str, ...]) -> None:
    declared = {"helper": "def helper(x):", "solve": "def solve(x):"}
    found, text = entry_points(test, TWO, declared)
    assert found == names
    assert text == "\n\n".join(declared[name] for name in names)


def test_a_local_object_named_solution_is_not_the_module() -> None:
    test = "def test_a():\n    solution = Solution()\n    assert solution.solve(1) == 1\n"
    reference = "class Solution:\n    def solve(self, x: int) -> int:\n        return x\n"
    assert entry_points(test, reference, {}) == (
        ("Solution",),
        "class Solution:\n    def solve(self, x): ...",
    )


def test_nested_helpers_listed_by_the_row_are_not_entry_points() -> None:
    reference = "def outer(a):\n    def inner(b):\n        return b\n    return inner(a)\n"
    declared = {"inner": "def inner(b):", "outer": "def outer(a):"}
    test = "def test_a():\n    assert outer(1) == 1\n"
    assert entry_points(test, reference, declared) == (("outer",), "def outer(a):")


def test_a_name_the_test_binds_itself_is_not_taken_from_the_solution() -> None:
    test = "from solution import solve\ndef helper(x):\n    return x\ndef test_a():\n    assert solve(helper(1))\n"
    assert entry_points(test, TWO, {})[0] == ("solve",)


def test_without_a_reference_the_imports_still_tell_the_name() -> None:
    assert entry_points("from solution import f\n", None, {}) == (("f",), None)


def test_a_test_that_does_not_parse_falls_back_to_what_the_row_declares() -> None:
    assert entry_points("def test_a(:\n", TWO, {"solve": "def solve(x):"})[0] == ("solve",)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a: int, b: str = 'x') -> str:\n    return b", "def f(a, b='x'):"),
        ("def f(a, /, b, *c: int, d=1, **e: str): pass", "def f(a, /, b, *c, d=1, **e):"),
        ("def f(*, key=None): pass", "def f(*, key=None):"),
        ("async def f(a: int): pass", "async def f(a):"),
        ("@cache\ndef f(n): pass", "def f(n):"),
        ("class A:\n    pass", "class A:\n    ..."),
        (
            "class A(Base, metaclass=M):\n    def __init__(self, x: int):\n        self.x = x\n"
            "    def _own(self): pass\n    @property\n    def y(self) -> int:\n        return 1\n",
            "class A(Base, metaclass=M):\n    def __init__(self, x): ...\n    @property\n    def y(self): ...",
        ),
        (
            "@dataclass\nclass P:\n    x: int = 0\n    def norm(self): return 1\n",
            "@dataclass\nclass P:\n    x: int = 0\n    def norm(self): ...",
        ),
        ("class C(Enum):\n    RED = 1\n", "class C(Enum):\n    RED = 1"),
    ],
)
def test_declarations(source: str, expected: str) -> None:
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    assert declaration(node) == expected


def test_a_lambda_is_declared_as_a_function() -> None:
    assert entry_points("from solution import f\n", "f = lambda a, b=2: a + b\n", {}) == (
        ("f",),
        "def f(a, b=2):",
    )


names = st.from_regex(r"[a-z]{3,8}_[0-9]", fullmatch=True)


@given(names, st.lists(names, max_size=4, unique=True), st.booleans(), st.booleans())
def test_the_quick_way_answers_as_the_full_one(
    name: str, parameters: list[str], explicit: bool, helper: bool
) -> None:
    signature = f"def {name}({', '.join(parameters)}):"
    reference = f"{signature}\n    return 1\n"
    test = f"from solution import {name}\n" if explicit else ""
    test += "def double(x):\n    return 2 * x\n" if helper else ""
    test += f"def test_it():\n    assert {name}({', '.join(parameters)}) == 1\n"
    with_info = entry_points(test, reference, {name: signature})
    assert with_info == entry_points(test, reference, {}) == ((name,), signature)


@pytest.mark.parametrize(
    ("test", "own"),
    [
        ("def f(x):\n    return x\ndef test_f():\n    assert f(1) == 1\n", True),
        ("from solution import f\ndef f(x):\n    return x\ndef test_f():\n    assert f(1)\n", True),
        (
            "def f(x):\n    return x\nfrom solution import f\ndef test_f():\n    assert f(1)\n",
            False,
        ),
        ("from solution import f\ndef test_f():\n    def f(x): ...\n    assert f(1)\n", False),
        ("from solution import f\ndef test_f():\n    assert f(1)\n", False),
    ],
)
def test_a_test_with_its_own_copy_of_the_solution_is_found(test: str, own: bool) -> None:
    assert carries_own_copy(test, ["f"]) is own


def test_careless_escapes_raise_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert used_names("x = '\\d'\n") == ([], set())
    assert not recwarn.list


def test_used_names_of_text_that_does_not_parse() -> None:
    assert used_names("def (") == ([], set())


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        (
            "import os.path, numpy as np\nfrom collections import abc",
            {"os", "numpy", "collections"},
        ),
        ("def f():\n    import pandas", {"pandas"}),
        ("try:\n    import numba\nexcept ImportError:\n    numba = None", set()),
        ("try:\n    import numba\nexcept (KeyError, ImportError):\n    pass", set()),
        ("try:\n    import numba\nexcept KeyError:\n    pass", {"numba"}),
        ("try:\n    x = 1\nexcept ImportError:\n    import simplejson", {"simplejson"}),
        ("from . import sibling", {"."}),
        ("if a:\n    import os\n" + "elif a:\n    import re\n" * 80, {"os", "re"}),
        ("def (", None),
    ],
)
def test_imported_modules(source: str, modules: set[str] | None) -> None:
    assert imported_modules(source) == modules
