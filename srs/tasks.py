"""The tasks of a run: read, grouped, split into training and held-out, filtered.

The split is by group (see `srs.splits`), never by position, and is made before the filters: a filter
moves no task from one side to the other. A row's own ``metadata.split`` is ignored, as data sets differ
in what they mean by it. Nothing depends on the order of the rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from srs import kodcode, rows
from srs.config import TasksConfig
from srs.declaration import carries_own_copy, imported_modules
from srs.splits import Groups, draw, held_out_groups
from srs.types import Task, UserError, to_json

TINY = Path(__file__).parent / "tiny"
BAD_ROWS_SHOWN = 20
VACUOUS = "its tests carry their own copy of the solution: they pass for any answer"
SANDBOX_MODULES = frozenset(sys.stdlib_module_names | {"pytest"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskSet:
    """What a run works on, both sides sorted by id. ``notice``: the data's licence, to print once.

    ``dropped``: id → reason, for tasks that passed the filters but whose tests never meet the answer.
    """

    train: list[Task]
    held_out: list[Task]
    dropped: dict[str, str]
    source: str
    notice: str | None


def digest(task_set: TaskSet) -> str:
    """What identifies the tasks of both sides, with their texts."""
    found = hashlib.blake2b(digest_size=16)
    for side in (task_set.train, task_set.held_out):
        for task in side:
            found.update(json.dumps(to_json(task), sort_keys=True).encode())
        found.update(b"\0")
    return found.hexdigest()


def read_rows(path: Path) -> list[Task]:
    """All tasks of a .jsonl, .json or .parquet file with KodCode's schema, in the file's order.

    Raises UserError: for a file that can't be used, and for bad rows with file, row and reason of each.
    """
    return _collect(str(path), _parsed(str(path), rows.read_file(path)), lambda _: True)


def load(config: TasksConfig, available: Collection[str] = SANDBOX_MODULES) -> TaskSet:
    """The training and held-out tasks that the ``[tasks]`` section asks for.

    ``available``: top-level modules that exist in the sandbox, for ``importable_only``.
    Raises UserError: source unusable, bad rows, too few groups to split, or a filter that leaves nothing.
    """
    filters = _Filters(config, available)
    if config.source == "tiny":
        train, held_out = (
            _collect(str(path), _parsed(str(path), rows.read_file(path), questions=True), filters)
            for path in (TINY / "train.jsonl", TINY / "held_out.jsonl")
        )
        filters.check(len(train))
    else:
        names: set[str] = set()
        kept = _collect(config.source, _open(config.source), filters, names)
        filters.check(len(kept))
        if len(names) < 2:
            raise UserError(
                f"{config.source}: all its tasks belong to one group, so none can be held out"
            )
        held_out_names = held_out_groups(names, config.held_out_share, config.split_seed)
        train = [task for task in kept if task.group not in held_out_names]
        held_out = [task for task in kept if task.group in held_out_names]
    dropped = {task.id: VACUOUS for task in train + held_out if is_vacuous(task)}
    train = [task for task in train if task.id not in dropped]
    held_out = [task for task in held_out if task.id not in dropped]
    for side, tasks in (("training", train), ("held-out", held_out)):
        if not tasks:
            raise UserError(
                f"{config.source}: no {side} task is left after the filters in [tasks]"
                f" ({len(train) + len(held_out)} tasks); widen them, or change tasks.split_seed"
            )
    return TaskSet(
        train=draw(sorted(train, key=_id), config.limit, config.split_seed),
        held_out=sorted(held_out, key=_id),
        dropped=dropped,
        source=config.source,
        notice=_notice(config.source, train + held_out),
    )


def is_vacuous(task: Task) -> bool:
    """Whether the test module defines what it tests, as a few KodCode rows do."""
    names = task.entry_point.split(",") if task.entry_point else []
    return task.kind == "pytest" and carries_own_copy(task.test, names)


def importable(task: Task, available: Collection[str]) -> bool:
    """Whether all modules that reference and test import are in ``available`` (or are the solution).

    False when either doesn't parse: such a task can't be graded anyway.
    """
    sources = [task.reference or ""]
    if task.kind == "pytest":
        sources.append(task.test)
    for source in sources:
        modules = imported_modules(source)
        if modules is None or not all(m in available for m in modules - {"solution"}):
            return False
    return True


class _Filters:
    """The section's filters, in order, counting what each leaves so that an error can name one."""

    def __init__(self, config: TasksConfig, available: Collection[str]) -> None:
        self.source = config.source
        self.seen: dict[str, set[str]] = {"subsets": set(), "styles": set(), "difficulties": set()}
        self.steps: list[tuple[str, Callable[[Task], bool]]] = []
        self.left: list[int] = []
        for key, wanted, value in (
            ("subsets", config.subsets, lambda t: t.subset),
            ("styles", config.styles, lambda t: t.style),
            ("difficulties", config.difficulties, lambda t: t.difficulty or "none"),
        ):
            if wanted:
                self._add_choice(key, {w.lower() for w in wanted}, value)
        if config.importable_only:
            self._add("importable_only", lambda task: importable(task, available))

    def __call__(self, task: Task) -> bool:
        for i, (_, keeps) in enumerate(self.steps):
            if not keeps(task):
                return False
            self.left[i] += 1
        return True

    def check(self, n_kept: int) -> None:
        """Raises UserError naming the filter that nothing passed."""
        if n_kept:
            return
        for (key, _), left in zip(self.steps, self.left, strict=True):
            if not left:
                there = sorted(self.seen.get(key, ()))
                hint = f"; the data has {', '.join(there)}" if there else ""
                raise UserError(f"{self.source}: tasks.{key} leaves no task{hint}")

    def _add(self, key: str, keeps: Callable[[Task], bool]) -> None:
        self.steps.append((key, keeps))
        self.left.append(0)

    def _add_choice(self, key: str, wanted: set[str], value: Callable[[Task], str]) -> None:
        def keeps(task: Task) -> bool:
            self.seen[key].add(value(task))
            return value(task).lower() in wanted

        self._add(key, keeps)


