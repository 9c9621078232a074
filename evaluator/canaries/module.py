"""The tests of a file, and their canaries."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence

from evaluator.canaries.expectations import TestExpectations
from evaluator.canaries.files import Canary, Function, Source, called_name, end_of
from evaluator.canaries.origins import Binding, Place, Scope, tuple_of

PER_EXPECTATION = 4


class TestModule:
    """A test file: its tests, its helpers, and which of its names come from the solution."""

    def __init__(self, text: str) -> None:
        self.source = Source(text)
        body = self.source.tree.body
        self.functions = {n.name: n for n in body if isinstance(n, Function)}
        self.solution = solution_names(self.source.tree)
        self.produced = self._produced_names()
        self.asserting = {
            id(n)
            for n in ast.walk(self.source.tree)
            if isinstance(n, Function) and any(asserts(child) for child in ast.walk(n))
        }
        top = [n for n in body if not isinstance(n, Function | ast.ClassDef)]
        self.scope = Scope(self, top)

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

    def _tests(self) -> Iterator[tuple[str, TestExpectations]]:
        for node in self.source.tree.body:
            if isinstance(node, Function) and node.name.startswith("test"):
                yield node.name, TestExpectations(self, node, self._scope(node, self.scope, []), {})
            elif isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or node.bases):
                methods = {m.name: m for m in node.body if isinstance(m, Function)}
                scope = self._class_scope(node, methods)
                for name, method in methods.items():
                    if name.startswith("test"):
                        test = self._scope(method, scope, node.decorator_list)
                        yield f"{node.name}::{name}", TestExpectations(self, method, test, methods)

    def _class_scope(self, node: ast.ClassDef, methods: dict[str, Function]) -> Scope:
        set_up = [m for name, m in methods.items() if name.lower().startswith("setup")]
        scope = Scope(self, set_up, self.scope)
        for statement in node.body:
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    binding = Binding(value=statement.value, position=end_of(statement))
                    for prefix in ("self", "cls", node.name):
                        owner = ast.Name(id=prefix)
                        if isinstance(target, ast.Name):
                            scope.bind(ast.Attribute(value=owner, attr=target.id), binding)
        return scope

    def _scope(self, function: Function, parent: Scope, decorators: Sequence[ast.expr]) -> Scope:
        """A test's scope, with its fixtures and parametrized arguments bound."""
        params: dict[str, list[Place]] = {}
        for arg in function.args.args:
            fixture = self.functions.get(arg.arg)
            if fixture is not None and any(
                "fixture" in ast.unparse(d) for d in fixture.decorator_list
            ):
                inside = Scope(self, fixture.body, self.scope)
                params[arg.arg] = [
                    Place(node=n.value, scope=inside)
                    for n in ast.walk(fixture)
                    if isinstance(n, ast.Return | ast.Yield) and n.value is not None
                ]
        scope = Scope(self, function.body, parent, params)
        for call in [*decorators, *function.decorator_list]:
            if isinstance(call, ast.Call) and called_name(call) == "parametrize":
                args = {**dict(zip(("argnames", "argvalues"), call.args, strict=False)),
                        **{k.arg: k.value for k in call.keywords if k.arg}}  # fmt: skip
                if "argnames" in args and "argvalues" in args:
                    target = argnames(args["argnames"])
                    scope.bind(target, Binding(value=args["argvalues"], position=(0, 0), each=True))
        return scope


def argnames(node: ast.expr) -> ast.expr:
    match node:
        case ast.Constant(value=str() as names):
            split = [n.strip() for n in names.split(",") if n.strip()]
            if len(split) == 1:
                return ast.Name(id=split[0])
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            split = [str(e.value) for e in elts if isinstance(e, ast.Constant)]
        case _:
            split = []
    return tuple_of(*(ast.Name(id=name) for name in split))


def solution_names(tree: ast.Module) -> set[str]:
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


def asserts(node: ast.AST) -> bool:
    name = called_name(node)
    return isinstance(node, ast.Assert) or name.startswith("assert") or name == "raises"
