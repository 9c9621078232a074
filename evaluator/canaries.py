"""Altered copies of a test file, to tell meeting its expectations from fooling its comparisons.

A solution whose results compare equal to anything, or that tampers with pytest, passes a copy in which
an expected value is wrong; an honest one fails it. So each copy alters one expectation, near the truth
and at its origin (a literal, an assignment, a parametrized row), never what the solution is given.

Which side of a comparison is the expected one is read from the file: what comes out of a name taken
from ``solution`` is produced, a name that is handed to it is input, a literal is expected. Where no
literal can be altered, the expected expression is wrapped, or the comparison turned round.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import math
import re
import warnings
from collections.abc import Iterator, Sequence

Function = ast.FunctionDef | ast.AsyncFunctionDef
PER_EXPECTATION = 4
RESOLVE_DEPTH = 20
SHOWN_CHARS = 40
UNRELATED_ERRORS = ("ZeroDivisionError", "BufferError", "LookupError", "GeneratorExit", "SystemExit")  # fmt: skip
UNRELATED_WARNINGS = ("BytesWarning", "ImportWarning", "UnicodeWarning")
OPPOSITES = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: ">=", ast.GtE: "<", ast.Gt: "<=", ast.LtE: ">",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
OPPOSITE_METHODS = {
    "assertNotEqual": "assertEqual", "assertNotAlmostEqual": "assertAlmostEqual",
    "assertIs": "assertIsNot", "assertIsNot": "assertIs",
    "assertIn": "assertNotIn", "assertNotIn": "assertIn",
    "assertIsNone": "assertIsNotNone", "assertIsNotNone": "assertIsNone",
    "assertIsInstance": "assertNotIsInstance", "assertNotIsInstance": "assertIsInstance",
    "assertGreater": "assertLessEqual", "assertLessEqual": "assertGreater",
    "assertLess": "assertGreaterEqual", "assertGreaterEqual": "assertLess",
    "assertRegex": "assertNotRegex", "assertNotRegex": "assertRegex",
}  # fmt: skip
EQUAL_METHODS = {
    "assertEqual", "assertEquals", "assertAlmostEqual", "assertAlmostEquals", "assertCountEqual",
    "assertListEqual", "assertTupleEqual", "assertSetEqual", "assertDictEqual",
    "assertSequenceEqual", "assertMultiLineEqual",
}  # fmt: skip
COLLECTIONS = {"set", "frozenset", "list", "tuple", "sorted", "deque", "Counter"}
CONSTRUCTORS = COLLECTIONS | {
    "dict", "str", "bytes", "bytearray", "int", "complex", "OrderedDict", "defaultdict", "array",
    "asarray", "DataFrame", "Series", "Index", "Timestamp", "Timedelta", "Decimal", "Fraction",
    "datetime", "date", "time", "timedelta",
}  # fmt: skip
EMPTY_CALLS = {
    "set": ("{0}", "{None}"), "list": ("[0]", "[None]"), "tuple": ("(0,)", "(None,)"),
    "dict": ("{0: 0}", "{None: None}"), "str": ("'_'", "' '"),
}  # fmt: skip
WRAPPERS = {
    "number": ("({} + 1)", "({} - 1)"),
    "bool": ("(not {})", "({}, None)"),
    "str": ("({} + '_')", "('_' + {})"),
    "bytes": ("({} + b'_')", "(b'_' + {})"),
    "list": ("[*{}, None]", "[None, *{}]"),
    "tuple": ("(*{}, None)", "(None, *{})"),
    "set": ("{{*{}, None}}", "({}, None)"),
    "dict": ("{{**{}, None: None}}", "({}, None)"),
    "unknown": ("({}, None)",),
}
KIND_OF_CALL = {
    "len": "number", "sum": "number", "abs": "number", "round": "number", "int": "number",
    "ord": "number", "count": "number", "sqrt": "number", "factorial": "number", "float": "number",
    "fabs": "number", "pow": "number", "gcd": "number", "lcm": "number", "comb": "number",
    "sorted": "list", "list": "list", "split": "list", "tuple": "tuple", "set": "set",
    "dict": "dict", "str": "str", "repr": "str", "join": "str", "upper": "str", "lower": "str",
    "replace": "str", "strip": "str", "format": "str", "chr": "str", "hex": "str", "bin": "str",
    "bytes": "bytes", "bool": "bool", "isinstance": "bool", "all": "bool", "any": "bool",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A copy of a test file with one expectation altered: an honest solution that passes the original fails it.

    ``source``: the altered file, complete. ``test``: the id of the altered test without parameters,
    ``test_f`` or ``TestC::test_m``. ``change``: in words, as in ``line 12: 3 became 4``.
    """

    source: str
    test: str
    change: str


