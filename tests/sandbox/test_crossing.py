"""What crosses between the tests and a solution in another process."""

import pytest
from split_runs import LIMITS, SOLUTION, assert_passed, file_of, outcomes, run

from sandbox.runner import Job, Sandbox

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
