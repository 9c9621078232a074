"""A line of an Ianvs job's test data, ``question`` and ``answer``: the export writes it, the worker reads it.

A metric gets no ids, and nothing but these two keys survives Ianvs, so ``answer`` is the whole task as JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from evaluator.benchmark_rows import Opening
from evaluator.comments import records as comments
from evaluator.comments.records import CommentTask
from evaluator.issues import records as issues
from evaluator.issues.records import IssueTask
from evaluator.judging.asking import Question
from evaluator.judging.local import as_task
from evaluator.judging.prompts import comment_question, issue_question
from srs import prompts
from srs.types import Task, UserError, from_json, to_json

Kind = Literal["code", "comments", "issues"]
TextTask = CommentTask | IssueTask
INLINE_CHARACTERS = 20_000
"""A longer test gets a file of its own: NumPy gives every answer the room that the longest one takes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line, read. ``task`` is what the model is asked; its id is the line's position, ``id`` the
    benchmark's own. ``item``: the comment or issue task that it asks about, in jobs of those kinds."""

    benchmark: str
    id: str
    task: Task
    opening: Opening = Opening()
    item: TextTask | None = None


def read_texts(kind: Kind, path: Path, limit: int = 0) -> list[TextTask]:
    """The first ``limit`` (0 = all) tasks of a comment or issue file. Raises UserError."""
    tasks = comments.read(path) if kind == "comments" else issues.read(path)
    return list(tasks[:limit] if limit else tasks)


def question(task: TextTask) -> Question:
    """What a model is asked about it, as in `evaluator.comments` and `evaluator.issues`."""
    return comment_question(task) if isinstance(task, CommentTask) else issue_question(task)


def line(benchmark: str, task: Task | TextTask, opening: Opening, folder: Path) -> dict[str, str]:
    """``question`` and ``answer``; what is too long for an answer goes into ``folder``/tests."""
    if isinstance(task, Task):
        row = {"benchmark": benchmark, "opening": dataclasses.asdict(opening), **to_json(task)}
        if len(task.test) > INLINE_CHARACTERS:
            row |= {"test": "", "test_file": _put(task.test, folder)}
        return {"question": prompts.user_message(task), "answer": json.dumps(row)}
    item: Any = _item_row(task)
    row = {"benchmark": benchmark, "item": item}
    if len(held := json.dumps(item)) > INLINE_CHARACTERS:
        row = {"benchmark": benchmark, "item_file": _put(held, folder)}
    asked = prompts.user_message(as_task(question(task)))
    return {"question": asked, "answer": json.dumps(row)}


def read(kind: Kind, answer: str, position: int, folder: Path) -> Row:
    """The inverse of `line`. Raises UserError when it isn't an ``answer`` that the export wrote."""
    try:
        fields = json.loads(answer)
        benchmark = fields.pop("benchmark")
        if kind == "code":
            return _code(benchmark, fields, position, folder)
        held = fields["item"] if "item" in fields else json.loads(_get(fields["item_file"], folder))
        item: TextTask = comments.parse(held) if kind == "comments" else issues.parse(held)
        task = dataclasses.replace(as_task(question(item)), id=str(position))
        return Row(benchmark=benchmark, id=item.id, task=task, item=item)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
        raise UserError(
            f"{folder / 'data.jsonl'}:{position + 1}: its answer is no task of an exported job ({e}): "
            "export the job again"
        ) from e


def _code(benchmark: str, fields: dict[str, Any], position: int, folder: Path) -> Row:
    test_file = fields.pop("test_file", None)
    opening = Opening(**fields.pop("opening"))
    if test_file:
        fields["test"] = _get(test_file, folder)
    task = from_json(Task, fields)
    placed = dataclasses.replace(task, id=str(position))
    return Row(benchmark=benchmark, id=task.id, task=placed, opening=opening)


def _item_row(task: TextTask) -> dict[str, Any]:
    if isinstance(task, IssueTask):
        return issues.to_row(task, "issues")
    return comments.to_row(task, "lines" if task.comment is None else "pairs")


def _put(text: str, folder: Path) -> str:
    data = text.encode()
    name = f"tests/{hashlib.sha256(data).hexdigest()}.txt"
    (folder / "tests").mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return name


def _get(name: str, folder: Path) -> str:
    return (folder / name).read_bytes().decode()