def canaries(test: str) -> tuple[Canary, ...]:
    """All copies of the test file ``test`` with one expectation altered, in the order of the source.

    At most four per expectation; each row of a table is an expectation. A file that doesn't parse, or
    nests too deep to be walked, has none.
    """
    try:
        with warnings.catch_warnings():  # "\\d" in somebody's test is no news for our user
            warnings.simplefilter("ignore")
            module = _Module(test)
            return tuple(module.canaries())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """Text to put in the place of nodes of the tree, and what that changes, in words."""

    splices: tuple[tuple[ast.expr, str], ...]
    words: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Tolerance:
    """How far from the expected value a result may be, as the assertion says."""

    absolute: float = 0.0
    relative: float = 0.0

    def step(self, value: float) -> float:
        """A distance that is clearly more than this tolerance and than the usual ones."""
        size = abs(value)
        return max(0.01 * size, 0.001, 3 * self.absolute, 3 * self.relative * size)


EXACT = _Tolerance()


class _Source:
    """A file's text and where its syntax nodes stand in it; their columns count UTF-8 bytes."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.bytes = text.encode()
        self.lines = [0, *(m.end() for m in re.finditer(rb"\r\n|\r|\n", self.bytes))]

    def span(self, node: ast.expr) -> tuple[int, int]:
        start = self.lines[node.lineno - 1] + node.col_offset
        line, column = _end(node)
        return start, self.lines[line - 1] + column

    def text(self, node: ast.expr) -> str:
        start, end = self.span(node)
        return self.bytes[start:end].decode()

    def spliced(self, edit: _Edit) -> str:
        parts, last = [], 0
        for (start, end), text in sorted((self.span(n), text) for n, text in edit.splices):
            parts += [self.bytes[last:start], text.encode()]
            last = end
        return b"".join([*parts, self.bytes[last:]]).decode()


# --- where a value comes from -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """An expression and the scope in which its names have their meaning."""

    node: ast.expr
    scope: _Scope


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Binding:
    """A name's value: ``value``, or with ``each`` its rows, then the items at ``steps``.

    ``position``: line and column from which it holds. ``mutates``: it changes the value that the name
    already has, so it tells what the value is made of, but not what it is.
    """

    value: ast.expr
    position: tuple[int, int]
    steps: tuple[int, ...] = ()
    each: bool = False
    mutates: bool = False


class _Scope:
    """The names of a module, class, or function, and where their values come from."""

    def __init__(
        self,
        module: _Module,
        nodes: Sequence[ast.AST],
        parent: _Scope | None = None,
        params: dict[str, list[_Place]] | None = None,
    ) -> None:
        self.module = module
        self.parent = parent
        self.params = params or {}
        self.bindings: dict[str, list[_Binding]] = {}
        self.nodes = nodes
        self._produced: dict[int, bool] = {}
        self._inputs: set[str] | None = None
        for node in nodes:
            for child in ast.walk(node):
                self._collect(child)

    def bind(self, target: ast.expr, binding: _Binding) -> None:
        match target:
            case ast.Tuple(elts=elts) | ast.List(elts=elts):
                for i, elt in enumerate(elts):
                    self.bind(elt, dataclasses.replace(binding, steps=(*binding.steps, i)))
            case ast.Starred(value=value):
                self.bind(value, dataclasses.replace(binding, mutates=True))
            case ast.Subscript(value=value):
                self.bind(value, dataclasses.replace(binding, mutates=True))
            case ast.Name() | ast.Attribute():
                self.bindings.setdefault(ast.unparse(target), []).append(binding)
            case _:
                pass

    def _collect(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self.bind(target, _Binding(value=value, position=_end(node)))
            case (ast.AnnAssign(target=target, value=ast.expr() as value)
                  | ast.NamedExpr(target=target, value=value)):  # fmt: skip
                self.bind(target, _Binding(value=value, position=_end(node)))
            case ast.AugAssign(target=target, value=value):
                self.bind(target, _Binding(value=value, position=_end(node), mutates=True))
            case ast.For(target=target, iter=rows) | ast.AsyncFor(target=target, iter=rows):
                self.bind(target, _Binding(value=rows, position=_end(rows), each=True))
            case (ast.GeneratorExp(generators=generators) | ast.ListComp(generators=generators)
                  | ast.SetComp(generators=generators) | ast.DictComp(generators=generators)):  # fmt: skip
                for part in generators:
                    position = (node.lineno, node.col_offset)
                    self.bind(part.target, _Binding(value=part.iter, position=position, each=True))
            case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                self.bind(target, _Binding(value=value, position=_end(value), mutates=True))
            case ast.Call(func=ast.Attribute(value=target, attr=attr), args=args) if attr in (
                "append", "add", "extend", "update", "insert"
            ):  # fmt: skip
                for arg in args:
                    self.bind(target, _Binding(value=arg, position=_end(arg), mutates=True))
            case _:
                pass

    def origins(self, node: ast.expr, depth: int = 0, through_inputs: bool = False) -> list[_Place]:
        """The expressions that make ``node``'s value: itself, or where the names in it were bound.

        Stops at what is handed to the solution, unless ``through_inputs``.
        """
        key = _key(node)
        if key is None or depth > RESOLVE_DEPTH or (not through_inputs and self.is_input(key)):
            return [_Place(node=node, scope=self)]
        found = self._lookup(key, _start(node), depth + 1, through_inputs)
        if not found and isinstance(node, ast.Subscript):
            index = ast.literal_eval(node.slice)
            bases = self.origins(node.value, depth + 1, through_inputs)
            found = [item for base in bases for item in _item(base, index)]
        return found or [_Place(node=node, scope=self)]

    def _lookup(
        self, key: str, position: tuple[int, int] | None, depth: int, through_inputs: bool
    ) -> list[_Place]:
        bindings = [b for b in self.bindings.get(key, []) if not b.mutates]
        if bindings:
            before = [b for b in bindings if position is None or b.position <= position]
            if not before:
                return []
            binding = max(before, key=lambda b: b.position)
            places = self.origins(binding.value, depth, through_inputs)
            if binding.each:
                places = [row for place in places for row in _rows(place, depth)]
            for step in binding.steps:
                places = [item for place in places for item in _item(place, step)]
        elif key in self.params:
            places = self.params[key]
        else:
            return self.parent._lookup(key, None, depth, through_inputs) if self.parent else []
        return [o for p in places for o in p.scope.origins(p.node, depth, through_inputs)]

    def is_produced(self, node: ast.expr) -> bool:
        """Whether something that comes from the solution goes into ``node``'s value."""
        if id(node) not in self._produced:
            self._produced[id(node)] = False  # ends the recursion of a name bound to itself
            self._produced[id(node)] = any(
                self._is_produced_name(_key(part) or "")
                for part in ast.walk(node)
                if isinstance(part, ast.Name | ast.Attribute)
            )
        return self._produced[id(node)]

    def _is_produced_name(self, key: str) -> bool:
        if key in self.bindings:
            return any(self.is_produced(b.value) for b in self.bindings[key])
        if key in self.params:
            return any(p.scope.is_produced(p.node) for p in self.params[key])
        return self.parent._is_produced_name(key) if self.parent else key in self.module.produced

    def is_input(self, key: str) -> bool:
        """Whether the variable, or what holds it, is handed to the solution in this scope."""
        if self._inputs is None:
            self._inputs = self._find_inputs()
        return any(key == k or key.startswith((k + "[", k + ".")) for k in self._inputs)

    def _find_inputs(self) -> set[str]:
        found: set[str] = set()
        for call in (n for top in self.nodes for n in ast.walk(top) if isinstance(n, ast.Call)):
            if _name(call) == "equals" or self.module.helper(call, None) is not None:
                continue
            handed = any(
                isinstance(a, ast.Name) and a.id in self.module.solution for a in call.args
            )
            if handed or self.is_produced(call.func):
                for arg in [*call.args, *(k.value for k in call.keywords)]:
                    found |= set(_keys(arg))
        pending = list(found)
        while pending:
            for binding in self.bindings.get(pending.pop(), []):
                if not binding.each and not binding.steps:
                    new = set(_keys(binding.value)) - found
                    found |= new
                    pending += new
        return found - self.module.produced


