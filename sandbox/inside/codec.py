"""Plain data as JSON and back, with its sharing and cycles: all that crosses between tests and candidate.

A message is ``{"nodes": [...], "roots": [...]}``. A value is a JSON literal (None, bool, str, float, small
int) or ``[i]``, a reference to node ``i``. A node is ``[tag, part, ...]``, each part a literal or a
reference. Nothing nests, so depth is no limit. Decoding a hostile message builds data or raises
BadMessage: it never calls anything of the sender's.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import fractions
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sandbox.inside import arrays

Value = Any
Node = list[Any]
Message = dict[str, Any]
SMALL = 1 << 60
FACTORIES: dict[str, Any] = {f.__name__: f for f in (int, float, str, list, dict, set, tuple, bool)}


class BadMessage(ValueError):
    """A message that this module's `Encoder` didn't write."""


class NotData(TypeError):
    """A value that is not plain data, and that can't be passed in any other way either."""


class Encoder:
    """Writes one message. ``other`` makes a node of what isn't data, or raises NotData.

    ``known``: objects that the receiver holds already; they keep their position as their number, and
    are all written again, as they are now.
    """

    def __init__(self, other: Callable[[Any], Node], known: Iterable[Any] = ()) -> None:
        self._other = other
        self.objects: list[Any] = list(known)  # also keeps ids from being reused
        self._numbers = {id(value): number for number, value in enumerate(self.objects)}

    def message(self, roots: Iterable[Any], before: Iterable[Node | None] = ()) -> Message:
        """``before``: the nodes that the known objects came in; what is still the same is not repeated."""
        encoded = [self.value(root) for root in roots]
        nodes: list[Node | None] = []
        for value in self.objects:  # grows meanwhile
            nodes.append(self._node(value))
        for number, node in enumerate(before):
            if _is_same(nodes[number], node):
                nodes[number] = None
        return {"nodes": nodes, "roots": encoded}

    def value(self, value: Any) -> Value:
        kind = type(value)
        if value is None or kind is bool or kind is float:
            return value
        if kind is str and (value.isascii() or _is_text(value)):
            return value
        if kind is int and -SMALL < value < SMALL:
            return value
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return [number]

    def values(self, values: Iterable[Any]) -> Iterable[Value]:
        kinds = {*map(type, values)} if type(values) in (list, tuple) else None
        if kinds == {float} or (kinds == {int} and max(values) < SMALL and min(values) > -SMALL):
            return values
        return [self.value(value) for value in values]

    def pairs(self, mapping: Mapping[Any, Any]) -> list[Value]:
        return [self.value(part) for pair in mapping.items() for part in pair]

    def _node(self, value: Any) -> Node:
        kind = type(value)
        write = WRITERS.get(kind)
        if write is not None:
            return write(self, value)
        if isinstance(value, tuple) and kind.__bases__ == (tuple,) and hasattr(kind, "_fields"):
            fields = [str(field) for field in kind._fields]
            return ["namedtuple", kind.__name__, len(fields), *fields, *self.values(tuple(value))]
        if str(kind.__module__).partition(".")[0] in ("numpy", "pandas"):
            node = arrays.node(self, value)
            if node is not None:
                return node
        return self._other(value)


def _write_datetime(_: Encoder, value: datetime.datetime) -> Node:
    offset = value.utcoffset()
    fields = [value.year, value.month, value.day, value.hour, value.minute, value.second]
    zone = [] if offset is None else [offset.days, offset.seconds, offset.microseconds]
    return ["datetime", value.fold, *fields, value.microsecond, *zone]


def _write_time(_: Encoder, value: datetime.time) -> Node:
    if value.tzinfo is not None:
        raise NotData("a time with a time zone")
    return ["time", value.hour, value.minute, value.second, value.microsecond]


def _write_defaultdict(encoder: Encoder, value: Any) -> Node:
    name = getattr(value.default_factory, "__name__", "")
    known = FACTORIES.get(name) is value.default_factory
    return ["defaultdict", name if known else "", *encoder.pairs(value)]


def _is_same(before: Node | None, after: Node | None) -> bool:
    """By type, too, and by a float's text: to ``==``, 1 is True, and -0.0 is 0.0, but NaN isn't NaN.

    A set that was rebuilt may give its members in another order.
    """
    if before is None or after is None:
        return before is after
    if before[0] == after[0] == "set":
        return {*map(repr, before)} == {*map(repr, after)}
    kinds = [*map(type, before)]
    if kinds != [*map(type, after)]:
        return False
    same = before == after
    if float in kinds and (not same or 0.0 in after):
        return repr(before) == repr(after)
    return same


