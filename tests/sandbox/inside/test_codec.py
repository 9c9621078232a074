"""Plain data keeps value, sharing and cycles across a message; a hostile message is data or BadMessage."""

import collections
import datetime
import decimal
import fractions
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.inside.codec import READERS, SHELLS, BadMessage, Decoder, Encoder, Node, NotData

Point = collections.namedtuple("Point", "x y")
CONTAINERS = (list, tuple, dict, collections.deque)


def refuse_value(value: Any) -> Node:
    raise NotData(type(value).__name__)


def refuse_node(node: Node) -> Any:
    raise BadMessage(repr(node)[:80])


def over_the_wire(message: Any) -> Any:
    return json.loads(json.dumps(message))


def crossed(value: Any) -> Any:
    message = Encoder(refuse_value).message([value])
    (result,) = Decoder(refuse_node).roots(over_the_wire(message))
    return result


def lend(value: Any, change: Callable[[Any], Any], *, writes: bool = True) -> Any:
    """What ``change`` returns for its copy on the other side; the reply brings ``value`` up to date."""
    encoder, decoder = Encoder(refuse_value), Decoder(refuse_node)
    message = over_the_wire(encoder.message([value]))
    (copy,) = decoder.roots(message)
    known = decoder.objects
    reply = Encoder(refuse_value, known).message([change(copy)], decoder.nodes[: len(known)])
    sent = None if writes else message["nodes"]
    (result,) = Decoder(refuse_node, encoder.objects, sent).roots(over_the_wire(reply))
    return result


def same(left: Any, right: Any) -> bool:
    """Equal in type, value, order and sharing of what can be changed; never recurses."""
    partner: dict[int, int] = {}
    taken: set[int] = set()
    pending = [(left, right)]
    while pending:
        a, b = pending.pop()
        if type(a).__name__ != type(b).__name__:  # each side has a Point of its own
            return False
        if isinstance(a, CONTAINERS):
            if id(a) in partner and partner[id(a)] == id(b):
                continue
            known = id(a) in partner or id(b) in taken
            if len(a) != len(b) or (known and not isinstance(a, tuple)):
                return False
            partner[id(a)] = id(b)
            taken.add(id(b))
            parts = (a.items(), b.items()) if isinstance(a, dict) else (a, b)
            pending += zip(*parts, strict=True)
        elif repr(a) != repr(b) if isinstance(a, float | complex) else a != b:
            return False
    return True


HOURS = datetime.timedelta(hours=23)
ZONES = st.builds(datetime.timezone, st.timedeltas(-HOURS, HOURS))
FIXED = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 200), 1 << 200),
    st.floats(),
    st.complex_numbers(),
    st.text(st.sampled_from('a\0\x7f\n"\\é\ud800\ud9ff\uffff\U0010ffff'), max_size=6),
    st.binary(max_size=6),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.datetimes(timezones=st.none() | ZONES),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.builds(range, st.integers(-9, 9), st.integers(-(1 << 70), 1 << 70), st.integers(1, 9)),
    st.builds(slice, st.none() | st.integers(), st.none() | st.integers()),
    st.sampled_from([..., NotImplemented]),
)
KEYS = st.one_of(
    st.none(), st.integers(), st.text(max_size=3), st.binary(max_size=3), st.tuples(st.integers(), st.text(max_size=2)),
    st.frozensets(st.integers(0, 9)), st.decimals(allow_nan=False), st.dates(),
)  # fmt: skip
EMPTY: list[Callable[[], Any]] = [
    list, dict, collections.deque, collections.OrderedDict, collections.Counter,
    lambda: collections.deque(maxlen=3), lambda: collections.defaultdict(list),
    lambda: collections.defaultdict(None),
]  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """A list of containers, each of which may hold any of them, itself included, directly or in a tuple."""
    boxes: list[Any] = [draw(st.sampled_from(EMPTY))() for _ in range(draw(st.integers(1, 5)))]
    inner = st.one_of(FIXED, KEYS, st.sets(KEYS, max_size=3), st.binary().map(bytearray))
    parts = st.one_of(inner, st.sampled_from(boxes))
    parts = st.one_of(
        parts, st.tuples(parts, parts), st.builds(Point, parts, parts), st.tuples(parts)
    )
    for box in boxes:
        if isinstance(box, dict):
            box.update(draw(st.dictionaries(KEYS, parts, max_size=3)))
        else:
            box.extend(draw(st.lists(parts, max_size=4)))
    return boxes