def _start(node: ast.AST) -> tuple[int, int] | None:
    return (node.lineno, node.col_offset) if isinstance(node, ast.expr) and _real(node) else None


def _end(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or node.col_offset


def _real(node: ast.AST) -> bool:
    """Whether the node stands in the file, and was not made up while resolving a loop."""
    return hasattr(node, "lineno")


def _key(node: ast.AST) -> str | None:
    """The name of a variable, of an attribute of one, or of a constant item of one; else None."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value) | ast.Subscript(value=value, slice=ast.Constant()):
            return ast.unparse(node) if _key(value) is not None else None
        case _:
            return None


def _keys(node: ast.AST) -> Iterator[str]:
    key = _key(node)
    if key is not None:
        yield key
    else:
        for child in ast.iter_child_nodes(node):
            yield from _keys(child)


def _name(node: ast.AST) -> str:
    """What is called, without the module or object that it belongs to."""
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
        case _:
            return ""


def _item(place: _Place, index: object) -> list[_Place]:
    node = place.node
    if isinstance(node, ast.Name | ast.Subscript | ast.Attribute):
        at = place.scope.origins(node)
        return [] if at[0].node is node else [i for p in at for i in _item(p, index)]
    match node:
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            if isinstance(index, int) and -len(elts) <= index < len(elts):
                return [_Place(node=elts[index], scope=place.scope)]
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and key.value == index:
                    return [_Place(node=value, scope=place.scope)]
        case _:
            pass
    return []


def _rows(place: _Place, depth: int = 0) -> list[_Place]:
    """What a loop over the expression gives, as far as the file tells it."""

    def of(node: ast.expr) -> list[ast.expr]:
        origins = place.scope.origins(node, depth + 1, through_inputs=True)
        return [r.node for o in origins for r in _rows(o, depth + 1)]

    rows: list[ast.expr]
    match place.node:
        case _ if depth > RESOLVE_DEPTH:
            rows = []
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
            rows = list(elts)
        case ast.Dict(keys=keys):
            rows = [key for key in keys if key is not None]
        case ast.Call(func=ast.Attribute(value=value, attr="items" | "values" as attr)):
            dicts = [o.node for o in place.scope.origins(value, depth + 1, through_inputs=True)]
            rows = [
                v if attr == "values" else _tuple(k, v)
                for d in dicts
                if isinstance(d, ast.Dict)
                for k, v in zip(d.keys, d.values, strict=True)
                if k is not None
            ]
        case ast.Call(func=ast.Name(id="range")):
            rows = [ast.Constant(value=0)]
        case ast.Call(func=ast.Name(id="enumerate"), args=[iterable, *_]):
            rows = [_tuple(ast.Constant(value=0), row) for row in of(iterable)]
        case ast.Call(func=ast.Name(id="zip"), args=args):
            rows = [_tuple(*row) for row in zip(*map(of, args), strict=False)]
        case ast.Call(func=ast.Name(id="sorted" | "list" | "tuple" | "reversed"), args=[iterable]):
            rows = of(iterable)
        case _:
            rows = []
    return [_Place(node=_unwrapped(row), scope=place.scope) for row in rows]


def _tuple(*nodes: ast.expr) -> ast.expr:
    return ast.Tuple(elts=list(nodes))


def _unwrapped(row: ast.expr) -> ast.expr:
    if isinstance(row, ast.Call) and _name(row) == "param" and row.args:
        return row.args[0] if len(row.args) == 1 else _tuple(*row.args)
    return row


# --- another value ----------------------------------------------------------------------------------


def _scalar(node: ast.AST) -> bool:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() | complex())):
            return True
        case ast.Constant(value=value):
            return value is not Ellipsis
        case _:
            return False


def _other_values(node: ast.expr, tolerance: _Tolerance, identity: bool) -> tuple[str, str]:
    """Two literals near a scalar or empty literal: above and below, flipped, with a character changed."""
    match node:
        case ast.List():
            return "[0]", "[None]"
        case ast.Tuple():
            return "(0,)", "(None,)"
        case ast.Dict():
            return "{0: 0}", "{None: None}"
        case _:
            value = ast.literal_eval(node)
    match value:
        case bool():
            return repr(not value), "None"
        case None:
            return ("False", "True") if identity else ("0", "False")
        case int():
            exact = tolerance == EXACT
            by = 1 if exact else max(1, math.ceil(tolerance.step(value)))
            return repr(value + by), repr(value - by)
        case float():
            if not math.isfinite(value):
                return "0.0", repr(-value) if value == value else "1.0"
            step = tolerance.step(value)
            return _rounded(value + step), _rounded(value - step)
        case str():
            changed = value[:-1] + _other_character(value[-1]) if value else " "
            return repr(changed), repr(value + "_")
        case bytes():
            other = value[:-1] + bytes([value[-1] ^ 1]) if value else b" "
            return repr(other), repr(value + b"_")
        case _:
            return repr(value + 1), repr(value - 1)


def _rounded(value: float) -> str:
    return repr(float(f"{value:.12g}")) if math.isfinite(value) else "0.0"


def _other_character(c: str) -> str:
    if c.isascii() and c.isalnum():
        return {"9": "8", "z": "y", "Z": "Y"}.get(c) or chr(ord(c) + 1)
    return "-" if c == "_" else "_"


def _leaves(node: ast.expr) -> list[ast.expr]:
    """The scalars and empty containers that a literal, or a call of a known constructor, is made of."""
    parts: Sequence[ast.expr | None]
    match node:
        case _ if _scalar(node):
            return [node]
        case ast.List(elts=[]) | ast.Tuple(elts=[]) | ast.Dict(keys=[]):
            return [node]
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
            parts = elts
        case ast.Dict(keys=keys, values=values):
            found = [leaf for value in values for leaf in _leaves(value)]
            return found or [leaf for key in keys if key is not None for leaf in _leaves(key)]
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.Call(args=args) if _name(node) in CONSTRUCTORS:
            parts = args
        case _:
            return []
    return [leaf for part in parts if part is not None for leaf in _leaves(part)]


def _resized(node: ast.expr) -> list[tuple[str, str]]:
    """A container literal with one element appended, and with its last removed; and that in words."""
    longer: ast.expr
    shorter: ast.expr
    match node:
        case ast.Dict(keys=[*_, ast.expr() as key] as keys, values=values):
            new = _new_element(key, [k for k in keys if k is not None])
            longer = ast.Dict(keys=[*keys, new], values=[*values, values[-1]])
            shorter = ast.Dict(keys=keys[:-1], values=values[:-1])
            added, removed = f"key {ast.unparse(new)}", f"key {ast.unparse(key)}"
        case ast.List(elts=[*_, last]) | ast.Tuple(elts=[*_, last]) | ast.Set(elts=[*_, last]):
            unique = isinstance(node, ast.Set)
            new = _new_element(last, node.elts) if unique or _scalar(last) else last
            longer = type(node)(elts=[*node.elts, new])
            shorter = type(node)(elts=node.elts[:-1])
            added, removed = ast.unparse(new), ast.unparse(last)
        case _:
            return []
    return [
        (ast.unparse(longer), f"{_short(added)} was appended"),
        (ast.unparse(shorter), f"{_short(removed)} was removed"),
    ]


def _new_element(last: ast.expr, present: Sequence[ast.expr]) -> ast.expr:
    texts: Sequence[str] = _other_values(last, EXACT, False) if _scalar(last) else ()
    taken = [ast.literal_eval(p) for p in present if _scalar(p)]
    numbers = map(str, range(2, len(taken) + 3))  # one more than can be taken
    text = next(t for t in [*texts, *numbers] if ast.literal_eval(t) not in taken)
    return ast.parse(text, mode="eval").body


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _kind(node: ast.expr) -> str:
    """The type of an expression's value as far as its form tells it: a key of WRAPPERS."""
    match node:
        case ast.Constant(value=bool()) | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "bool"
        case ast.Constant(value=int() | float() | complex()) | ast.UnaryOp():
            return "number"
        case ast.Constant(value=str()) | ast.JoinedStr():
            return "str"
        case ast.Constant(value=bytes()):
            return "bytes"
        case ast.List() | ast.ListComp():
            return "list"
        case ast.Tuple():
            return "tuple"
        case ast.Set() | ast.SetComp():
            return "set"
        case ast.Dict() | ast.DictComp():
            return "dict"
        case ast.Call():
            return KIND_OF_CALL.get(_name(node), "unknown")
        case ast.Attribute(value=ast.Name(id="math" | "np" | "cmath"), attr="pi" | "e" | "tau"):
            return "number"
        case ast.BinOp(left=left, op=ast.Mod()) if _kind(left) in ("str", "bytes"):
            return _kind(left)
        case ast.BinOp(left=left, op=op, right=right):
            kinds = {_kind(left), _kind(right)}
            if isinstance(op, ast.Sub | ast.Div | ast.FloorDiv | ast.Pow | ast.Mod):
                return "number" if "number" in kinds else "unknown"
            known = kinds - {"unknown", "number"}
            if len(known) == 1:
                return known.pop()
            if kinds == {"number"} or (isinstance(op, ast.Add) and "number" in kinds):
                return "number"
            return "unknown"
        case _:
            return "unknown"


# --- the expectations of a test ---------------------------------------------------------------------


class _Module:
    """A test file: its tests, its helpers, and which of its names come from the solution."""

    def __init__(self, text: str) -> None:
        self.source = _Source(text)
        body = self.source.tree.body
        self.functions = {n.name: n for n in body if isinstance(n, Function)}
        self.solution = _solution_names(self.source.tree)
        self.produced = self._produced_names()
        self.asserting = {
            id(n)
            for n in ast.walk(self.source.tree)
            if isinstance(n, Function) and any(_asserts(child) for child in ast.walk(n))
        }
        top = [n for n in body if not isinstance(n, Function | ast.ClassDef)]
        self.scope = _Scope(self, top)

    def canaries(self) -> Iterator[Canary]:
        seen: set[str] = {self.source.bytes.decode()}
        for id_, test in self._tests():
            for group in test.expectations():
                for edit in group[:PER_EXPECTATION]:
                    altered = self.source.spliced(edit)
                    if altered not in seen:
                        seen.add(altered)
                        line = min(node.lineno for node, _ in edit.splices)
                        yield Canary(source=altered, test=id_, change=f"line {line}: {edit.words}")

    def helper(self, call: ast.Call, methods: dict[str, Function] | None) -> Function | None:
        """The asserting function of this file that ``call`` calls."""
        match call.func:
            case ast.Name(id=name):
                found = self.functions.get(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                found = (methods or {}).get(name)
            case _:
                found = None
        return found if found and id(found) in self.asserting else None

    def _produced_names(self) -> set[str]:
        """The solution's names, and the functions and classes of this file that use one."""
        uses = {
            n.name: {part.id for part in ast.walk(n) if isinstance(part, ast.Name)}
            for n in self.source.tree.body
            if isinstance(n, Function | ast.ClassDef)
        }
        produced = set(self.solution)
        while new := {n for n, used in uses.items() if n not in produced and used & produced}:
            produced |= new
        return produced

    def _tests(self) -> Iterator[tuple[str, _Test]]:
        for node in self.source.tree.body:
            if isinstance(node, Function) and node.name.startswith("test"):
                yield node.name, _Test(self, node, self._scope(node, self.scope, []), {})
            elif isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or node.bases):
                methods = {m.name: m for m in node.body if isinstance(m, Function)}
                scope = self._class_scope(node, methods)
                for name, method in methods.items():
                    if name.startswith("test"):
                        test = self._scope(method, scope, node.decorator_list)
                        yield f"{node.name}::{name}", _Test(self, method, test, methods)

    def _class_scope(self, node: ast.ClassDef, methods: dict[str, Function]) -> _Scope:
        set_up = [m for name, m in methods.items() if name.lower().startswith("setup")]
        scope = _Scope(self, set_up, self.scope)
        for statement in node.body:
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    binding = _Binding(value=statement.value, position=_end(statement))
                    for prefix in ("self", "cls", node.name):
                        owner = ast.Name(id=prefix)
                        if isinstance(target, ast.Name):
                            scope.bind(ast.Attribute(value=owner, attr=target.id), binding)
        return scope

    def _scope(self, function: Function, parent: _Scope, decorators: Sequence[ast.expr]) -> _Scope:
        """A test's scope, with its fixtures and parametrized arguments bound."""
        params: dict[str, list[_Place]] = {}
        for arg in function.args.args:
            fixture = self.functions.get(arg.arg)
            if fixture is not None and any(
                "fixture" in ast.unparse(d) for d in fixture.decorator_list
            ):
                inside = _Scope(self, fixture.body, self.scope)
                params[arg.arg] = [
                    _Place(node=n.value, scope=inside)
                    for n in ast.walk(fixture)
                    if isinstance(n, ast.Return | ast.Yield) and n.value is not None
                ]
        scope = _Scope(self, function.body, parent, params)
        for call in [*decorators, *function.decorator_list]:
            if isinstance(call, ast.Call) and _name(call) == "parametrize":
                args = {**dict(zip(("argnames", "argvalues"), call.args, strict=False)),
                        **{k.arg: k.value for k in call.keywords if k.arg}}  # fmt: skip
                if "argnames" in args and "argvalues" in args:
                    target = _argnames(args["argnames"])
                    scope.bind(
                        target, _Binding(value=args["argvalues"], position=(0, 0), each=True)
                    )
        return scope


def _argnames(node: ast.expr) -> ast.expr:
    match node:
        case ast.Constant(value=str() as names):
            split = [n.strip() for n in names.split(",") if n.strip()]
            if len(split) == 1:
                return ast.Name(id=split[0])
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            split = [str(e.value) for e in elts if isinstance(e, ast.Constant)]
        case _:
            split = []
    return _tuple(*(ast.Name(id=name) for name in split))


def _solution_names(tree: ast.Module) -> set[str]:
    """Names imported from ``solution``, and those that the file uses but nobody defines."""
    taken, bound, used = {"solution"}, set(dir(builtins)), set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    local = alias.asname or alias.name.split(".")[0]
                    (taken if alias.name == "solution" else bound).add(local)
            case ast.ImportFrom(module=module, names=names):
                (taken if module == "solution" else bound).update(a.asname or a.name for a in names)
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.ExceptHandler(name=str() as name) | ast.arg(arg=name):
                bound.add(name)
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                bound.add(name)
            case _:
                pass
    return taken | (used - bound)


def _asserts(node: ast.AST) -> bool:
    name = _name(node)
    return isinstance(node, ast.Assert) or name.startswith("assert") or name == "raises"


def _preorder(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, ast.expr):
        for child in ast.iter_child_nodes(node):
            yield from _preorder(child)


class _Test:
    """A test function, or a helper that one calls: its expectations, each with the edits that alter it."""

    def __init__(
        self,
        module: _Module,
        function: Function,
        scope: _Scope,
        methods: dict[str, Function],
        callers: tuple[Function, ...] = (),
    ) -> None:
        self.module = module
        self.function = function
        self.scope = scope
        self.methods = methods
        self.callers = (*callers, function)

    def expectations(self) -> Iterator[list[_Edit]]:
        for statement in self.function.body:
            for node in _preorder(statement):
                match node:
                    case ast.Assert(test=condition):
                        yield from self._condition(condition)
                    case ast.withitem(context_expr=ast.Call() as call):
                        yield from self._raises(call)
                    case (ast.Expr(value=ast.Call() as call)
                          | ast.Expr(value=ast.Await(value=ast.Call() as call))):  # fmt: skip
                        yield from self._raises(call)
                        yield from self._call(call)
                    case _:
                        pass

    def _text(self, node: ast.expr) -> str:
        return self.module.source.text(node)

    def _edit(self, node: ast.expr, text: str) -> _Edit:
        words = f"{_short(self._text(node))} became {_short(text)}"
        return _Edit(splices=((node, text),), words=words)

    def _condition(self, node: ast.expr) -> Iterator[list[_Edit]]:
        """The expectations in a condition that must hold."""
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                for value in values:
                    yield from self._condition(value)
            case ast.BoolOp(values=values):
                yield self._all_at_once(values) + self._negated(node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                text = f"({self._text(operand)})"
                yield [self._edit(node, text), self._edit(node, f"({text} == True)")]
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                yield from self._comparison(node, left, op, right)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for a, op, b in zip([left, *comparators], ops, comparators, strict=False):
                    if isinstance(op, ast.Eq) and self._rank(a) != self._rank(b):
                        yield from self._equal(a, b)
                yield self._negated(node)
            case ast.Constant():
                if node.value:
                    yield self._altered(node)
            case ast.Call(func=ast.Attribute(value=ast.Compare() as inner, attr="all"), args=[]):
                yield from self._condition(inner)
            case (ast.Call(func=ast.Name(id="all"),
                           args=[ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner)])):  # fmt: skip
                yield from self._condition(inner)
            case ast.Call(func=ast.Attribute(value=left, attr="equals"), args=[right]):
                yield from self._equal(left, right)
            case ast.Call(args=[left, right, *_]) if not self._solution_call(node):
                tolerance = self._tolerance(node)
                if self._rank(left) != self._rank(right):
                    yield from self._equal(left, right, tolerance, wrap=False)
                yield self._negated(node)
            case _:
                yield self._negated(node)

    def _solution_call(self, call: ast.Call) -> bool:
        return isinstance(call.func, ast.Name) and call.func.id in self.module.solution

    def _is_plain(self, node: ast.expr) -> bool:
        """Whether a condition has no inner expectations."""
        if isinstance(node, ast.Call):
            return self._solution_call(node)
        return isinstance(node, ast.Name | ast.Attribute)

    def _negated(self, node: ast.expr) -> list[_Edit]:
        text = f"({self._text(node)})"
        return [self._edit(node, f"(not {text})"), self._edit(node, f"({text} == False)")]

    def _all_at_once(self, values: Sequence[ast.expr]) -> list[_Edit]:
        """Alternatives: any of them will do, so all change together."""
        parts = [next(self._condition(value), []) for value in values]
        return [
            _Edit(
                splices=tuple(s for edit in edits for s in edit.splices),
                words=", ".join(edit.words for edit in edits),
            )
            for edits in zip(*parts, strict=False)
        ][:2]

    def _comparison(
        self, node: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr
    ) -> Iterator[list[_Edit]]:
        a, b = f"({self._text(left)})", f"({self._text(right)})"
        turned = self._edit(node, f"({a} {OPPOSITES[type(op)]} {b})")
        denied = self._edit(node, f"(not ({self._text(node)}))")
        near = (left, right) if isinstance(op, ast.Lt | ast.LtE) else (right, left)
        match near, op, right:
            case _, ast.Eq(), _:
                groups = list(self._equal(left, right))
                if len(groups) == 1 and len(groups[0]) < 2:
                    groups[0].append(turned)
                yield from groups
            case _, ast.Is(), ast.Constant(value=None | bool()) | ast.Name():
                groups = list(self._equal(left, right, wrap=False, identity=True))
                yield from groups or [[turned, denied]]
            case (
                (ast.Call(args=[ast.BinOp(left=x, op=ast.Sub(), right=y)]) as distance, limit),
                ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE(),
                _,
            ) if _name(distance) in ("abs", "fabs", "absolute"):
                yield from self._equal(x, y, _Tolerance(absolute=self._number(limit)))
            case _, ast.In(), ast.List() | ast.Tuple() | ast.Set():
                yield [self._edit(right, "[None]"), turned, denied]
            case _, ast.In(), _ if isinstance(left, ast.Constant) and isinstance(left.value, str):
                yield [*self._altered(left)[::-1], turned]
            case _:
                yield [turned, denied]

    def _equal(
        self,
        left: ast.expr,
        right: ast.expr,
        tolerance: _Tolerance = EXACT,
        *,
        wrap: bool = True,
        identity: bool = False,
    ) -> Iterator[list[_Edit]]:
        """The expectations in the side that is the expected one: the right one if nothing tells."""
        expected = left if self._rank(left) < self._rank(right) else right
        if isinstance(expected, ast.Call) and _name(expected) == "approx" and expected.args:
            tolerance = self._tolerance(expected)
            expected = expected.args[0]
        for origin in self.scope.origins(expected):
            node = origin.node if _real(origin.node) else expected
            edits = self._altered(node, tolerance, identity) if _real(origin.node) else []
            if not edits and wrap:
                edits = self._wrapped(node, self._kind_of(origin), tolerance)
            if edits:
                yield edits

    def _kind_of(self, place: _Place) -> str:
        origins = place.scope.origins(place.node, through_inputs=True)
        return _kind(origins[0].node)

    def _rank(self, node: ast.expr) -> int:
        """How far an expression is from being an expected value: 0 a literal … 3 the solution's result."""
        if _name(node) == "approx":
            return -1
        if all(_real(o.node) and self._altered(o.node) for o in self.scope.origins(node)):
            return 0
        if self.scope.is_produced(node):
            return 3
        key = _key(node)
        return 2 if key is not None and self.scope.is_input(key) else 1

    def _altered(
        self, node: ast.expr, tolerance: _Tolerance = EXACT, identity: bool = False
    ) -> list[_Edit]:
        """Edits of a literal, or of one in a constructor's call; none where the value isn't literal."""
        resizable = node
        match node:
            case ast.Call(func=ast.Name(id=name), args=[]) if name in EMPTY_CALLS:
                return [self._edit(node, text) for text in EMPTY_CALLS[name]]
            case (
                ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str())])
                | ast.Attribute(value=ast.Name(id="math" | "np" | "numpy"), attr="inf" | "nan")
            ):
                return [self._edit(node, "0.0"), self._edit(node, f"(1.0, {self._text(node)})")]
            case ast.Call(args=[only]) if _name(node) in COLLECTIONS:
                resizable = only
            case ast.BinOp() if _names_in(node) and _kind(node) != "unknown":
                return []
            case _:
                pass
        leaves = _leaves(node)
        edits = []
        if leaves:
            first, last = leaves[0], leaves[-1]
            edits.append(self._edit(first, _other_values(first, tolerance, identity)[0]))
            edits.append(self._edit(last, _other_values(last, tolerance, identity)[1]))
        edits += [
            _Edit(splices=((resizable, text),), words=words) for text, words in _resized(resizable)
        ]
        return edits

    def _wrapped(self, node: ast.expr, kind: str, tolerance: _Tolerance) -> list[_Edit]:
        if kind == "unknown" and tolerance != EXACT:
            kind = "number"
        text = f"({self._text(node)})"
        edits = [self._edit(node, form.format(text)) for form in WRAPPERS[kind]]
        if kind == "number" and tolerance.absolute >= 0.5:
            far = f"{3 * tolerance.absolute:.12g}"
            edits = [self._edit(node, f"({text} {sign} {far})") for sign in "+-"]
        return edits

    def _number(self, node: ast.expr) -> float:
        """The value of a numeric literal, also through names; 0.0 when it isn't one."""
        try:
            value = ast.literal_eval(self.scope.origins(node)[0].node)
        except ValueError:
            return 0.0
        return float(value) if isinstance(value, int | float) else 0.0

    def _tolerance(self, call: ast.Call) -> _Tolerance:
        """What the arguments of ``approx``, ``isclose``, ``assert_allclose`` and their like allow."""
        given = {k.arg: self._number(k.value) for k in call.keywords}
        name = _name(call)
        order: tuple[str, ...] = ()
        if name == "approx":
            order = ("", "rel", "abs")
        elif "allclose" in name or name == "isclose":
            order = ("", "", "rtol", "atol")
        elif "lmost" in name:
            order = ("", "", "places" if "Almost" in name else "decimal")
        for key, arg in zip(order, call.args, strict=False):
            if key:
                given[key] = self._number(arg)
        absolute = max(given.get(k, 0.0) for k in ("abs", "atol", "abs_tol", "delta"))
        digits = given.get("places", given.get("decimal"))
        if digits is not None:
            absolute = max(absolute, 1.5 * 10**-digits)
        relative = max(given.get(k, 0.0) for k in ("rel", "rtol", "rel_tol"))
        return _Tolerance(absolute=absolute, relative=relative)

    def _call(self, call: ast.Call) -> Iterator[list[_Edit]]:
        """The expectations of a statement that calls an assertion or a helper of this file."""
        helper = self.module.helper(call, self.methods)
        if helper is not None:
            yield from self._in_helper(call, helper)
            return
        name, args = _name(call), call.args
        method = call.func if isinstance(call.func, ast.Attribute) else None
        if name in EQUAL_METHODS and len(args) >= 2:
            yield from self._equal(args[0], args[1], self._tolerance(call))
        elif name in ("assertTrue", "assertFalse") and args and method:
            truth = name == "assertTrue"
            if truth and not self._is_plain(args[0]):
                yield from self._condition(args[0])
                return
            base = self._text(method.value)
            yield [
                self._edit(method, f"{base}.assert{not truth}"),
                self._edit(call, f"{base}.assertEqual({self._text(args[0])}, {not truth})"),
            ]
        elif name in OPPOSITE_METHODS and method and (args[1:] or "None" in name):
            base = self._text(method.value)
            edits = [self._edit(method, f"{base}.{OPPOSITE_METHODS[name]}")]
            if name == "assertIsNone":
                edits.insert(0, self._edit(call, f"{base}.assertEqual({self._text(args[0])}, 0)"))
            if name == "assertIn" and isinstance(args[1], ast.List | ast.Tuple | ast.Set):
                edits.insert(0, self._edit(args[1], "[None]"))
            yield edits
        elif name.startswith("assert_") and len(args) >= 2 and "call" not in name:
            yield from self._equal(args[0], args[1], self._tolerance(call))

    def _in_helper(self, call: ast.Call, helper: Function) -> Iterator[list[_Edit]]:
        if helper in self.callers:
            return
        names = [a.arg for a in [*helper.args.posonlyargs, *helper.args.args]]
        defaults = dict(zip(names[::-1], helper.args.defaults[::-1], strict=False))
        if isinstance(call.func, ast.Attribute):
            names = names[1:]
        given = {
            **dict(zip(names, call.args, strict=False)),
            **{k.arg: k.value for k in call.keywords if k.arg},
        }
        params = {n: [_Place(node=v, scope=self.module.scope)] for n, v in defaults.items()}
        params |= {n: [_Place(node=v, scope=self.scope)] for n, v in given.items()}
        scope = _Scope(self.module, helper.body, self.module.scope, params)
        inner = _Test(self.module, helper, scope, self.methods, self.callers)
        yield from inner.expectations()

    def _raises(self, call: ast.Call) -> Iterator[list[_Edit]]:
        """Another exception, or warning, for the expected one; it must be no relative of that."""
        if _name(call) not in (
            "raises", "warns", "assertRaises", "assertRaisesRegex", "assertWarns"
        ):  # fmt: skip
            return
        keyword = [k.value for k in call.keywords if k.arg == "expected_exception"]
        for node in (call.args or keyword)[:1]:
            for origin in self.scope.origins(node):
                if not _real(origin.node):
                    continue
                named = [n.id for n in ast.walk(origin.node) if isinstance(n, ast.Name)]
                edits = [self._edit(origin.node, other) for other in _unrelated(named)]
                if edits:
                    yield edits


def _names_in(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Name) for n in ast.walk(node))


def _unrelated(names: Sequence[str]) -> list[str]:
    """Two builtin exceptions that are neither base nor subclass of those named."""
    types = [t for t in (getattr(builtins, n, None) for n in names) if isinstance(t, type)]
    warns = any(issubclass(t, Warning) for t in types)
    others = [
        name
        for name in (UNRELATED_WARNINGS if warns else UNRELATED_ERRORS)
        for other in [getattr(builtins, name)]
        if not any(issubclass(other, t) or issubclass(t, other) for t in types)
    ]
    return others[:2]
