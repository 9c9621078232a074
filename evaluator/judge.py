"""What counts as a pass: pure functions from what the sandbox saw to a verdict.

A pass needs a report from every test id that the reference gave, all passed, and no skip that the
reference doesn't have; exit codes and output play no part (docs: decision 1).
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import importlib
import json
import re
import symtable

from evaluator.canaries import Canary, canaries
from evaluator.canaries.sampling import sample
from sandbox.runner import AlteredTest, Job, Limits
from srs.types import ExecResult, Outcome, Task, TestReport, Verdict

UNPROVED_CANARIES = 16
ONE_PROCESS = re.compile(
    r"\b(monkeypatch|mock|patch|caplog|capfd|inspect|importlib|reload|warns|recwarn|sys\.modules|pickle|signal)\b"
    r"|\bassert [^\n]* is (?!None|True|False|not None)"
)
"""What tests use that only works where the solution is in their own process."""
CONCURRENT = re.compile(r"\b(threading|concurrent|multiprocessing)\b")
STAR_MODULES = frozenset(
    ["bisect", "cmath", "collections", "datetime", "decimal", "fractions", "functools", "heapq", "itertools",
     "math", "operator", "random", "re", "statistics", "string", "typing"]
)  # fmt: skip
"""Where a test file imports everything from one of these, its names aren't the solution's."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The test ids that the task's reference gave, in order, and those of them that it skipped.

    ``together``: its tests need the solution in their own process. ``objects``, ``bound``: how far they
    relied on the reference's objects, and which names they share with it (`sandbox.runner.Job`).
    ``writes``: a solution may change its arguments: the reference does, or nothing tells whether it does,
    or the tests ask whether two objects are one, which no copy can be.
    ``canaries``: altered tests that the reference fails, for what the split alone can't tell.
    """

    ids: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    together: bool = False
    objects: int = 0
    bound: tuple[tuple[str, str, str], ...] = ()
    writes: bool = True
    canaries: tuple[Canary, ...] = ()

    @property
    def path(self) -> str:
        return ("together" if self.together else "split") + ("+canaries" if self.canaries else "")


def is_concurrent(task: Task) -> bool:
    """Whether its tests call the solution from several threads: the link takes one call at a time."""
    return task.kind == "pytest" and CONCURRENT.search(task.test) is not None


def bare_job(task: Task, code: str, limits: Limits) -> Job:
    """``code`` against the task's tests, apart, whatever objects they use and without canaries."""
    if task.kind == "stdio":
        return Job(solution=code, stdin=tuple(json.loads(task.test)["stdin"]), limits=limits)
    return Job(solution=code, test=with_imports(task.test), limits=limits)


def job_for(task: Task, code: str, expected: Expectation | None, limits: Limits) -> Job:
    """The sandbox job that runs ``code`` against the task's tests.

    Without an expectation nothing tells how the tests are to be run: split, and together if that is
    refused, or if they don't pass that way and use what needs one process, with canaries that no
    reference has proved.
    """
    job = bare_job(task, code, limits)
    if task.kind == "stdio":
        return job
    if expected is None:
        altered = tuple(
            AlteredTest(source=c.source, test=c.test) for c in unproved_canaries(task.test)
        )
        return dataclasses.replace(
            job,
            together=bool(altered) and is_concurrent(task),
            either="failed" if ONE_PROCESS.search(task.test) else "refused",
            canaries=altered,
        )
    return dataclasses.replace(
        job,
        together=expected.together,
        objects=expected.objects,
        bound=expected.bound,
        writes=expected.writes,
        canaries=tuple(AlteredTest(source=c.source, test=c.test) for c in expected.canaries),
    )


@functools.lru_cache(maxsize=256)
def unproved_canaries(test: str) -> tuple[Canary, ...]:
    """Those that a candidate is tried with where no reference has tried them."""
    return sample(canaries(with_imports(test)), UNPROVED_CANARIES)