@settings(max_examples=300, deadline=None)
@given(value=graphs())
def test_plain_data_comes_back_the_same(value: Any) -> None:
    assert same(value, crossed(value))


@settings(max_examples=200, deadline=None)
@given(value=graphs(), new=graphs(), outer=st.booleans())
def test_what_the_other_side_makes_of_a_value_is_seen_here(
    value: Any, new: Any, outer: bool
) -> None:
    """The same change, made here and over there, gives the same; or a copy of it, if nothing is written."""
    before, expected = crossed(value), crossed(value)

    def change(boxes: list[Any]) -> list[Any]:
        for box, other in zip(boxes, new, strict=False):
            if isinstance(box, dict):
                box["changed"] = other
            else:
                box.append(other)
        if outer:
            boxes.reverse()
            boxes.append(boxes)
        return boxes

    change(expected)
    copied = lend(value, change, writes=False)
    assert same(value, before)
    assert same(copied, expected)
    result = lend(value, change)
    assert result is value
    assert same(value, expected)


@pytest.mark.parametrize(
    "value",
    [
        {}.keys(),
        {1: [2], "a": 3}.keys(),
        {1: [2], "a": 3}.items(),
        frozenset({frozenset(), (1, frozenset({2}))}),
        {(1, ("a", None)), b"x"},
        slice([1], (2,)),
        decimal.Decimal("-0E-9"),
        fractions.Fraction(10**5000, 3),
        -(10**5000),
        collections.deque([1, 2, 3], maxlen=2),
        collections.Counter("abca"),
        datetime.datetime(2020, 10, 25, 2, 30, fold=1),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=-90))),
        datetime.timedelta.min,
        datetime.datetime.max,
        "\0\ud800.\udfff\U0010ffff",
        "\ud800\udfff",
    ],
    ids=lambda v: type(v).__name__,
)
def test_value(value: Any) -> None:
    result = crossed(value)
    assert type(result) is type(value)
    assert result == value


def test_what_equality_does_not_see() -> None:
    assert crossed(datetime.datetime(2020, 10, 25, 2, 30, fold=1)).fold == 1
    assert crossed(collections.deque(maxlen=7)).maxlen == 7
    assert crossed(collections.defaultdict(int))["new"] == 0
    assert list(crossed({2: 0, 1: 0})) == [2, 1]
    assert list(crossed({1: [2]}.values())) == [[2]]
    assert crossed(decimal.Decimal("sNaN")).is_snan()
    assert crossed(decimal.Decimal("1.50")).as_tuple() == decimal.Decimal("1.50").as_tuple()
    assert crossed(Point(1, [2]))._asdict() == {"x": 1, "y": [2]}
    assert type(crossed(Point(1, 2))) is type(crossed(Point(3, 4)))


def test_depth_is_no_limit() -> None:
    deep: Any = ()
    for i in range(5000):
        deep = (deep,) if i % 2 else [deep]
    assert same(deep, crossed(deep))
    nested: Any = 0
    for _ in range(5000):
        nested = (nested,)
    assert same(nested, crossed(nested))


def test_cycles() -> None:
    ring: list[Any] = []
    ring.append((ring, {"ring": ring}))
    result = crossed(ring)
    assert result[0][0] is result
    assert result[0][1]["ring"] is result


@pytest.mark.parametrize(
    "value",
    [object(), len, Point, [object()], {1: {2: object()}}],
    ids=["object", "function", "class", "object in a list", "object in a dict"],
)
def test_what_is_not_data_is_left_to_the_caller(value: Any) -> None:
    with pytest.raises(NotData):
        crossed(value)


