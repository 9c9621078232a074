"""Answers to a benchmark in files: the evaluation harness' generations.json, EvalPlus' samples.jsonl.

``generations.json`` (bigcode-evaluation-harness): a list per task, in the benchmark's order, of texts.
``samples.jsonl`` (EvalPlus, human-eval): ``{"task_id", "solution"}``, a program, or ``{"task_id",
"completion"}``, what continues the task's prompt; one line per answer.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluator.benchmark_rows import Opening
from evaluator.benchmarks import Benchmark
from srs.prompts import extract_code
from srs.types import Candidate, Task, UserError

SHOWN = 10


def program(task: Task, text: str, opening: Opening) -> str | None:
    """The program that an answer makes, or None when nothing in it parses.

    Taken is the first that parses and defines what the tests call: the whole text; the code found in
    it (`srs.prompts.extract_code`); the text as the continuation of the prompt, where it begins
    indented. Else the first that parses. What the prompt has before its function is put before a program that lacks it.
    """
    names = (
        set(task.entry_point.split(",")) if task.kind == "pytest" and task.entry_point else set()
    )
    candidates = [text, extract_code(text, task.entry_point)]
    if opening.head and _continues(text):
        candidates += [opening.head + text, f"{opening.head.rstrip()}\n{text}"]
    parsed = [(c, bound) for c in candidates if c and (bound := _bound(c)) is not None]
    if not parsed:
        return None
    code = next((c for c, bound in parsed if names <= bound), parsed[0][0])
    lacks = opening.preamble and opening.preamble not in code
    # A __future__ import must stay first, so such a program is left as it is.
    if lacks and "from __future__" not in code:
        code = f"{opening.preamble}\n\n\n{code}"
    return code


def read_answers(path: Path, benchmark: Benchmark) -> dict[str, list[str]]:
    """Task → its answers' texts, as many for each task, tasks in the benchmark's order.

    A ``.jsonl`` file is read as samples, a ``.json`` file as generations. Raises UserError for a file of
    another form, for ids that the benchmark doesn't have or that the file lacks, naming them, and when
    tasks have different numbers of answers.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise UserError(f"{path}: cannot read the answers: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not UTF-8 text (byte {e.start})") from e
    match path.suffix.lower():
        case ".json":
            answers = _generations(path, text, benchmark)
        case ".jsonl":
            answers = _samples(path, text, benchmark)
        case _:
            raise UserError(f"{path}: expected generations (.json) or samples (.jsonl)")
    counts = {task: len(texts) for task, texts in answers.items()}
    first = next(iter(counts))
    for task, n in counts.items():
        if n != counts[first]:
            raise UserError(f"{path}: {task} has {n} answers and {first} has {counts[first]}; give all as many")  # fmt: skip
    if not counts[first]:
        raise UserError(f"{path}: holds no answers")
    return answers


def candidates(
    benchmark: Benchmark, answers: Mapping[str, Sequence[str]], policy: str
) -> list[Candidate]:
    """All answers with the programs in them, in the benchmark's order; tasks without any are left out."""
    return [
        Candidate(
            task=task.id,
            round=0,
            index=index,
            prompt="",
            completion=text,
            code=program(task, text, benchmark.opening(task.id)),
            policy=policy,
            seed=0,
            n_tokens=0,
            truncated=False,
        )
        for task in benchmark.tasks
        for index, text in enumerate(answers.get(task.id, ()))
    ]


def generations_text(tasks: Sequence[Task], programs: Mapping[str, Sequence[str]]) -> str:
    """The content of a generations.json: the tasks' programs, in the tasks' order."""
    return json.dumps([list(programs[task.id]) for task in tasks], ensure_ascii=True) + "\n"


def samples_text(tasks: Sequence[Task], programs: Mapping[str, Sequence[str]]) -> str:
    """The content of a samples.jsonl: one line per program, in the tasks' order."""
    return "".join(
        json.dumps({"task_id": task.id, "solution": text}, ensure_ascii=True) + "\n"
        for task in tasks
        for text in programs[task.id]
    )


def _generations(path: Path, text: str, benchmark: Benchmark) -> dict[str, list[str]]:
    value = _json(text, str(path))
    if not isinstance(value, list) or not all(
        isinstance(v, list) and all(isinstance(t, str) for t in v) for v in value
    ):
        raise UserError(f"{path}: expected a list per task, of texts")
    tasks = [task.id for task in benchmark.tasks]
    if len(value) < len(tasks):
        raise UserError(
            f"{path}: {len(value)} lists for the {len(tasks)} tasks of {benchmark.name}; "
            f"without one: {_shown(tasks[len(value) :])}. Generate the rest, or give --limit {len(value)}"
        )
    if len(value) > len(tasks):
        raise UserError(
            f"{path}: {len(value)} lists for the {len(tasks)} tasks of {benchmark.name}: lists "
            f"{len(tasks) + 1} to {len(value)} belong to no task; give another --limit or file"
        )
    return dict(zip(tasks, value, strict=True))


def _samples(path: Path, text: str, benchmark: Benchmark) -> dict[str, list[str]]:
    answers: dict[str, list[str]] = {task.id: [] for task in benchmark.tasks}
    unknown: dict[str, None] = {}
    for place, row in _lines(path, text):
        task, keys = row.get("task_id"), [k for k in ("solution", "completion") if k in row]
        if not isinstance(task, str) or len(keys) != 1 or not isinstance(row[keys[0]], str):
            raise UserError(f"{place}: needs task_id and one of solution and completion, as text")
        if task in answers:
            answers[task].append(row[keys[0]])
        else:
            unknown[task] = None
    if unknown:
        raise UserError(f"{path}: not tasks of {benchmark.name}: {_shown(list(unknown))}")
    missing = [task for task, texts in answers.items() if not texts]
    if missing:
        raise UserError(f"{path}: no answers for these tasks of {benchmark.name}: {_shown(missing)}")  # fmt: skip
    return answers


def _lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{path}:{number}"
            row = _json(line, place)
            if not isinstance(row, dict):
                raise UserError(f"{place}: expected an object, got {type(row).__name__}")
            yield place, row


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UserError(f"{place}: not JSON: {e}") from e


def _bound(code: str) -> set[str] | None:
    """Names bound at the top level; None when the code is empty or doesn't parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the answer's code, which is only read
            body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names: set[str] = set()
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign():
                names.update(t.id for t in node.targets if isinstance(t, ast.Name))
            case ast.Import() | ast.ImportFrom():
                names.update(a.asname or a.name for a in node.names)
    return names if body else None


def _continues(text: str) -> bool:
    """Whether the text goes on inside a function: its first statement is indented."""
    statements = (line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#")
    return next(statements, "x")[0].isspace()


def _shown(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more
