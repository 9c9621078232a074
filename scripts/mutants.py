"""Programs one small change away from a given one, as mutation testing makes them."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import random
import warnings
from collections.abc import Iterator
from typing import Any

N_MAX = 20
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
BOOLEAN: dict[type[ast.boolop], type[ast.boolop]] = {ast.And: ast.Or, ast.Or: ast.And}
ANNOTATIONS = {"annotation", "returns", "type_params"}
SHOWN = 60


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """``change`` says in words what is different, such as ``line 3: a < b became a <= b``."""

    change: str
    source: str


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """Where a node hangs: ``parent.field``, or its entry ``index`` where that is a list."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(source: str, n: int, seed: str) -> list[Mutant]:
    """At most ``n`` ≤ N_MAX programs, all different from each other and from ``source``; all compile.

    Equal arguments give equal programs. Raises SyntaxError and ValueError where ``source`` doesn't parse.
    """
    tree = ast.parse(source)
    changes = [(site, new) for site in _sites(tree) for new in _replacements(site.node)]
    random.Random(seed).shuffle(changes)
    seen = {ast.unparse(tree)}
    made: list[Mutant] = []
    for site, new in changes:
        if len(made) == min(n, N_MAX):
            break
        site.put(new)
        text = ast.unparse(tree)
        site.put(site.node)
        if text not in seen and _compiles(text):
            made.append(Mutant(change=_in_words(site.node, new), source=text))
        seen.add(text)
    return made


def stub(source: str) -> str:
    """The program with every function and method doing nothing but return None.

    Raises SyntaxError and ValueError where ``source`` doesn't parse.
    """
    return ast.unparse(_Emptied().visit(ast.parse(source)))


class _Emptied(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [ast.Return(ast.Constant(None))]
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.body = [ast.Return(ast.Constant(None))]
        return node


def _sites(tree: ast.AST) -> Iterator[Site]:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if field in ANNOTATIONS:
                continue
            if isinstance(value, ast.AST):
                yield Site(parent, field, None, value)
            elif isinstance(value, list):
                for index, node in enumerate(value):
                    if isinstance(node, ast.AST):
                        yield Site(parent, field, index, node)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What can stand in the node's place: one change each. Parts of the node are shared."""
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            yield _with(node, op=ARITHMETIC[type(op)]())
        case ast.BoolOp(op=boolean):
            yield _with(node, op=BOOLEAN[type(boolean)]())
        case ast.Compare(ops=ops):
            for i, old in enumerate(ops):
                yield _with(node, ops=[*ops[:i], COMPARISONS[type(old)](), *ops[i + 1 :]])
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield _with(node, test=_negated(test))
        case ast.comprehension(ifs=ifs):
            for i, test in enumerate(ifs):
                yield _with(node, ifs=[*ifs[:i], _negated(test), *ifs[i + 1 :]])
        case ast.Return(value=ast.expr()):
            yield _with(node, value=ast.Constant(None))
        case ast.Slice(lower=lower, upper=upper):
            for field, bound in (("lower", lower), ("upper", upper)):
                for moved in _moved(bound):
                    yield _with(node, **{field: moved})
        case ast.Call(args=[first, second, *others]) if not _starred(first, second):
            yield _with(node, args=[second, first, *others])
    match node:
        case ast.Call(func=ast.Name(id="range"), args=args):
            for i, bound in enumerate(args):
                for moved in _moved(bound):
                    yield _with(node, args=[*args[:i], moved, *args[i + 1 :]])
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Pass():
            return
        case ast.Expr(value=ast.Constant()):
            return
        case ast.stmt():
            yield ast.Pass()


def _with(node: Any, **fields: Any) -> ast.AST:
    made: ast.AST = type(node)(**{**dict(ast.iter_fields(node)), **fields})
    return ast.copy_location(made, node)


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _starred(*arguments: ast.expr) -> bool:
    return any(isinstance(a, ast.Starred) for a in arguments)


def _moved(bound: ast.expr | None) -> Iterator[ast.expr]:
    """The bound and one more, the bound and one less; a plain number is moved as a constant already."""
    if bound is not None and not isinstance(bound, ast.Constant | ast.Starred):
        yield ast.BinOp(bound, ast.Add(), ast.Constant(1))
        yield ast.BinOp(bound, ast.Sub(), ast.Constant(1))


def _compiles(source: str) -> bool:
    with warnings.catch_warnings(), contextlib.suppress(SyntaxError, ValueError):
        warnings.simplefilter("ignore")
        compile(source, "solution.py", "exec", dont_inherit=True)
        return True
    return False


def _in_words(old: ast.AST, new: ast.AST) -> str:
    line = next(n.lineno for n in ast.walk(old) if hasattr(n, "lineno"))
    before, after = map(_shown, (old, new))
    return f"line {line}: {before} became {after}"


def _shown(node: ast.AST) -> str:
    line = ast.unparse(node).strip().splitlines()[0]
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