def test_a_subclass_is_not_its_base() -> None:
    class Mine(list[int]):
        pass

    with pytest.raises(NotData):
        crossed(Mine([1]))


@pytest.mark.parametrize(
    ("value", "change", "expected"),
    [
        ([3, 1, 2], lambda v: v.sort(), [1, 2, 3]),
        ([1, 2], lambda v: v.clear(), []),
        ({"a": 1}, lambda v: v.update(b=2), {"a": 1, "b": 2}),
        ({1, 2}, lambda v: v.discard(1), {2}),
        (
            collections.deque([1, 2], maxlen=2),
            lambda v: v.append(3),
            collections.deque([2, 3], maxlen=2),
        ),
        (collections.Counter("a"), lambda v: v.update("ab"), collections.Counter("aab")),
        (collections.defaultdict(list), lambda v: v["a"].append(1), {"a": [1]}),
        (
            collections.OrderedDict(a=1, b=2),
            lambda v: v.move_to_end("a"),
            collections.OrderedDict(b=2, a=1),
        ),
        (bytearray(b"ab"), lambda v: v.extend(b"cd"), bytearray(b"abcd")),
        ((1, [2]), lambda v: v[1].append(3), (1, [2, 3])),
        ({"a": {"b": [1]}}, lambda v: v["a"]["b"].clear(), {"a": {"b": []}}),
    ],
    ids=lambda v: None if callable(v) else repr(v)[:30],
)
def test_in_place(value: Any, change: Callable[[Any], Any], expected: Any) -> None:
    identity, kind = id(value), type(value)
    assert lend(value, change) is None
    assert (id(value), type(value)) == (identity, kind)
    assert value == expected


@pytest.mark.parametrize(
    ("value", "other"),
    [(0, False), (1, 1.0), (True, 1.0), (0.0, -0.0), (1.5, math.nan), (0, None)],
)
def test_a_change_of_nothing_but_type_or_sign_is_one(value: Any, other: Any) -> None:
    def to(new: Any) -> Callable[[Any], Any]:
        return lambda v: (v[0].__setitem__(1, new), v[1].clear(), v[1].add(new), v[2].update(a=new))

    for old, new in ((value, other), (other, value)):
        lent: tuple[Any, ...] = ([7.5, old], {old}, {"a": old})
        lend(lent, to(new))
        assert repr(lent) == repr(([7.5, new], {new}, {"a": new}))


def test_aliases_stay_aliases() -> None:
    row = [0, 0]
    grid = [row, row]
    assert lend(grid, lambda v: v[0].append(1)) is None
    assert grid[0] is row
    assert grid[1] is row
    assert row == [0, 0, 1]
    assert lend(grid, lambda v: v) is grid
    assert lend(grid, lambda v: v[1]) is row
    copied = lend(grid, lambda v: [list(v[0]), v[0]])
    assert copied[0] is not row
    assert copied[1] is row
    lend(grid, lambda v: v.append(v))
    assert grid[2] is grid


@pytest.mark.parametrize(
    ("value", "change", "wrote"),
    [
        ([[1], "a"], lambda v: v[0].append(2), True),
        ([[1], "a"], lambda v: v[:1], False),
        (({"a": 1},), lambda v: v[0].clear(), True),
        ({"a", "b", "c"}, lambda v: sorted(v), False),
        ({"a", (1, 2)}, lambda v: v.discard("a"), True),
        (bytearray(b"ab"), lambda v: v.pop(), True),
        (bytearray(b"ab"), lambda v: bytes(v), False),
        (collections.defaultdict(list), lambda v: v["a"], True),
        (collections.Counter("a"), lambda v: v["b"], False),
        ((1, {2}, [3]), lambda v: [*v[1], *v[2]], False),
        ([1, math.nan, -0.0], lambda v: v.__setitem__(1, float("nan")), False),
        ({math.nan}, lambda v: (v.clear(), v.add(float("nan"))), False),
    ],
)
def test_whether_anything_was_written_is_known(
    value: Any, change: Callable[[Any], Any], wrote: bool
) -> None:
    encoder, there = Encoder(refuse_value), Decoder(refuse_node)
    (copy,) = there.roots(over_the_wire(encoder.message([value])))
    result = change(copy)
    known = there.objects
    reply = Encoder(refuse_value, known).message([result], there.nodes[: len(known)])
    here = Decoder(refuse_node, encoder.objects)
    here.roots(over_the_wire(reply))
    assert here.wrote == wrote


