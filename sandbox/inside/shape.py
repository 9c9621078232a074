"""What a test file needs and what it may leave behind, read from its source."""

from __future__ import annotations

import ast

PLAIN_PYTEST = {"raises", "approx"}
STATELESS = {
    "__future__", "bisect", "collections", "dataclasses", "datetime", "enum", "fractions", "functools",
    "heapq", "itertools", "json", "math", "operator", "pytest", "re", "solution", "statistics", "string",
    "typing",
}  # fmt: skip
IMPURE = {
    "__builtins__", "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "exit", "globals",
    "input", "open", "quit", "setattr", "vars",
}  # fmt: skip
CLEAN_PYTEST = PLAIN_PYTEST | {"fail", "fixture", "mark", "param", "skip", "xfail"}
CLEAN_MARKS = {"parametrize", "skip", "skipif", "xfail"}
STATEFUL_FIXTURES = {
    "cache", "capfd", "capfdbinary", "caplog", "capsys", "capsysbinary", "capteesys", "doctest_namespace",
    "monkeypatch", "pytestconfig", "pytester", "record_property", "record_testsuite_property",
    "record_xml_attribute", "recwarn", "request", "subtests", "testdir", "tmp_path", "tmp_path_factory",
    "tmpdir", "tmpdir_factory",
}  # fmt: skip
"""Fixtures of pytest's own that reach beyond the test, or may."""
SPECIAL = ("test", "pytest", "setup", "teardown")
"""How names begin that pytest gives a meaning, at the top of a file, in any case."""


def own_test_names(tree: ast.Module) -> frozenset[str]:
    """Top-level names that the test file itself defines.

    Tests that an import brings into the file are not tests of the file.
    """
    names: set[str] = set()
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        else:
            for field in ("body", "orelse", "finalbody"):
                pending += getattr(node, field, [])
            for handler in getattr(node, "handlers", []):
                pending += handler.body
    return frozenset(names)


def is_plain(tree: ast.Module) -> bool:
    """Whether calling the file's ``test*`` functions in order is all that pytest would do."""
    return all(map(_is_plain_statement, tree.body)) and _needs_no_pytest(tree)


def _is_plain_statement(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.FunctionDef(name=name) if name.startswith("test"):
            return _is_plain_test(node)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return not name.lower().startswith(SPECIAL)
        case ast.ClassDef(name=name, bases=bases, keywords=keywords):
            return not (bases or keywords or name.lower().startswith(SPECIAL))
        case ast.Assign() | ast.AnnAssign():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            return not any(name.lower().startswith((*SPECIAL, "__")) for name in names)
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()])):
            return not node.orelse  # a file's own main, which never runs
    return False


def _is_plain_test(node: ast.FunctionDef) -> bool:
    a = node.args
    parameters = a.posonlyargs or a.args or a.vararg or a.kwonlyargs or a.kwarg
    gives = any(
        isinstance(n, ast.Yield | ast.YieldFrom) or (isinstance(n, ast.Return) and n.value)
        for n in ast.walk(node)
    )
    return not (parameters or node.decorator_list or gives)


def _needs_no_pytest(tree: ast.Module) -> bool:
    """Only ``pytest.raises`` and ``pytest.approx``, by those names; nothing of unittest."""
    plainly: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="pytest") as name, attr=attribute):
                if attribute not in PLAIN_PYTEST:
                    return False
                plainly.add(id(name))
            case ast.ImportFrom(module=str(module)):
                names = {alias.name for alias in node.names}
                root = module.partition(".")[0]
                if root in ("_pytest", "unittest") or (
                    root == "pytest" and not names <= PLAIN_PYTEST
                ):
                    return False
            case ast.Import():
                for alias in node.names:
                    root = alias.name.partition(".")[0]
                    if root in ("_pytest", "unittest") or (root == "pytest" and alias.asname):
                        return False
    named = {id(n) for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "pytest"}
    return named <= plainly


def is_pure(tree: ast.Module) -> bool:
    """Whether the file imports only modules without state that matters, and changes none of theirs."""
    if not imported(tree) <= STATELESS:
        return False
    foreign = _bound_by_imports(tree)
    for node in ast.walk(tree):
        match node:
            case (
                ast.Attribute(ctx=ast.Store() | ast.Del())
                | ast.Subscript(ctx=ast.Store() | ast.Del())
            ):
                if _root(node) in foreign:
                    return False
            case ast.Attribute(attr="register"):  # of an abstract class
                return False
            case ast.Name(id=name) if name in IMPURE:
                return False
    return True


def keeps_pytest_clean(tree: ast.Module) -> bool:
    """Whether a pytest session that ran the file is as it was: no plugin, no fixture with state outside."""
    plainly: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name) if name in STATEFUL_FIXTURES:
                return False
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="pytest"), attr="mark")):
                if node.attr not in CLEAN_MARKS:
                    return False
            case ast.Attribute(value=ast.Name(id="pytest") as name, attr=attribute):
                if attribute not in CLEAN_PYTEST:
                    return False
                plainly.add(id(name))
            case ast.ImportFrom(module="pytest", names=names):
                if not {alias.name for alias in names} <= CLEAN_PYTEST - {"mark"}:
                    return False
            case ast.ImportFrom(module=str(module)) if module.startswith("pytest."):
                return False
            case ast.Import(names=names):
                if any(
                    a.name.startswith("pytest") and (a.name, a.asname) != ("pytest", None)
                    for a in names
                ):
                    return False
            case ast.Name(id=name, ctx=ast.Store()) if name.startswith("pytest"):
                return False  # pytestmark, pytest_plugins
            case ast.FunctionDef(name=name) if name.startswith("pytest"):
                return False
    named = {id(n) for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "pytest"}
    return named <= plainly


def _bound_by_imports(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes and subscripts starts from, if it does."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of the modules that the file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names
