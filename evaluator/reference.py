"""Grades each task's own reference once, so that candidates are measured against what it does."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evaluator.judge import Expectation, expectation, job_for
from sandbox.runner import Job, Limits, Sandbox
from srs.types import Task, UserError

__all__ = ["Dropped", "Expectation", "verify"]
COMMIT_EVERY = 64


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
        missing = []
        for key, group in groups.items():
            row = cache.execute("SELECT result FROM reference WHERE key = ?", (key,)).fetchone()
            if row is None:
                missing.append(key)
            else:
                found[key] = _decode(row[0])
                advance(len(group))

        def jobs() -> Iterator[Job]:
            for key in missing:
                task = groups[key][0]
                yield job_for(task, task.reference or "", limits)

        for n, (key, result) in enumerate(zip(missing, sandbox.run(jobs()), strict=True), 1):
            found[key] = expectation(groups[key][0], result)
            if result.status != "timeout":
                cache.execute("INSERT INTO reference VALUES (?, ?)", (key, _encode(found[key])))
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


def _key(task: Task, limits: Limits, identity: str) -> str:
    parts = [task.kind, task.test, task.reference, dataclasses.asdict(limits), identity]
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
    return Expectation(ids=tuple(value["ids"]), skipped=tuple(value["skipped"]))


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
