"""What a repair starts from: tasks, and answers to them from a file or a result folder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from evaluator import imports
from evaluator.benchmarks import Benchmark, read_benchmark
from evaluator.candidates import read_candidates
from evaluator.generations import candidates as candidates_of
from evaluator.generations import read_answers
from evaluator.results import read_json
from srs.types import Candidate, Task, UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """``answers`` None: the model writes them first. ``notices``: what the user must be told.

    ``origin``: hashes of the files, for telling whether a folder was begun with the same.
    """

    tasks: dict[str, Task]
    answers: list[Candidate] | None
    notices: tuple[str, ...]
    origin: dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Readers:
    """`srs.rows.read_file` and `srs.kodcode.to_task`, brought by the entry point."""

    rows: Callable[[Path], Iterable[tuple[str, object]]]
    to_task: Callable[[object], Task]

    def benchmark(self, path: Path, *, limit: int = 0, challenge_tests: bool = False) -> Benchmark:
        return read_benchmark(
            "tasks",
            path,
            self.rows(path),
            self.to_task,
            limit=limit,
            challenge_tests=challenge_tests,
        )


def from_files(tasks: Path, answers: Path | None, readers: Readers, *, limit: int) -> Inputs:
    """The first ``limit`` tasks (0 = all) that have answers, and those.

    ``tasks`` is anything that `evaluator.benchmarks` reads, or a prompt set (`evaluator.imports`);
    ``answers``: ``question_id`` with ``code`` or ``completion``, or a file of `evaluator.generations`.
    Raises UserError for unusable files.
    """
    origin = {"tasks": _digest(tasks)}
    notices: tuple[str, ...] = ()
    benchmark = None
    if imports.is_prompt_set(tasks):
        found = {task.id: task for task in imports.read_prompt_set(tasks)}
        notices = (f"{tasks}: {imports.WITHOUT_TESTS}",)
    else:
        benchmark = readers.benchmark(tasks)
        found = {task.id: task for task in benchmark.tasks}
    candidates = None
    if answers is not None:
        origin["answers"] = _digest(answers)
        if benchmark is not None and _is_generations(answers):
            candidates = candidates_of(benchmark, read_answers(answers, benchmark), "file")
        else:
            candidates = read_candidates(answers, found)
        if not candidates:
            raise UserError(f"{answers}: holds no answers")
    return _limited(found, candidates, limit, notices, origin)


def from_results(
    tasks: Path, folder: Path, which: str | None, readers: Readers, *, limit: int
) -> Inputs:
    """One set of answers of a result folder of ``evaluator.run``, and the tasks in ``tasks``.

    The benchmark is the one that was made of the same file. Raises UserError when the folder isn't one,
    when no benchmark is of that file, or when there are several sets of answers and none is named.
    """
    settings = read_json(folder / "settings.json")
    there = settings.get("benchmarks") if isinstance(settings, dict) else None
    if not isinstance(there, dict):
        raise UserError(
            f"{folder}: settings.json names no benchmarks; give a folder of evaluator.run"
        )
    digest = _digest(tasks)
    names: Mapping[str, Any] = {n: b for n, b in there.items() if b.get("sha256") == digest}
    if not names:
        raise UserError(
            f"{folder}: its answers are to other tasks than those in {tasks}: give the file that one of"
            f" {', '.join(there)} was made of"
        )
    name, said = next(iter(names.items()))
    sets = sorted(path.parent.name for path in (folder / name).glob("*/samples.jsonl"))
    if which is None and len(sets) == 1:
        which = sets[0]
    if which not in sets:
        choose = f"choose {', '.join(sets)}" if sets else "there are no answers yet"
        raise UserError(f"{folder / name}: --answers {which or 'is missing'}: {choose}")
    benchmark = readers.benchmark(
        tasks, limit=said["tasks"], challenge_tests=settings.get("challenge_tests", False)
    )
    answers = folder / name / which / "samples.jsonl"
    candidates = candidates_of(benchmark, read_answers(answers, benchmark), "file")
    found = {task.id: task for task in benchmark.tasks}
    origin = {"tasks": digest, "answers": _digest(answers)}
    return _limited(found, candidates, limit, (), origin)


def without(inputs: Inputs, gone: Collection[str]) -> Inputs:
    """The inputs without these tasks. Raises UserError when nothing is left."""
    tasks = {name: task for name, task in inputs.tasks.items() if name not in gone}
    answers = inputs.answers and [c for c in inputs.answers if c.task in tasks]
    if not tasks:
        raise UserError(f"all {len(gone)} tasks were dropped: their references fail; see --out")
    return dataclasses.replace(inputs, tasks=tasks, answers=answers)


def _limited(
    tasks: Mapping[str, Task],
    answers: list[Candidate] | None,
    limit: int,
    notices: tuple[str, ...],
    origin: dict[str, str],
) -> Inputs:
    asked = None if answers is None else {candidate.task for candidate in answers}
    names = [name for name in tasks if asked is None or name in asked]
    kept = {name: tasks[name] for name in (names[:limit] if limit else names)}
    if answers is not None:
        answers = [candidate for candidate in answers if candidate.task in kept]
    return Inputs(tasks=kept, answers=answers, notices=notices, origin=origin)


def _is_generations(path: Path) -> bool:
    """A generations.json, or a samples.jsonl, whose lines name a ``task_id``."""
    if path.suffix.lower() == ".json":
        return True
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return '"task_id"' in file.readline()
    except OSError as e:
        raise UserError(f"{path}: cannot read the answers: {e.strerror}") from e


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e
