"""Which test files run without pytest, and that it makes no difference to what is reported."""

import ast
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.inside.shape import is_plain, own_test_names
from sandbox.inside.tests import TestFile
from sandbox.pool import open_sandbox
from sandbox.runner import Job, Limits, Sandbox, SandboxConfig
from srs.types import ExecResult

TEST = "from solution import f\n\ndef test_a():\n    assert f(1) == 1\n"
PLAIN = [
    "",
    TEST,
    TEST + "def test_b():\n    pass\n",
    "import pytest\ndef test_a():\n    with pytest.raises(ValueError):\n        int('x')\n",
    "from pytest import raises, approx\ndef test_a():\n    assert 1 == approx(1)\n",
    "import solution\nimport math as m\nCASES = [(1, 2)]\ndef test_a():\n    for a, b in CASES:\n        assert solution.f(a) == b\n",
    "class Node:\n    def __init__(self, x): self.x = x\ndef helper(a, b=1): return a\ndef test_a():\n    assert helper(1)\n",
    "import functools\n@functools.cache\ndef helper(): return 1\ndef test_a(): assert helper() == 1\n",
]
NOT_PLAIN = [
    "def test_a(tmp_path): pass\n",
    "def test_a(*args): pass\n",
    "def test_a(x=1): pass\n",
    "async def test_a(): pass\n",
    "def test_a():\n    yield 1\n",
    "def test_a():\n    x = yield\n",
    "def test_a():\n    yield from ()\n",
    "import functools\n@functools.cache\ndef test_a(): pass\n",
    "import pytest\n@pytest.mark.skip\ndef test_a(): pass\n",
    "import pytest\npytestmark = pytest.mark.skip\ndef test_a(): pass\n",
    "import pytest\n@pytest.fixture\ndef x(): return 1\ndef test_a(): pass\n",
    "import pytest\ndef test_a(): pytest.skip('no')\n",
    "import pytest\ndef test_a(): pytest.fail('no')\n",
    "import pytest as p\ndef test_a(): p.skip('no')\n",
    "import pytest\np = pytest\ndef test_a(): p.skip('no')\n",
    "import pytest\ndef test_a(): getattr(pytest, 'skip')('no')\n",
    "from pytest import skip\ndef test_a(): skip('no')\n",
    "from pytest import *\ndef test_a(): skip('no')\n",
    "from _pytest.outcomes import skip\ndef test_a(): skip('no')\n",
    "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n",
    "from unittest import TestCase\ndef test_a(): pass\n",
    "from unittest.mock import patch\ndef test_a(): pass\n",
    "class TestA:\n    def test_a(self): pass\n",
    "class test_a:\n    pass\n",
    "if True:\n    class TestA:\n        def test_a(self): pass\n",
    "if True:\n    async def test_a(): pass\n",
    "if True:\n    def test_a():\n        yield\n",
    "try:\n    def test_a(x): pass\nfinally:\n    pass\n",
    "while True:\n    def test_a(x): pass\n    break\n",
    "test_a = lambda: None\n",
    "test_a, x = (lambda: None), 1\n",
    "for test_a in [lambda: None]: pass\n",
    "def test_a(): pass\ntest_a.__test__ = False\n",
    "__test__ = False\ndef test_a(): pass\n",
    "def setup_module(): pass\ndef test_a(): pass\n",
    "def setup_function(): pass\ndef test_a(): pass\n",
    "def teardown_module(m): pass\ndef test_a(): pass\n",
    "def setUpModule():\n    global x\n    x = 1\ndef test_a(): assert x\n",
    "def tearDownModule(): pass\ndef test_a(): pass\n",
    "def pytest_generate_tests(metafunc): pass\ndef test_a(): pass\n",
    "pytest_plugins = ['x']\ndef test_a(): pass\n",
]


@pytest.mark.parametrize("source", PLAIN)
def test_runs_without_pytest(source: str) -> None:
    assert is_plain(ast.parse(source))


@pytest.mark.parametrize("source", NOT_PLAIN)
def test_needs_pytest(source: str) -> None:
    assert not is_plain(ast.parse(source))


@pytest.mark.parametrize("source", ["def f(:", "x = '\0'", "(" * 9999, "x = '\ud800"])
def test_what_does_not_parse_is_left_to_pytest(source: str) -> None:
    file = TestFile(source)
    assert (file.plain, file.own, file.code) == (False, None, None)
    assert file.wants("test_anything")