def _is_text(value: str) -> bool:
    """Not with a lone surrogate, of which JSON makes one character with the next."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


WRITERS: dict[type, Callable[[Encoder, Any], Node]] = {
    list: lambda e, v: ["list", *e.values(v)],
    tuple: lambda e, v: ["tuple", *e.values(v)],
    dict: lambda e, v: ["dict", *e.pairs(v)],
    set: lambda e, v: ["set", *e.values(v)],
    frozenset: lambda e, v: ["frozenset", *e.values(v)],
    str: lambda _, v: ["text", v.encode("utf-8", "surrogatepass").hex()],
    bytes: lambda _, v: ["bytes", v.hex()],
    bytearray: lambda _, v: ["bytearray", v.hex()],
    int: lambda _, v: ["int", hex(v)],
    complex: lambda _, v: ["complex", v.real, v.imag],
    range: lambda e, v: ["range", *e.values((v.start, v.stop, v.step))],
    slice: lambda e, v: ["slice", *e.values((v.start, v.stop, v.step))],
    type(...): lambda _, __: ["ellipsis"],
    type(NotImplemented): lambda _, __: ["notimplemented"],
    collections.deque: lambda e, v: ["deque", v.maxlen, *e.values(v)],
    collections.OrderedDict: lambda e, v: ["ordereddict", *e.pairs(v)],
    collections.Counter: lambda e, v: ["counter", *e.pairs(v)],
    collections.defaultdict: _write_defaultdict,
    type({}.keys()): lambda e, v: ["keys", *e.values(v)],
    type({}.values()): lambda e, v: ["values", *e.values(v)],
    type({}.items()): lambda e, v: ["items", *e.values(v)],
    decimal.Decimal: lambda _, v: ["decimal", str(v)],
    fractions.Fraction: lambda _, v: ["fraction", hex(v.numerator), hex(v.denominator)],
    datetime.datetime: _write_datetime,
    datetime.date: lambda _, v: ["date", v.year, v.month, v.day],
    datetime.time: _write_time,
    datetime.timedelta: lambda _, v: ["timedelta", v.days, v.seconds, v.microseconds],
}


class Decoder:
    """Reads one message. ``other`` makes an object of a node that isn't data, or raises BadMessage.

    ``held``: objects that this side knows by number. Those that can be changed are brought up to date in
    place, and every one stands for its number. With ``sent``, the nodes that they went out in, they stay
    as they are instead: copies stand for the numbers of what changed and of what holds it.
    ``wrote``: whether any came back changed.
    """

    def __init__(
        self,
        other: Callable[[Node], Any],
        held: Iterable[Any] = (),
        sent: Sequence[Node] | None = None,
    ) -> None:
        self._other = other
        self.objects: list[Any] = list(held)
        self._sent = sent
        self.wrote = False

    def roots(self, message: Message) -> list[Any]:
        """Raises BadMessage."""
        try:
            self.nodes: list[Node] = message["nodes"]
            n_held = len(self.objects)
            if len(self.nodes) < n_held:
                raise BadMessage("objects are missing")
            written = [number for number in range(n_held) if self._is_written(number)]
            self.wrote = bool(written)
            if written and self._sent is not None:
                self._replace(written, self._sent)
            self.objects += [_UNBUILT] * (len(self.nodes) - n_held)
            shells: list[int] = []
            for number, node in enumerate(self.nodes):
                if node is None and number < n_held:
                    continue  # as it was
                shell = SHELLS.get(node[0])
                if shell is None:
                    continue
                if self.objects[number] is _UNBUILT:
                    self.objects[number] = shell(node)
                if type(self.objects[number]) is SHELL_TYPES[node[0]]:
                    shells.append(number)
            for number, value in enumerate(self.objects):
                if value is _UNBUILT:
                    self._build(number)
            for number in shells:
                self._fill(number)
            if self._sent is None:
                for number in written:
                    self._update_buffer(number)
            return [self.value(root) for root in message["roots"]]
        except BadMessage:
            raise
        except Exception as e:  # whatever a constructor makes of hostile arguments
            raise BadMessage(f"{type(e).__name__}: {e}") from e

    def value(self, value: Value) -> Any:
        if type(value) is not list:
            return value
        (number,) = value
        if type(number) is not int or number < 0:
            raise BadMessage("not a reference")
        return self.objects[number]

    def values(self, values: list[Value]) -> Iterable[Any]:
        return map(self.value, values) if list in {*map(type, values)} else values

    def _is_written(self, number: int) -> bool:
        node = self.nodes[number]
        if node is None:
            return False
        return (
            type(self.objects[number]) is SHELL_TYPES.get(node[0])
            or node[0] in ("bytearray", "array", "objects")
        )  # fmt: skip

    def _replace(self, written: Sequence[int], sent: Sequence[Node]) -> None:
        """Let these held objects, and those that hold them, be built anew."""
        holders: dict[int, list[int]] = {}
        for number in range(len(self.objects)):
            for part in self.nodes[number] or sent[number]:
                if type(part) is list:
                    holders.setdefault(part[0], []).append(number)
        pending = [*written]
        while pending:
            number = pending.pop()
            if self.objects[number] is not _UNBUILT:
                self.objects[number] = _UNBUILT
                self.nodes[number] = self.nodes[number] or sent[number]
                pending += holders.get(number, ())

    def _build(self, number: int) -> None:
        """Make the fixed value ``number`` after those in it: by a stack, as they may nest deeply."""
        stack = [number]
        waiting: set[int] = set()
        while stack:
            top = stack[-1]
            if self.objects[top] is not _UNBUILT:
                stack.pop()
                continue
            node = self.nodes[top]
            parts = [p[0] for p in node if type(p) is list and self.objects[p[0]] is _UNBUILT]
            if parts:
                if top in waiting:
                    raise BadMessage("a fixed value contains itself")
                waiting.add(top)
                stack += parts
                continue
            read = READERS.get(node[0]) or arrays.READERS.get(node[0])
            self.objects[top] = read(self, node) if read else self._other(node)
            stack.pop()

    def _fill(self, number: int) -> None:
        node, target = self.nodes[number], self.objects[number]
        content = list(self.values(node[2:] if node[0] in ("deque", "defaultdict") else node[1:]))
        match node[0]:
            case "list":
                target[:] = content
            case "deque":
                target.clear()
                target.extend(content)
            case "set":
                target.clear()
                target.update(content)
            case _:
                target.clear()
                for key, value in zip(content[::2], content[1::2], strict=True):
                    target[key] = value

    def _update_buffer(self, number: int) -> None:
        node, target = self.nodes[number], self.objects[number]
        if type(target) is bytearray and node[0] == "bytearray":
            with contextlib.suppress(BufferError):  # somebody looks at it
                target[:] = bytes.fromhex(node[1])
        elif node[0] in ("array", "objects"):
            arrays.update(target, arrays.READERS[node[0]](self, node))


_UNBUILT = object()
SHELLS: dict[str, Callable[[Node], Any]] = {
    "list": lambda _: [],
    "dict": lambda _: {},
    "set": lambda _: set(),
    "deque": lambda n: collections.deque(maxlen=n[1]),
    "ordereddict": lambda _: collections.OrderedDict(),
    "counter": lambda _: collections.Counter(),
    "defaultdict": lambda n: collections.defaultdict(FACTORIES[n[1]] if n[1] else None),
}
SHELL_TYPES = {
    "list": list,
    "dict": dict,
    "set": set,
    "deque": collections.deque,
    "ordereddict": collections.OrderedDict,
    "counter": collections.Counter,
    "defaultdict": collections.defaultdict,
}


def _integers(fields: list[Value]) -> list[Any]:
    """The constructors of `datetime` take a pickle's raw state as well."""
    return [operator.index(field) for field in fields]


