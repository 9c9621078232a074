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

from sandbox.inside import asserting, shape, words
from sandbox.inside.link import Link
from sandbox.inside.solution import Solution

FILES_KEPT = 256
RECORDS_FD, LINK_FD = 3, 4
STOPPED = "the solution's process ended"
Record = Callable[[dict[str, Any]], None]


class TestFile:
    """``code`` is None when it doesn't compile, ``own`` when it doesn't parse: pytest then words the error.

    ``plain``: nothing in it needs pytest's runner: functions without parameters, fixtures or marks.
    ``pure``: running it, plainly or by pytest, changes nothing outside its own module.
    ``imports_pytest``: when plain, for ``raises`` or ``approx``.
    """

    __test__ = False

    def __init__(self, source: str) -> None:
        self.source = source
        self.code: types.CodeType | None = None
        self.own: frozenset[str] | None = None
        self.plain = self.pure = self.imports_pytest = False
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.parse(source.encode("utf-8", "surrogatepass"))
            self.own = shape.own_test_names(tree)
            self.plain = shape.is_plain(tree)
            self.pure = shape.is_pure(tree) and (self.plain or shape.keeps_pytest_clean(tree))
            self.imports_pytest = "pytest" in shape.imported(tree)

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

    link = Link(
        LINK_FD, allowed=job["allowed"], bound=job["bound"], writes=job["writes"], gone=gone
    )
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
        record(
            {
                "used": link.level,
                "shared": link.shared,
                "calls": link.calls,
                "wrote": link.wrote,
                "refused": bool(link.refused) and not link.provoked,
            }
        )
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