def test_what_python_reads_and_a_text_cannot_say_is_left_to_pytest() -> None:
    """A lone surrogate parses from bytes or not at all: no code, so that pytest runs it."""
    file = TestFile("def test_a():\n    assert '\ud800'\n")
    file.compile_plain("test_solution.py")
    assert file.code is None


def test_own_names() -> None:
    source = """
        from solution import *
        from x import test_imported
        def test_a(): test_inner = 1
        async def test_b(): pass
        class TestC: pass
        test_d = test_e = 1
        test_f: int = 1
        test_g, (test_h, *test_i) = 1, (2, 3)
        if True:
            def test_j(): pass
        else:
            test_k = 1
        try:
            def test_l(): pass
        except ImportError:
            def test_m(): pass
        finally:
            def test_n(): pass
        with x:
            def test_o(): pass
        for _ in ():
            def test_p(): pass
        """
    names = own_test_names(ast.parse(textwrap.dedent(source)))
    assert names == {*(f"test_{c}" for c in "abdefghijklmnop"), "TestC"}


@pytest.mark.parametrize(
    ("test", "wanted"),
    [
        ("test_a", True),
        ("test_a[1-2]", True),
        ("test_imported", False),
        ("TestC::test_m", True),
        ("TestC::test_m[a[b]-1]", True),
    ],
)
def test_wanted(test: str, wanted: bool) -> None:
    source = (
        "from x import test_imported\ndef test_a(): pass\ndef test_ab(): pass\nclass TestC: pass\n"
    )
    assert TestFile(source).wants(test) is wanted


# The same file with and without pytest