@given(members=st.sets(st.integers(-99, 99) | st.text(max_size=2) | st.tuples(st.integers(0, 3))))
def test_a_set_in_another_order_is_the_same_set(members: set[Any]) -> None:
    encoder, there = Encoder(refuse_value), Decoder(refuse_node)
    (copy,) = there.roots(over_the_wire(encoder.message([members])))
    moved = list(copy)
    copy.clear()
    copy.update(reversed(moved))
    known = there.objects
    reply = Encoder(refuse_value, known).message([None], there.nodes[: len(known)])
    here = Decoder(refuse_node, encoder.objects)
    here.roots(over_the_wire(reply))
    assert not here.wrote


def test_without_writes_what_did_not_change_is_the_callers_own() -> None:
    changed, untouched = [1], [2]
    value = (changed, [untouched])
    copy = lend(value, lambda v: (v[0].append(3), v)[1], writes=False)
    assert copy == ([1, 3], [[2]])
    assert value == ([1], [[2]])
    assert copy[1] is value[1]
    assert lend(value, lambda v: v, writes=False) is value


# Hostile messages

PLAIN: tuple[Any, ...] = (
    type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range,
    slice, type(...), type(NotImplemented), type({}.keys()), type({}.values()), type({}.items()),
    collections.deque, collections.OrderedDict, collections.Counter, collections.defaultdict,
    decimal.Decimal, fractions.Fraction, datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
)  # fmt: skip


def decoded(message: Any, held: tuple[Any, ...] = (), sent: Any = None) -> Any:
    """The roots, or None for a refused message; any other exception is a defect of the codec."""
    try:
        roots = Decoder(refuse_node, held, sent).roots(message)
    except BadMessage:
        return None
    pending, seen = list(roots), set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        kind = type(value)
        library = kind.__module__.partition(".")[0] in ("numpy", "pandas")
        assert kind in PLAIN or kind.__bases__ == (tuple,) or library, kind
        if isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset | collections.deque):
            pending += value
    return roots


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
TAGS = [*SHELLS, *READERS, "yours", "nonsense"]
REFERENCES = st.one_of(
    st.integers(-6, 8).map(lambda i: [i]),
    st.sampled_from([[True], [False], [1 << 80], [-(1 << 80)], [], [[0]], ["0"], [0.0], [None]]),
)
WORDS = st.sampled_from(["a", "ª", "1e9", "0x1", "-0x", "00", "0g", "class", "int", "list", "x y", "\x07\xe4\x01\xff"])  # fmt: skip
ARGUMENTS = st.one_of(REFERENCES, REFERENCES, WORDS, st.integers(-3, 40), JSON)
DTYPES = st.sampled_from(["<f8", ">i2", "<U2", "S1", "|O", "U", "V8", "c", "M8", "m8[s]", "<M8[D]", "f8,,", "(2,", "(3,)f8", "int64", "Int64", "str", "object", "category", "boolean", "period[D]", "interval", "Sparse[int]", "datetime64[ns, Mars/Base]", "void", "int64[pyarrow]"])  # fmt: skip
SHAPES = st.sampled_from(
    ["", "0", "1", "2", "-1", "2,-1", "1,1", "x", "9999999999,9999999999", "0,5"]
)
BYTES = st.sampled_from(["", "00", "0g", "00" * 8, "ff" * 16])
TIMES = st.sampled_from(["2020-01-01", "2020-13-01", "now", "", "NaT", "9" * 30, "2020-01-01T00:00:00+25:00"])  # fmt: skip


def node(*parts: st.SearchStrategy[Any], tag: str, rest: int = 0) -> st.SearchStrategy[Node]:
    """Every part may also be an arbitrary one."""
    fixed = st.tuples(*[st.one_of(part, part, part, ARGUMENTS) for part in parts])
    return st.builds(lambda f, r: [tag, *f, *r], fixed, st.lists(ARGUMENTS, max_size=rest))