@functools.lru_cache(maxsize=1024)
def with_imports(test: str) -> str:
    """The test file with the names it uses but nobody defines imported from ``solution``.

    KodCode's pipeline prepends ``from solution import *``, and some files hold it. An explicit list in its
    place serves the same rows, and a solution's own ``len`` or ``test_*`` doesn't reach the tests. The import stands after a docstring
    and ``__future__`` imports. A file that doesn't parse is returned unchanged.
    """
    try:
        tree = ast.parse(test)
        names = _free_names(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return test
    test = _without_stars(test, tree)
    if not names:
        return test
    line = 0
    for i, node in enumerate(tree.body):
        docstring = i == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        line = node.end_lineno or line
    lines = test.split("\n")
    lines.insert(line, f"from solution import {', '.join(names)}")
    return "\n".join(lines)


def _without_stars(test: str, tree: ast.Module) -> str:
    """``pass`` in the place of each ``from solution import *``, wherever it stands."""
    stars = [n for n in ast.walk(tree) if _star_of(n) == "solution"]
    lines = test.split("\n")
    for node in stars:
        assert isinstance(node, ast.ImportFrom)
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before = lines[first].encode()[: node.col_offset].decode()
        after = lines[last].encode()[node.end_col_offset :].decode()
        lines[first] = f"{before}pass{after}"
        for number in range(first + 1, last + 1):
            lines[number] = ""  # as many lines as before, so that messages name the right ones
    return "\n".join(lines)


def _star_of(node: ast.AST) -> str:
    """The module that everything is imported from there, or an empty string."""
    if isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] == ["*"]:
        return node.module or ""
    return ""


def _free_names(test: str) -> list[str]:
    top = symtable.symtable(test, "test_solution.py", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    used = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    pending = list(top.get_children())
    while pending:
        scope = pending.pop()
        pending += scope.get_children()
        for s in scope.get_symbols():
            if s.is_global():
                (bound if s.is_assigned() else used).add(s.get_name())
    known = bound | set(dir(builtins)) | {"__file__"}
    for module in filter(None, map(_star_of, ast.walk(ast.parse(test)))):
        if module in STAR_MODULES:
            known |= set(dir(importlib.import_module(module)))
    return sorted(used - known)


@functools.lru_cache(maxsize=1024)
def compares_identity(test: str) -> bool:
    """Whether a test file asks ``a is b`` of what isn't None, True, False or ``...``."""
    try:
        nodes = list(ast.walk(ast.parse(test)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("assertIs", "assertIsNot"))
        or (
            isinstance(node, ast.Compare)
            and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
            and not any(isinstance(side, ast.Constant) for side in (node.left, *node.comparators))
        )
        for node in nodes
    )


def declared_tests(test: str) -> tuple[str, ...]:
    """The tests that a reader finds in a test file, ``test_f`` or ``TestC::test_m``, without parameters."""
    found = []
    for node in ast.parse(test).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test"):
                found.append(node.name)
        elif isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or node.bases):
            found += [
                f"{node.name}::{m.name}"
                for m in node.body
                if isinstance(m, ast.FunctionDef) and m.name.startswith("test")
            ]
    return tuple(found)


def expectation(task: Task, result: ExecResult) -> Expectation | str:
    """What the reference's run makes us expect, or why it can't serve, in words."""
    result = compared(task, result)
    if result.status != "finished":
        return f"{result.status}: {result.detail or 'no details'}"
    bad = next((r for r in result.reports if r.outcome in ("failed", "error")), None)
    if bad is not None:
        return f"{bad.id} {bad.outcome}: {bad.message}"
    if tuple(r.id for r in result.reports) != result.collected:
        return "not every collected test gave a report"
    skipped = tuple(r.id for r in result.reports if r.outcome == "skipped")
    if len(skipped) == len(result.collected):
        return "no test ran"
    return Expectation(
        ids=result.collected,
        skipped=skipped,
        objects=result.used,
        bound=result.shared,
        writes=result.wrote or result.together or compares_identity(task.test),
    )


def judge(
    task: Task, expected: Expectation | None, result: ExecResult, *, round: int, index: int
) -> Verdict:
    """The verdict on one candidate. Without an expectation, every test in the file must pass unskipped."""
    result = compared(task, result)
    n_collected = len(expected.ids) if expected else len(result.collected)
    reports = {r.id: r for r in result.reports}
    ids = expected.ids if expected else result.collected
    skippable = set(expected.skipped) if expected else set()
    n_passed = sum(
        i in reports and (reports[i].outcome == "passed" or _allowed(reports[i], skippable))
        for i in ids
    )
    outcome, detail = _outcome(task, expected, result, n_passed)
    return Verdict(
        task=task.id,
        round=round,
        index=index,
        outcome=outcome,
        n_passed=n_passed,
        n_collected=n_collected,
        wall_s=result.wall_s,
        detail=detail,
        path=_path(task, expected, result),
    )