def _read_datetime(_: Decoder, node: Node) -> datetime.datetime:
    fold, fields, zone = node[1], node[2:9], node[9:]
    tz = datetime.timezone(datetime.timedelta(*zone)) if zone else None
    year, month, day, *time = _integers(fields)
    value = datetime.datetime(year, month, day, *time)
    return value.replace(tzinfo=tz, fold=fold)


def _read_namedtuple(decoder: Decoder, node: Node) -> Any:
    n = node[2]
    return namedtuple_class(node[1], tuple(node[3 : 3 + n]))._make(decoder.values(node[3 + n :]))


_NAMEDTUPLES: dict[tuple[str, tuple[str, ...]], Any] = {}


def namedtuple_class(name: str, fields: tuple[str, ...]) -> Any:
    """The one class of that name and those fields on this side. Raises ValueError for bad names."""
    key = (name, fields)
    if key not in _NAMEDTUPLES:
        _NAMEDTUPLES[key] = collections.namedtuple(name, fields)
    return _NAMEDTUPLES[key]


READERS: dict[str, Callable[[Decoder, Node], Any]] = {
    "tuple": lambda d, n: tuple(d.values(n[1:])),
    "frozenset": lambda d, n: frozenset(d.values(n[1:])),
    "text": lambda _, n: bytes.fromhex(n[1]).decode("utf-8", "surrogatepass"),
    "bytes": lambda _, n: bytes.fromhex(n[1]),
    "bytearray": lambda _, n: bytearray.fromhex(n[1]),
    "int": lambda _, n: int(n[1], 16),
    "complex": lambda _, n: complex(n[1], n[2]),
    "range": lambda d, n: range(*d.values(n[1:])),
    "slice": lambda d, n: slice(*d.values(n[1:])),
    "ellipsis": lambda _, __: ...,
    "notimplemented": lambda _, __: NotImplemented,
    "namedtuple": _read_namedtuple,
    "keys": lambda d, n: dict.fromkeys(d.values(n[1:])).keys(),
    "values": lambda d, n: dict(enumerate(d.values(n[1:]))).values(),
    "items": lambda d, n: dict(d.values(n[1:])).items(),
    "decimal": lambda _, n: decimal.Decimal(n[1]),
    "fraction": lambda _, n: fractions.Fraction(int(n[1], 16), int(n[2], 16)),
    "datetime": _read_datetime,
    "date": lambda _, n: datetime.date(*_integers(n[1:])),
    "time": lambda _, n: datetime.time(*_integers(n[1:])),
    "timedelta": lambda _, n: datetime.timedelta(*n[1:]),
}
