"""Where a value in a test file comes from: the literal, assignment or table row that it is."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluator.canaries.files import called_name, end_of, key_of, keys_of, start_of

if TYPE_CHECKING:
    from evaluator.canaries.module import TestModule

RESOLVE_DEPTH = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An expression and the scope in which its names have their meaning."""

    node: ast.expr
    scope: Scope


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A name's value: ``value``, or with ``each`` its rows, then the items at ``steps``.

    ``position``: line and column from which it holds. ``mutates``: it changes the value that the name
    already has, so it tells what the value is made of, but not what it is.
    """

    value: ast.expr
    position: tuple[int, int]
    steps: tuple[int, ...] = ()
    each: bool = False
    mutates: bool = False


class Scope:
    """The names of a module, class, or function, and where their values come from."""

    def __init__(
        self,
        module: TestModule,
        nodes: Sequence[ast.AST],
        parent: Scope | None = None,
        params: dict[str, list[Place]] | None = None,
    ) -> None:
        self.module = module
        self.parent = parent
        self.params = params or {}
        self.bindings: dict[str, list[Binding]] = {}
        self.nodes = nodes
        self._produced: dict[int, bool] = {}
        self._inputs: set[str] | None = None
        for node in nodes:
            for child in ast.walk(node):
                self._collect(child)

    def bind(self, target: ast.expr, binding: Binding) -> None:
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
                    self.bind(target, Binding(value=value, position=end_of(node)))
            case (ast.AnnAssign(target=target, value=ast.expr() as value)
                  | ast.NamedExpr(target=target, value=value)):  # fmt: skip
                self.bind(target, Binding(value=value, position=end_of(node)))
            case ast.AugAssign(target=target, value=value):
                self.bind(target, Binding(value=value, position=end_of(node), mutates=True))
            case ast.For(target=target, iter=rows) | ast.AsyncFor(target=target, iter=rows):
                self.bind(target, Binding(value=rows, position=end_of(rows), each=True))
            case (ast.GeneratorExp(generators=generators) | ast.ListComp(generators=generators)
                  | ast.SetComp(generators=generators) | ast.DictComp(generators=generators)):  # fmt: skip
                for part in generators:
                    position = (node.lineno, node.col_offset)
                    self.bind(part.target, Binding(value=part.iter, position=position, each=True))
            case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                self.bind(target, Binding(value=value, position=end_of(value), mutates=True))
            case ast.Call(func=ast.Attribute(value=target, attr=attr), args=args) if attr in (
                "append", "add", "extend", "update", "insert"
            ):  # fmt: skip
                for arg in args:
                    self.bind(target, Binding(value=arg, position=end_of(arg), mutates=True))
            case _:
                pass

    def origins(self, node: ast.expr, depth: int = 0, through_inputs: bool = False) -> list[Place]:
        """The expressions that make ``node``'s value: itself, or where the names in it were bound.

        Stops at what is handed to the solution, unless ``through_inputs``.
        """
        key = key_of(node)
        if key is None or depth > RESOLVE_DEPTH or (not through_inputs and self.is_input(key)):
            return [Place(node=node, scope=self)]
        found = self._lookup(key, start_of(node), depth + 1, through_inputs)
        if not found and isinstance(node, ast.Subscript):
            index = ast.literal_eval(node.slice)
            bases = self.origins(node.value, depth + 1, through_inputs)
            found = [item for base in bases for item in item_of(base, index)]
        return found or [Place(node=node, scope=self)]

    def _lookup(
        self, key: str, position: tuple[int, int] | None, depth: int, through_inputs: bool
    ) -> list[Place]:
        bindings = [b for b in self.bindings.get(key, []) if not b.mutates]
        if bindings:
            before = [b for b in bindings if position is None or b.position <= position]
            if not before:
                return []
            binding = max(before, key=lambda b: b.position)
            places = self.origins(binding.value, depth, through_inputs)
            if binding.each:
                places = [row for place in places for row in rows_of(place, depth)]
            for step in binding.steps:
                places = [item for place in places for item in item_of(place, step)]
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
                self._is_produced_name(key_of(part) or "")
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
            if called_name(call) == "equals" or self.module.helper(call, None) is not None:
                continue
            handed = any(
                isinstance(a, ast.Name) and a.id in self.module.solution for a in call.args
            )
            if handed or self.is_produced(call.func):
                for arg in [*call.args, *(k.value for k in call.keywords)]:
                    found |= set(keys_of(arg))
        pending = list(found)
        while pending:
            for binding in self.bindings.get(pending.pop(), []):
                if not binding.each and not binding.steps:
                    new = set(keys_of(binding.value)) - found
                    found |= new
                    pending += new
        return found - self.module.produced


def item_of(place: Place, index: object) -> list[Place]:
    node = place.node
    if isinstance(node, ast.Name | ast.Subscript | ast.Attribute):
        at = place.scope.origins(node)
        return [] if at[0].node is node else [i for p in at for i in item_of(p, index)]
    match node:
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            if isinstance(index, int) and -len(elts) <= index < len(elts):
                return [Place(node=elts[index], scope=place.scope)]
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and key.value == index:
                    return [Place(node=value, scope=place.scope)]
        case _:
            pass
    return []


def rows_of(place: Place, depth: int = 0) -> list[Place]:
    """What a loop over the expression gives, as far as the file tells it."""

    def of(node: ast.expr) -> list[ast.expr]:
        origins = place.scope.origins(node, depth + 1, through_inputs=True)
        return [r.node for o in origins for r in rows_of(o, depth + 1)]

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
                v if attr == "values" else tuple_of(k, v)
                for d in dicts
                if isinstance(d, ast.Dict)
                for k, v in zip(d.keys, d.values, strict=True)
                if k is not None
            ]
        case ast.Call(func=ast.Name(id="range")):
            rows = [ast.Constant(value=0)]
        case ast.Call(func=ast.Name(id="enumerate"), args=[iterable, *_]):
            rows = [tuple_of(ast.Constant(value=0), row) for row in of(iterable)]
        case ast.Call(func=ast.Name(id="zip"), args=args):
            rows = [tuple_of(*row) for row in zip(*map(of, args), strict=False)]
        case ast.Call(func=ast.Name(id="sorted" | "list" | "tuple" | "reversed"), args=[iterable]):
            rows = of(iterable)
        case _:
            rows = []
    return [Place(node=unwrapped(row), scope=place.scope) for row in rows]


def tuple_of(*nodes: ast.expr) -> ast.expr:
    return ast.Tuple(elts=list(nodes))


def unwrapped(row: ast.expr) -> ast.expr:
    if isinstance(row, ast.Call) and called_name(row) == "param" and row.args:
        return row.args[0] if len(row.args) == 1 else tuple_of(*row.args)
    return row