def no_code(task: Task, expected: Expectation | None, *, round: int, index: int) -> Verdict:
    """The verdict on an answer in which no program was found."""
    verdict = unusable(task, "no Python code that parses", round=round, index=index)
    n_collected = len(expected.ids) if expected else 0
    return dataclasses.replace(verdict, outcome="no_code", n_collected=n_collected)


def unusable(task: Task, why: str, *, round: int, index: int) -> Verdict:
    """The verdict on every answer to a task whose tests say nothing about it."""
    return Verdict(
        task=task.id,
        round=round,
        index=index,
        outcome="error",
        n_passed=0,
        n_collected=0,
        wall_s=0.0,
        detail=why,
    )


def compared(task: Task, result: ExecResult) -> ExecResult:
    """For stdin/stdout tasks: the result with each case's report decided by its output.

    Lines are compared by their words and blank lines at the end don't count, as testlib's ``lcmp``.
    """
    if task.kind != "stdio":
        return result
    wanted = json.loads(task.test)["stdout"]
    reports = tuple(
        dataclasses.replace(report, outcome="failed", message=difference)
        if report.outcome == "passed" and (difference := _difference(text, want))
        else report
        for report, text, want in zip(result.reports, result.outputs, wanted, strict=False)
    )
    return dataclasses.replace(result, reports=reports)


def _difference(got: str, want: str) -> str:
    got_lines, want_lines = ([s.split() for s in t.rstrip().split("\n")] for t in (got, want))
    for number, (a, b) in enumerate(zip(got_lines, want_lines, strict=False), 1):
        if a != b:
            return f"line {number}: printed {' '.join(a)[:200]!r}, expected {' '.join(b)[:200]!r}"
    if len(got_lines) != len(want_lines):
        return f"printed {len(got_lines)} lines, expected {len(want_lines)}"
    return ""


def _path(task: Task, expected: Expectation | None, result: ExecResult) -> str:
    if task.kind == "stdio":
        return "stdio"
    if expected:
        return expected.path
    way = "together" if result.together else "split"
    return f"{way}+canaries" if unproved_canaries(task.test) else way


def _allowed(report: TestReport, skippable: set[str]) -> bool:
    return report.outcome == "skipped" and report.id in skippable


def _outcome(
    task: Task, expected: Expectation | None, result: ExecResult, n_passed: int
) -> tuple[Outcome, str]:
    failed = next((r for r in result.reports if r.outcome in ("failed", "error")), None)
    words = f"{failed.id}: {failed.message}" if failed else result.detail
    match result.status:
        case "timeout":
            return "timeout", words or "the time limit passed"
        case "memory":
            return "memory", words or "the memory limit was hit"
        case "output_limit":
            return "output_limit", "printed more than the limit allows"
        case "error":
            return "error", result.detail
        case "died":
            detail = f"ended before its last test: {result.detail}"
            return ("failed" if result.collected else "error"), detail
    if failed:
        return "failed", words
    want = expected.ids if expected else _in_file(task, result)
    missing = [i for i in want if i not in result.collected]
    if missing:
        return "error", f"{missing[0]} was not collected"
    reported = tuple(r.id for r in result.reports)
    if expected and result.collected != expected.ids:
        return "error", "the tests collected are not the reference's"
    if reported != result.collected or not reported:
        return "failed", "not every collected test gave a report"
    if n_passed < len(reported):
        skipped = next(r for r in result.reports if r.outcome == "skipped" and r.id in want)
        return "failed", f"{skipped.id} was skipped: {skipped.message}"
    if result.passed_by_writing:
        return (
            "tampered",
            "it only passes by changing its arguments, which the reference leaves alone",
        )
    if result.passed_canary is not None:
        tried = expected.canaries if expected else unproved_canaries(task.test)
        canary = tried[result.passed_canary]
        return (
            "tampered",
            f"it also passes {canary.test} altered so that it can't ({canary.change})",
        )
    return "passed", ""


def _in_file(task: Task, result: ExecResult) -> tuple[str, ...]:
    """The collected ids, after those that stand in the test file but were not collected."""
    if task.kind == "stdio":
        return result.collected
    collected = {i.split("[")[0] for i in result.collected}
    return tuple(t for t in declared_tests(task.test) if t not in collected) + result.collected