def _open(source: str) -> Iterator[tuple[str, Task | kodcode.BadRow]]:
    path = Path(source).expanduser()
    if path.exists():
        return _parsed(source, rows.read_file(path), questions=True)
    if rows.is_hub_id(source):
        return _parsed(source, rows.read_hub(source), questions=True)
    raise UserError(
        f"{source}: no such file; tasks.source is tiny, a file ({', '.join(rows.SUFFIXES)}),"
        " or a hub id such as KodCode/KodCode-V1"
    )


def _parsed(
    source: str, placed: Iterable[tuple[str, object]], *, questions: bool = False
) -> Iterator[tuple[str, Task | kodcode.BadRow]]:
    """Place (with the source's name) and task, or why there is none."""
    for place, row in placed:
        result: Task | kodcode.BadRow
        try:
            result = row if isinstance(row, kodcode.BadRow) else kodcode.to_task(row)
        except kodcode.BadRow as bad:
            result = bad
        if questions and isinstance(result, Task) and not result.question.strip():
            result = kodcode.BadRow("question is missing")
        yield f"{source}{place}", result


def _collect(
    source: str,
    parsed: Iterable[tuple[str, Task | kodcode.BadRow]],
    keeps: Callable[[Task], bool],
    names: set[str] | None = None,
) -> list[Task]:
    """The kept tasks with their groups; ``names`` takes all groups, also of the tasks not kept.

    Raises UserError with all bad rows and duplicate ids.
    """
    groups = Groups()
    kept: list[tuple[int, Task]] = []
    first_place: dict[str, str] = {}
    bad: list[str] = []
    for place, result in parsed:
        if isinstance(result, kodcode.BadRow):
            bad.append(f"{place}: {result}")
        elif result.id in first_place:
            bad.append(
                f"{place}: question_id {result.id} stands already at {first_place[result.id]}"
            )
        else:
            first_place[result.id] = place
            node = groups.add(result)
            if keeps(result):
                kept.append((node, result))
    if bad:
        more = [f"… and {len(bad) - BAD_ROWS_SHOWN} more"] if len(bad) > BAD_ROWS_SHOWN else []
        raise UserError("\n".join([*bad[:BAD_ROWS_SHOWN], *more]))
    if not first_place:
        raise UserError(f"{source}: holds no rows")
    if names is not None:
        names.update(groups.names())
    return [
        task
        if groups.name(node) == task.group
        else dataclasses.replace(task, group=groups.name(node))
        for node, task in kept
    ]


def _notice(source: str, tasks: Iterable[Task]) -> str | None:
    if source == "tiny":
        return None
    from_kodcode = source.startswith("KodCode/") or any(t.subset in kodcode.SUBSETS for t in tasks)
    return kodcode.LICENCE if from_kodcode else None


def _id(task: Task) -> str:
    return task.id
