"""Grades each task's own reference once, so that candidates are measured against what it does.

It also decides how candidates are judged: split, where the reference passes that way; else together with
the tests; and with canaries, where objects of the solution's own decide or both share a process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from evaluator.canaries import Canary, canaries
from evaluator.canaries.sampling import sample
from evaluator.judge import (
    Expectation,
    bare_job,
    expectation,
    is_concurrent,
    job_for,
    with_imports,
)
from sandbox.runner import Job, Limits, Sandbox
from srs.types import ExecResult, Task, UserError

__all__ = ["Dropped", "Expectation", "verify"]
COMMIT_EVERY = 64
CANARIES_TRIED, CANARIES_KEPT = 48, 16
OPERATORS = 2
MANY_CALLS = 8_000
"""A call from process to process takes 50 µs: tests that make more of them run together if they can."""
NOT_TELLING = "its tests can't tell an honest answer: they pass however an expectation is altered"
PRONE = re.compile(
    r"(?m)^@(?!pytest\b)|\b(allclose|isclose|array_equal|all|any|zip|issubset|issuperset|assert_\w+)\("
)
"""Comparisons that an empty value passes, whatever is expected, and decorators that may be the
solution's: such tests get canaries too."""
VERSION = 5
"""Of what is cached: raised when equal inputs would now give something else."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A task that can't be used, and why, in words."""

    task: str
    reason: str


