"""Benchmark files in their authors' schemas, as tasks: each row becomes a row in KodCode's schema first.

Read are: HumanEval and what shares its schema (EvalPlus' files with the published ``test`` text),
EvalPlus' HumanEval+ and MBPP+ with ``base_input`` and ``plus_input``, MBPP (full and sanitized), MBPP+ as on
the hub, and KodCode rows, stdin/stdout tasks among them. Nothing of a file is run here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from evaluator.benchmark_rows import Opening, Schema, kodcode_row, schema_of, unknown
from srs.types import Task, UserError

SHOWN = 20
NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark's tasks in the file's order. ``openings``: by task, where there are any."""

    name: str
    path: Path
    schema: Schema
    sha256: str
    tasks: tuple[Task, ...]
    openings: Mapping[str, Opening]

    def opening(self, task: str) -> Opening:
        return self.openings.get(task, Opening())


def parse_name(text: str) -> tuple[str, Path]:
    """``NAME=FILE`` apart. Raises UserError for anything else."""
    name, equals, file = text.partition("=")
    if not (equals and file and NAME.fullmatch(name)):
        raise UserError(f"--benchmark {text}: write it as NAME=FILE, NAME of letters and digits")
    return name, Path(file)


def read_benchmark(
    name: str,
    path: Path,
    placed: Iterable[tuple[str, object]],
    to_task: Callable[[object], Task],
    *,
    limit: int = 0,
    challenge_tests: bool = False,
) -> Benchmark:
    """The first ``limit`` tasks (0 = all) of a file.

    ``placed``: each row of ``path`` with its place (`srs.rows.read_file`); a row that is a ValueError is
    a bad one. ``to_task`` reads a KodCode row, and raises ValueError (`srs.kodcode.to_task`).
    ``challenge_tests``: MBPP's ``challenge_test_list`` is graded too.

    Raises UserError for an unknown schema, naming the keys seen, and for bad rows and ids that stand
    twice, each with its line.
    """
    tasks: dict[str, Task] = {}
    openings: dict[str, Opening] = {}
    bad: list[str] = []
    schema: Schema | None = None
    for place, row in placed:
        try:
            if isinstance(row, ValueError):
                raise row
            if not isinstance(row, Mapping):
                raise ValueError(f"expected an object, got {type(row).__name__}")
            found = schema_of(row)
            if found is None:
                raise UserError(f"{path}{place}: {unknown(row)}")
            if schema is not None and found != schema:
                raise ValueError(f"a row of {found} in a file of {schema}")
            schema = found
            converted, opening = kodcode_row(found, row, challenge_tests)
            task = to_task(converted)
            if task.id in tasks:
                raise ValueError(f"{task.id} stands in the file twice")
        except ValueError as e:
            bad.append(f"{path}{place}: {e}")
            continue
        tasks[task.id] = task
        if opening != Opening():
            openings[task.id] = opening
        if limit and len(tasks) == limit:
            break
    if bad:
        more = [f"… and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
        raise UserError("\n".join([*bad[:SHOWN], *more]))
    if schema is None:
        raise UserError(f"{path}: holds no rows")
    return Benchmark(
        name=name,
        path=path,
        schema=schema,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        tasks=tuple(tasks.values()),
        openings=openings,
    )