def messages(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    many = st.lists(st.one_of(nodes, nodes, nodes, JSON), max_size=6)
    return st.fixed_dictionaries({"nodes": many, "roots": st.lists(ARGUMENTS, max_size=3)})


ANY_NODE = st.one_of([node(tag=tag, rest=6) for tag in TAGS])
ARRAY_NODE = st.one_of(
    node(DTYPES, BYTES, tag="scalar"),
    node(DTYPES, SHAPES, BYTES, tag="array"),
    node(SHAPES, tag="objects", rest=3),
    node(WORDS, tag="missing"),
    node(TIMES, st.none() | st.sampled_from(["UTC", "Mars/Base", "../x"]), tag="timestamp"),
    node(st.integers(), tag="nanoseconds"),
    node(DTYPES, WORDS, tag="index", rest=3),
    node(DTYPES, REFERENCES, WORDS, tag="series", rest=3),
    node(REFERENCES, REFERENCES, tag="frame", rest=3),
    node(tag="list", rest=3),
    node(tag="tuple", rest=3),
)


@settings(max_examples=800, deadline=None)
@given(message=messages(ANY_NODE) | JSON)
def test_a_hostile_message_is_data_or_refused(message: Any) -> None:
    held = ([1], {"a": 1}, {1}, collections.deque([1]), bytearray(b"a"), (1,))
    kinds = [type(value) for value in held]
    decoded(message)
    before = repr(held)
    decoded(message, held, Encoder(refuse_value, held).message([])["nodes"])
    assert repr(held) == before
    decoded(message, held)
    assert [type(value) for value in held] == kinds


@settings(max_examples=500, deadline=None)
@given(message=messages(ARRAY_NODE))
@pytest.mark.filterwarnings("ignore")
def test_a_hostile_message_with_arrays_is_data_or_refused(message: Any) -> None:
    numpy = pytest.importorskip("numpy")
    pytest.importorskip("pandas")
    decoded(message)
    decoded(message, (numpy.arange(3), numpy.array([None, 1], dtype=object)))


@pytest.mark.parametrize(
    "message",
    [
        None, [], "x", 3, {}, {"nodes": []}, {"nodes": 3, "roots": []}, {"nodes": [], "roots": 3},
        {"nodes": [], "roots": [[0]]},
        {"nodes": [["tuple", [0]]], "roots": [[0]]},
        {"nodes": [["tuple", [-1]]], "roots": [[0]]},
        {"nodes": [["tuple", [1]], ["frozenset", [0]]], "roots": [[0]]},
        {"nodes": [["list", [1]]], "roots": [[0]]},
        {"nodes": [["list", [1 << 70]]], "roots": [[0]]},
        {"nodes": [["set", [1]], ["list"]], "roots": [[0]]},
        {"nodes": [["dict", 1]], "roots": [[0]]},
        {"nodes": [["deque", -1]], "roots": [[0]]},
        {"nodes": [["defaultdict", "eval"]], "roots": [[0]]},
        {"nodes": [["nothing"]], "roots": [[0]]},
        {"nodes": [[]], "roots": []},
        {"nodes": [[["list"]]], "roots": []},
        {"nodes": [["int", "1_"]], "roots": []},
        {"nodes": [["fraction", "0x1", "0x0"]], "roots": []},
        {"nodes": [["decimal", "one"]], "roots": []},
        {"nodes": [["range", 1, 2, 0]], "roots": []},
        {"nodes": [["timedelta", 1e300]], "roots": []},
        {"nodes": [["date", 2020, 2, 30]], "roots": []},
        {"nodes": [["namedtuple", "class", 0]], "roots": []},
        {"nodes": [["namedtuple", "X", 1, "_a", 1]], "roots": []},
        {"nodes": [["namedtuple", "X", 2, "a", "b", 1]], "roots": []},
    ],
    ids=lambda m: repr(m)[:50],
)  # fmt: skip
def test_refused(message: Any) -> None:
    with pytest.raises(BadMessage):
        Decoder(refuse_node).roots(message)


@pytest.mark.parametrize("state", [["date", "\x07\xe4\x01\xff"], ["date", 2020, 13, 1]])
def test_a_date_that_is_none_is_refused(state: Node) -> None:
    """The constructors of `datetime` also take a pickle's raw state, and check only its month."""
    with pytest.raises(BadMessage):
        Decoder(refuse_node).roots({"nodes": [state], "roots": [[0]]})


def test_names_that_become_one_are_refused() -> None:
    """Python reads both of these field names as the first."""
    with pytest.raises(BadMessage):
        Decoder(refuse_node).roots({"nodes": [["namedtuple", "X", 2, "a", "ª", 1, 2]], "roots": []})


def test_a_message_without_the_held_objects_is_refused() -> None:
    with pytest.raises(BadMessage):
        Decoder(refuse_node, [[1], [2]]).roots({"nodes": [["list"]], "roots": []})


def test_a_held_object_keeps_its_type() -> None:
    held = [[1], (2,)]
    message = {"nodes": [["dict", 1, 2], ["list", 3]], "roots": [[0], [1]]}
    assert Decoder(refuse_node, held).roots(message) == [[1], (2,)]


@pytest.mark.parametrize("node", [["array", "<f8", "0", ""], ["index", "int64", None]])
def test_a_library_that_is_missing_here_is_not_the_tests_fault(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BadMessage):
        Decoder(refuse_node).roots({"nodes": [node], "roots": [[0]]})


# NumPy and pandas

ARRAYS = [
    "numpy.arange(6).reshape(2, 3)",
    "numpy.arange(6).reshape(2, 3).T",
    "numpy.arange(6)[::-2]",
    "numpy.array(3)",
    "numpy.zeros((2, 0))",
    "numpy.array([1.5, numpy.nan, -numpy.inf])",
    "numpy.array([1 + 2j])",
    "numpy.array([True, False])",
    "numpy.array([1, 2], dtype='>i2')",
    "numpy.array(['a', 'bcd', ''])",
    "numpy.array([], dtype=str)",
    "numpy.array([b'a', b'bc'])",
    "numpy.array(['2020-01-01', 'NaT'], dtype='M8[D]')",
    "numpy.array([1, 2], dtype='m8[s]')",
    "numpy.array([{'a': [1]}, None], dtype=object)",
    "numpy.array([[1, 'a'], [None, 2.5]], dtype=object)",
    "numpy.float64(0.1)",
    "numpy.int8(-3)",
    "numpy.bool_(True)",
    "numpy.str_('ab')",
    "numpy.str_('')",
    "numpy.bytes_(b'')",
    "numpy.datetime64('2020-01-01')",
]
TABLES = [
    "pandas.Series([1, 2], name='n', index=pandas.Index(['a', 'b'], name='i'))",
    "pandas.Series([1, None], dtype='Int64')",
    "pandas.Series([True, None], dtype='boolean')",
    "pandas.Series(['a', None])",
    "pandas.Series([[1], None], dtype=object)",
    "pandas.Series([1.5, numpy.nan])",
    "pandas.Series(pandas.date_range('2020', periods=3, tz='Europe/Berlin'))",
    "pandas.Series(pandas.to_timedelta(['1s', '2s']))",
    "pandas.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': [0.5, numpy.nan]})",
    "pandas.DataFrame({'a': [1, 2], 'b': [3, 4]}, index=[0, 0])",
    "pandas.DataFrame([[1, 2]], columns=['a', 'a'])",
    "pandas.DataFrame({'a': [1, 1, 2], 'b': [1, 2, 3]}).groupby('a').sum()",
    "pandas.DataFrame({'a': [1]}).rename_axis(columns='z')",
    "pandas.DataFrame({'a': [1, 2]}, index=pandas.date_range('2020', periods=2))",
    "pandas.DataFrame({'a': []})",
    "pandas.DataFrame(index=[1, 2])",
    "pandas.DataFrame()",
]


def made(text: str) -> Any:
    numpy = pytest.importorskip("numpy")
    pandas = pytest.importorskip("pandas") if "pandas" in text else None
    return eval(text, {"numpy": numpy, "pandas": pandas})


@pytest.mark.parametrize("text", ARRAYS)
def test_array(text: str) -> None:
    value = made(text)
    result = crossed(value)
    assert type(result) is type(value)
    assert (result.dtype, result.shape) == (value.dtype, value.shape)
    assert repr(result) == repr(value)


@pytest.mark.parametrize("text", TABLES)
def test_table(text: str) -> None:
    value = made(text)
    testing = made("pandas.testing")
    compare = testing.assert_frame_equal if value.ndim == 2 else testing.assert_series_equal
    compare(crossed(value), value)


@pytest.mark.parametrize(
    "text",
    [
        "pandas.Timestamp('2020-01-01 10:00:00.123456789')",
        "pandas.Timestamp('2020-01-01', tz='Europe/Berlin')",
        "pandas.Timedelta('3 days 2 ns')",
        "pandas.NaT",
        "pandas.NA",
        "pandas.RangeIndex(3)",
        "pandas.Index([])",
    ],
)
def test_pandas_value(text: str) -> None:
    value = made(text)
    result = crossed(value)
    if hasattr(value, "equals"):
        assert result.equals(value)
    else:
        assert result is value or result == value
        assert repr(result) == repr(value)


@pytest.mark.parametrize("text", ["numpy.zeros(2, dtype='i4,f8')", "numpy.ma.array([1])"])
def test_an_array_that_could_act_is_no_data(text: str) -> None:
    with pytest.raises(NotData):
        crossed(made(text))


@pytest.mark.parametrize("writes", [True, False])
def test_arrays_in_place(writes: bool) -> None:
    numbers = made("numpy.zeros((2, 3))")
    view = numbers[:, 1]
    mixed = made("numpy.array([1, None], dtype=object)")

    def change(parts: list[Any]) -> list[Any]:
        parts[0][1, 1] = 9
        parts[1][1] = [2]
        return parts

    changed = lend([numbers, mixed], change, writes=writes)
    assert changed[0].tolist() == [[0, 0, 0], [0, 9, 0]]
    assert changed[1].tolist() == [1, [2]]
    assert (changed[0] is numbers) == (changed[1] is mixed) == writes
    assert view.tolist() == ([0, 9] if writes else [0, 0])


def test_an_array_of_another_shape_changes_nothing() -> None:
    held = made("numpy.arange(3)")
    assert decoded({"nodes": [["array", "<i8", "1", "00" * 8]], "roots": []}, (held,)) == []
    assert held.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "nodes",
    [
        [["array", "(2,", "0", ""]],
        [["array", "f8,,", "0", ""]],
        [["array", "O", "1", "00" * 8]],
        [["array", "<f8", "9999999999,9999999999", ""]],
        [["scalar", "<f8", ""]],
        [["index", "S", None, 1]],
        [["series", "V8", [1], None, 1], ["index", "int64", None, 0]],
        [["objects", "1", [0]]],
        [["frame", 1, 2, 3]],
        [["timestamp", "2020-01-01", "Mars/Base"]],
    ],
    ids=repr,
)
def test_refused_array(nodes: list[Node]) -> None:
    pytest.importorskip("pandas")
    with pytest.raises(BadMessage):
        Decoder(refuse_node).roots({"nodes": nodes, "roots": [[0]]})


def test_an_array_that_cannot_be_written_can_be_lent() -> None:
    value = made("numpy.arange(3)")
    value.flags.writeable = False
    assert lend(value, lambda v: int(v.sum())) == 3


def test_the_values_of_a_table_can_be_lent() -> None:
    value = made("pandas.DataFrame({'a': [1, 2]}).values")
    assert lend(value, lambda v: int(v.sum())) == 3


def test_a_buffer_in_use_can_be_lent() -> None:
    value = bytearray(b"ab")
    with memoryview(value):
        assert decoded({"nodes": [["bytearray", "00"]], "roots": []}, (value,)) == []