NEED_PYTEST = {
    "syntax", "fails at import", "exits at import", "conditional", "deleted", "test is a prefix", "returns",
    "cycle",
}  # fmt: skip
FORCES_PYTEST = "\nimport unittest\n"
SOLUTION = """
import sys
class Custom(Exception):
    pass
def f(x):
    return x
def fail(kind):
    raise {"key": KeyError("k"), "custom": Custom("c"), "exit": SystemExit(3), "memory": MemoryError()}[kind]
def echo(x):
    print(x)
    return x
def test_of_the_solution():
    assert False
"""
SAME = {
    "all pass": "from solution import f\ndef test_b(): assert f(1) == 1\ndef test_a(): assert f('x') == 'x'\n",
    "one fails": "from solution import f\ndef test_a(): assert f(1) == 2\ndef test_b(): assert f(1) == 1\n",
    "no tests": "from solution import f\n",
    "a message": "from solution import f\ndef test_a(): assert f(1) == 2, 'why'\n",
    "an error": "import solution\ndef test_a(): solution.fail('key')\ndef test_b(): 1 / 0\n",
    "raises": "import pytest\nimport solution\ndef test_a():\n    with pytest.raises(KeyError, match='k'):\n        solution.fail('key')\ndef test_b():\n    with pytest.raises(KeyError):\n        solution.f(1)\ndef test_c():\n    with pytest.raises(solution.Custom) as e:\n        solution.fail('custom')\n    assert str(e.value) == 'c'\n",
    "approx": "import pytest\nfrom solution import f\ndef test_a(): assert f(0.1) + 0.2 == pytest.approx(0.3)\ndef test_b(): assert f([0.1]) == pytest.approx([0.2])\n",
    "exit": "import solution\ndef test_a(): solution.fail('exit')\ndef test_b(): raise SystemExit(0)\ndef test_c(): pass\n",
    "interrupt": "import solution\ndef test_a(): raise KeyboardInterrupt\ndef test_b(): pass\n",
    "memory": "import solution\ndef test_a(): solution.fail('memory')\ndef test_b(): pass\n",
    "star": "from solution import *\ndef test_a(): assert f(1) == 1\n",
    "missing name": "from solution import g\ndef test_a(): pass\n",
    "fails at import": "from solution import f\nassert f(1) == 2\ndef test_a(): pass\n",
    "exits at import": "raise SystemExit(0)\ndef test_a(): pass\n",
    "syntax": "def test_a(:\n",
    "globals": "from solution import f\nseen = []\ndef test_a(): seen.append(f(1))\ndef test_b(): assert seen == [1]\n",
    "redefined": "from solution import f\ndef test_a(): assert False\ndef test_b(): pass\ndef test_a(): assert f(1) == 1\n",
    "conditional": "if True:\n    def test_a(): assert False\nelse:\n    def test_b(): pass\n",
    "nested": "def test_a():\n    def test_inner(): assert False\n    class TestB:\n        def test_m(self): assert False\n",
    "helpers": "class Node:\n    def test_me(self): assert False\ndef check(x): assert x\ndef test_a(): check(0)\ndef test_b(): check(1)\n",
    "prints": "from solution import echo\ndef test_a():\n    print('here')\n    assert echo('there') == 'there'\n",
    "deleted": "def test_a(): assert False\ndel test_a\ndef test_b(): pass\n",
    "test is a prefix": "def testing(): assert False\ndef tests(): pass\ndef test(): pass\ndef Test(): assert False\ndef atest(): assert False\n",
    "recursion": "def g(n): return g(n + 1)\ndef test_a(): g(0)\ndef test_b(): pass\n",
    "returns": "def test_a(): return False\n",
    "future": "from __future__ import annotations\nfrom solution import f\ndef test_a() -> Unknown: assert f(1) == 1\n",
    "file": "import os\ndef test_a(): assert os.path.basename(__file__) == 'test_solution.py'\ndef test_b(): assert __name__ == 'test_solution'\n",
    "sources": "import inspect\ndef test_a(): assert 'inspect' in inspect.getsource(test_a)\n",
    "null": "def test_a(): assert '\\0' == chr(0)\ndef test_b(): assert '\\ud800' == chr(0xd800), '\\udfff'\n",
    "cycle": "a = []\na.append(a)\ndef test_a(): assert a == [a, a]\n",
    "own exception": "def test_a():\n    class E(Exception):\n        def __str__(self): raise ValueError\n    raise E\ndef test_b(): pass\n",
    "a warning": "import warnings\ndef test_a():\n    with warnings.catch_warnings(record=True) as w:\n        warnings.simplefilter('always')\n        warnings.warn('x')\n    assert len(w) == 1\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def process() -> Iterator[Sandbox]:
    with open_sandbox(SandboxConfig(backend="process", workers=1)) as opened:
        yield opened


def seen(result: ExecResult) -> tuple[str, tuple[str, ...], list[tuple[str, str]]]:
    return result.status, result.collected, [(r.id, r.outcome) for r in result.reports]


@pytest.mark.parametrize("name", SAME)
def test_pytest_would_report_the_same(name: str, process: Sandbox) -> None:
    source = SAME[name]
    assert TestFile(source).plain == (name not in NEED_PYTEST)
    assert not TestFile(source + FORCES_PYTEST).plain
    limits = Limits(timeout_s=10)
    jobs = [
        Job(solution=SOLUTION, test=test, limits=limits)
        for test in (source, source + FORCES_PYTEST)
    ]
    plain, with_pytest = process.run(jobs)
    assert seen(plain) == seen(with_pytest)


@pytest.mark.parametrize("source", NOT_PLAIN)
def test_what_needs_pytest_gets_it(source: str, process: Sandbox) -> None:
    """Nothing that pytest would skip, refuse or collect otherwise is called as a plain function."""
    limits = Limits(timeout_s=10)
    jobs = [
        Job(solution=SOLUTION, test=test, limits=limits)
        for test in (source, source + FORCES_PYTEST)
    ]
    first, with_pytest = process.run(jobs)
    assert seen(first) == seen(with_pytest)


KEEPS_CLEAN = [
    "import pytest\n@pytest.mark.parametrize('x', [1, pytest.param(2, id='two')])\ndef test_a(x): assert x\n",
    "import pytest\n@pytest.fixture(scope='module')\ndef one(): yield 1\ndef test_a(one): assert one == 1\n",
    "import pytest\n@pytest.mark.skipif(False, reason='')\ndef test_a():\n    with pytest.raises(KeyError): {}[1]\n",
    "from pytest import fixture, raises\nclass TestA:\n    def setup_method(self): self.x = 1\n    def test_a(self): assert self.x\n",
]
LEAVES_SOMETHING = [
    "def test_a(tmp_path): (tmp_path / 'x').write_text('')\n",
    "import pytest\n@pytest.fixture\ndef f(monkeypatch): yield\ndef test_a(f): pass\n",
    "import pytest\n@pytest.mark.usefixtures('tmp_path')\ndef test_a(): pass\n",
    "import pytest\n@pytest.mark.filterwarnings('ignore')\ndef test_a(): pass\n",
    "import pytest\ndef test_a(): pytest.importorskip('xml')\n",
    "import pytest\ndef test_a(): pytest.raises = None\n",
    "import pytest as p\ndef test_a(x): pass\n",
    "import pytest\np = pytest\ndef test_a(x): pass\n",
    "from pytest import MonkeyPatch\ndef test_a(x=1): pass\n",
    "pytest_plugins = ['x']\ndef test_a(x): pass\n",
    "def pytest_generate_tests(metafunc): pass\ndef test_a(x): pass\n",
    "import os\ndef test_a(x=1): pass\n",
    "import json\ndef test_a(x=1): json.decoder.JSONDecoder.decode = None\n",
    "from collections import UserDict\ndef test_a(x=1): UserDict.get = None\n",
    "import collections\ndef test_a(x=1): collections.__all__[0] = None\n",
    "from collections.abc import Sized\ndef test_a(x=1): Sized.register(int)\n",
    "import math\ndef test_a(x=1): setattr(math, 'pi', 3)\n",
    "from solution import C\ndef test_a(x=1): C.x = 1\n",
]


@pytest.mark.parametrize("source", KEEPS_CLEAN)
def test_another_file_may_follow_in_the_same_session(source: str) -> None:
    assert TestFile(source).pure


@pytest.mark.parametrize("source", LEAVES_SOMETHING)
def test_what_leaves_something_gets_a_fork_of_its_own(source: str) -> None:
    assert not TestFile(source).pure


def test_files_in_one_session_do_not_meet(process: Sandbox) -> None:
    """Fixtures, autouse ones too, set-up functions, values and failures stay with their own file."""
    first = """
import pytest
from solution import f
seen = []
@pytest.fixture(autouse=True)
def always(): seen.append(1)
@pytest.fixture(scope="session")
def value(): return f(1)
def setup_function(): seen.append(2)
@pytest.mark.parametrize("x", [1, 2])
def test_a(value, x): assert (value, seen.count(1)) == (x, x)
"""
    second = """
import pytest
@pytest.fixture
def other(value): return value
def test_a(): assert "seen" not in globals_of()
def globals_of(): return test_a.__globals__
def test_b(other): pass
"""
    results = list(process.run([Job(solution=SOLUTION, test=t) for t in [first, second] * 3]))
    for result in results[::2]:
        assert seen(result)[2] == [("test_a[1]", "passed"), ("test_a[2]", "failed")]
    for result in results[1::2]:
        assert seen(result)[2] == [("test_a", "passed"), ("test_b", "error")]


def test_a_session_lets_go_of_each_file(tmp_path: Path) -> None:
    """Nothing of a thousand parametrized tests is left after their file: in a process, not in this one."""
    program = """
import gc, pytest
from sandbox.inside.pytest_run import Warm
from sandbox.inside.tests import TestFile
warm = Warm({home!r})
file = TestFile({test!r})
file.compile_for_pytest(warm.path)
def nodes():
    gc.collect()
    return sum(isinstance(x, (pytest.Function, pytest.Module)) for x in gc.get_objects())
before = nodes()
for _ in range(2):
    sent = []
    warm.run_module(file, sent.append)
    print(sum("test" in line for line in sent), max(0, nodes() - before))
"""
    test = (
        "import pytest\n@pytest.fixture\ndef one(): return 1\n"
        "class TestA:\n    @pytest.mark.parametrize('x', range(50))\n"
        "    def test_a(self, x, one): assert x\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program.format(home=str(tmp_path), test=test)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stdout.split("\n")[-3:] == ["50 0", "50 0", ""]


def test_both_say_what_failed(process: Sandbox) -> None:
    tests = "from solution import f\ndef test_a():\n    assert f([1]) == [2]\n"
    for source in (tests, tests + FORCES_PYTEST):
        (result,) = process.run([Job(solution=SOLUTION, test=source)])
        assert result.reports[0].message.startswith("assert [1] == [2]")