def verify(
    tasks: Sequence[Task],
    sandbox: Sandbox,
    cache_path: Path | None,
    *,
    limits: Limits | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[dict[str, Expectation], list[Dropped]]:
    """What each task's reference does, for those whose reference passes; the other tasks with a reason.

    Equal tests and references run once. ``cache_path`` is a SQLite file that keeps what was found
    between runs, keyed by content, limits and the sandbox's versions; time-outs are not kept, as a busy
    machine causes them too. ``advance`` hears how many more tasks are settled.

    Raises SandboxError when the sandbox is broken, UserError when the cache file can't be used.
    """
    limits = limits or Limits()
    dropped = [
        Dropped(task=t.id, reason="has no reference solution") for t in tasks if t.reference is None
    ]
    advance(len(dropped))
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        if task.reference is not None:
            groups.setdefault(_key(task, limits, sandbox.identity), []).append(task)
    found: dict[str, Expectation | str] = {}
    with _cache(cache_path) as cache:
        missing = {}
        for key, group in groups.items():
            row = cache.execute("SELECT result FROM reference WHERE key = ?", (key,)).fetchone()
            if row is None:
                missing[key] = group[0]
            else:
                found[key] = _decode(row[0])
                advance(len(group))
        for n, (key, value, lasting) in enumerate(_examine(missing, sandbox, limits), 1):
            found[key] = value
            if lasting:
                cache.execute("INSERT INTO reference VALUES (?, ?)", (key, _encode(value)))
            if n % COMMIT_EVERY == 0:
                cache.commit()
            advance(len(groups[key]))
    expectations = {}
    for key, group in groups.items():
        for task in group:
            value = found[key]
            if isinstance(value, str):
                dropped.append(Dropped(task=task.id, reason=value))
            else:
                expectations[task.id] = value
    order = {task.id: i for i, task in enumerate(tasks)}
    return expectations, sorted(dropped, key=lambda d: order[d.task])


def _examine(
    tasks: Mapping[str, Task], sandbox: Sandbox, limits: Limits
) -> Iterator[tuple[str, Expectation | str, bool]]:
    """Key, what was found, and whether it would be found again: split, then together, then canaries."""
    together: dict[str, Expectation | None] = {}
    """With what was expected apart, for those that make many calls there."""
    doubtful: dict[str, Expectation] = {}

    def alone(task: Task) -> Job:
        return bare_job(task, task.reference or "", limits)

    together.update(dict.fromkeys(key for key, task in tasks.items() if is_concurrent(task)))
    apart = {key: task for key, task in tasks.items() if key not in together}
    for key, result in _run(apart, alone, sandbox):
        value = expectation(tasks[key], result)
        if tasks[key].kind != "pytest":
            yield key, value, result.status != "timeout"
        elif isinstance(value, str):
            together[key] = None
        elif result.calls > MANY_CALLS:
            together[key] = value
        elif value.objects >= OPERATORS or PRONE.search(tasks[key].test):
            doubtful[key] = value
        else:
            yield key, value, True

    def beside(task: Task) -> Job:
        return dataclasses.replace(alone(task), together=True)

    beside_each_other = {key: tasks[key] for key in together}
    for key, result in _run(beside_each_other, beside, sandbox):
        value, split = expectation(tasks[key], result), together[key]
        if isinstance(value, str):
            if split is None:
                yield key, value, result.status != "timeout"
            else:
                doubtful[key] = split
        else:
            doubtful[key] = dataclasses.replace(value, together=True, objects=OPERATORS)
    for key, kept in _canaries(tasks, doubtful, sandbox, limits):
        value, split = doubtful[key], together.get(key)
        if kept:
            yield key, dataclasses.replace(value, canaries=kept), True
        elif value.together and split is not None and split.objects < OPERATORS:
            yield key, split, True
        elif not value.together and value.objects < OPERATORS:
            yield key, value, True
        else:
            yield key, NOT_TELLING, True


def _run(
    tasks: Mapping[str, Task], job: Callable[[Task], Job], sandbox: Sandbox
) -> Iterator[tuple[str, ExecResult]]:
    return zip(tasks, sandbox.run(job(task) for task in tasks.values()), strict=True)


def _canaries(
    tasks: Mapping[str, Task],
    expectations: Mapping[str, Expectation],
    sandbox: Sandbox,
    limits: Limits,
) -> Iterator[tuple[str, tuple[Canary, ...]]]:
    """For each task, altered tests that its reference fails, spread over its tests."""
    tried = {
        key: sample(canaries(with_imports(tasks[key].test)), CANARIES_TRIED) for key in expectations
    }

    def jobs() -> Iterator[Job]:
        for key, altered in tried.items():
            task = tasks[key]
            job = job_for(task, task.reference or "", expectations[key], limits)
            for canary in altered:
                yield dataclasses.replace(job, test=canary.source)

    results = sandbox.run(jobs())
    for key, altered in tried.items():
        failing = [
            canary
            for canary, result in zip(altered, itertools.islice(results, len(altered)), strict=True)
            if result.status == "finished"
            and any(
                r.outcome == "failed" and r.id.split("[")[0] == canary.test for r in result.reports
            )
        ]
        yield key, tuple(failing[:CANARIES_KEPT])


def _key(task: Task, limits: Limits, identity: str) -> str:
    parts = [VERSION, task.kind, task.test, task.reference, dataclasses.asdict(limits), identity]
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def _encode(value: Expectation | str) -> str:
    if isinstance(value, str):
        return json.dumps({"reason": value})
    return json.dumps(dataclasses.asdict(value))


def _decode(text: str) -> Expectation | str:
    value = json.loads(text)
    if "reason" in value:
        reason: str = value["reason"]
        return reason
    return Expectation(
        ids=tuple(value["ids"]),
        skipped=tuple(value["skipped"]),
        together=value["together"],
        objects=value["objects"],
        bound=tuple(map(tuple, value["bound"])),
        writes=value["writes"],
        canaries=tuple(Canary(**canary) for canary in value["canaries"]),
    )


@contextlib.contextmanager
def _cache(path: Path | None) -> Iterator[sqlite3.Connection]:
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path or ":memory:", timeout=60)
    except (OSError, sqlite3.Error) as e:
        raise UserError(f"{path}: cannot open the cache of references: {e}") from e
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS reference (key TEXT PRIMARY KEY ON CONFLICT REPLACE, result TEXT)"
        )
        yield connection
    except sqlite3.DatabaseError as e:
        raise UserError(f"{path}: the cache of references is unusable ({e}); delete it") from e
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.commit()
        connection.close()
