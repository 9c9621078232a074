"""A test file, read and compiled once for all candidates of its task, and how a fork runs it."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from sandbox.inside import asserting, words
from sandbox.inside.link import Link
from sandbox.inside.solution import Solution

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
SPECIAL = ("test", "pytest", "setup", "teardown")
"""How names begin that pytest gives a meaning, at the top of a file, in any case."""
FILES_KEPT = 256
RECORDS_FD, LINK_FD = 3, 4
STOPPED = "the solution's process ended"
Record = Callable[[dict[str, Any]], None]


class TestFile:
    """``code`` is None when it doesn't compile, ``own`` when it doesn't parse: pytest then words the error.

    ``plain``: nothing in it needs pytest's runner: functions without parameters, fixtures or marks.
    ``pure``: plain, and running it changes nothing outside its own module. ``imports_pytest``: for
    ``raises`` or ``approx``.
    """

    __test__ = False

    def __init__(self, source: str) -> None:
        self.source = source
        self.code: types.CodeType | None = None
        self.own: frozenset[str] | None = None
        self.plain = self.pure = self.imports_pytest = False
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.parse(source.encode("utf-8", "surrogatepass"))
            self.own = own_test_names(tree)
            self.plain = is_plain(tree)
            self.pure = self.plain and is_pure(tree)
            self.imports_pytest = "pytest" in imported(tree)

    def compile_plain(self, path: str) -> None:
        """For a plain file that is to run without pytest."""
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            tree = asserting.Explaining().visit(ast.parse(self.source, filename=path))
            self.code = compile(tree, path, "exec", dont_inherit=True)

    def compile_for_pytest(self, path: str) -> None:
        from _pytest.assertion import rewrite

        data = self.source.encode("utf-8", "surrogatepass")
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.parse(data, filename=path)
            rewrite.rewrite_asserts(tree, data, path)
            self.code = compile(tree, path, "exec", dont_inherit=True)

    def wants(self, test: str) -> bool:
        """Whether the test of that id, such as ``TestC::test_m[2]``, is one of the file's own."""
        return self.own is None or test.split("::")[0].split("[")[0] in self.own


def run_apart(job: dict[str, Any], run: Callable[[Record], None]) -> None:
    """In the tests' fork: make the candidate load its code, then run the tests against the stub of it."""

    def gone(why: str) -> Any:
        record(
            {"stopped": words.short(f"the solution stopped answering: {why}" if why else STOPPED)}
        )
        record({"done": True})
        os._exit(0)

    link = Link(LINK_FD, allowed=job["allowed"], bound=job["bound"], gone=gone)
    sys.modules["solution"] = Solution(link)
    try:
        link.do("load", job["solution"])
    except BaseException as e:  # whatever the solution raises while it is imported
        record({"error": words.exception(e)})
    else:
        _guarded(run)
        sys.stdout.flush()
        if link.refused:
            record({"stopped": words.short(link.refused)})
        record({"used": link.level, "shared": link.shared})
    link.over = True
    record({"done": True})


def run_together(run: Callable[[Record], None]) -> None:
    """In a fork where the tests import the solution itself."""
    _guarded(run)
    record({"done": True})


def _guarded(run: Callable[[Record], None]) -> None:
    try:
        run(record)
    except BaseException as e:  # what stops pytest: SystemExit, KeyboardInterrupt, pytest.exit
        record({"stopped": words.short(f"{type(e).__name__}: {e}")})


def record(line: dict[str, Any]) -> None:
    os.write(RECORDS_FD, json.dumps(line).encode("ascii") + b"\n")


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
    modules = imported(tree)
    if not modules <= STATELESS:
        return False
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                if name in modules:
                    return False
            case ast.Name(id=name) if name in IMPURE:
                return False
    return True


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of the modules that the file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names
