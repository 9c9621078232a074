"""Comment tasks, and the forms in which they are written down.

    lines     code_snippet, annotations [{line_number, annotation}]   a comment for single lines
    pairs     code_snippet, comment                                   one comment for all of it
    ianvs     query, response, level_3_dim, …                         Ianvs' data.jsonl with metadata.json
    ianvs-qa  question, answer (JSON text)                            Ianvs' train_data/test_data

`parse` reads any of them and `to_row` writes any: what one form can't hold travels in keys of its own,
which Ianvs ignores, so that a task survives the way there and back.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from evaluator.judging import files
from evaluator.judging.fences import code_in, fenced

Form = Literal["lines", "pairs", "ianvs", "ianvs-qa"]
FORMS: tuple[Form, ...] = get_args(Form)
IANVS = {
    "prompt": "Please think step by step and answer the question.",
    "level_1_dim": "single-modal",
    "level_2_dim": "text",
    "level_3_dim": "knowledge Q&A",
    "level_4_dim": "code_comment",
}
"""What an Ianvs row holds unless the task says otherwise."""
OURS = {"id", "code_snippet", "annotations", "comment", "language", "query", "response", "question", "answer"}  # fmt: skip
DEFAULT_LANGUAGE = "python"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What a comment on one line should say. ``line`` counts from 1 in the task's code."""

    line: int
    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CommentTask:
    """Code to be commented, and the reference: annotations of lines, or one comment for the whole.

    With neither, an answer can only be checked for its form and for leaving the code alone. ``extra``
    holds the row's other keys.
    """

    id: str
    code: str
    annotations: tuple[Annotation, ...] = ()
    comment: str | None = None
    language: str = DEFAULT_LANGUAGE
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read(path: Path, *, skip_bad: bool = False) -> list[CommentTask]:
    """The tasks of a file in any form. Raises UserError naming each bad line."""
    return files.read(path, reader(), "comment tasks", skip_bad=skip_bad)


def reader() -> Callable[[dict[str, Any]], CommentTask]:
    """`parse` for the rows of one file, in which no id may come twice."""
    ids = files.Ids("comment")

    def one(row: dict[str, Any]) -> CommentTask:
        task = parse(row)
        content = [task.code, [dataclasses.astuple(a) for a in task.annotations], task.comment]
        return dataclasses.replace(task, id=ids.take(task.id or None, *content))

    return one


def parse(row: Mapping[str, Any]) -> CommentTask:
    """The task of a row in any form; without an id of its own it has the id ``""``.

    Raises ValueError saying what is wrong.
    """
    if "query" in row:
        task = _from_query(row, files.text(row, "query"))
        if task.annotations and row.get("response") != reference(task):
            raise ValueError("annotations and response don't say the same")
        if not task.annotations and task.comment is None and row.get("response"):
            task = dataclasses.replace(task, comment=files.text(row, "response"))
    elif "question" in row and "answer" in row:
        task = _from_query({**row, **_answer(row)}, files.text(row, "question"))
    elif "code_snippet" in row:
        task = _task(row, files.text(row, "code_snippet"), row.get("language"))
    else:
        raise ValueError(
            f"no comment task: code_snippet, query or question is missing, keys are {sorted(row)}"
        )
    return task


def to_row(task: CommentTask, form: Form) -> dict[str, Any]:
    """The task in one form. Raises ValueError when that form can't hold it."""
    held: dict[str, Any] = {"id": task.id} if task.id else {}
    marks = [{"line_number": a.line, "annotation": a.text} for a in task.annotations]
    language = {"language": task.language} if task.language != DEFAULT_LANGUAGE else {}
    match form:
        case "lines":
            if task.comment is not None:
                raise ValueError(f"{task.id}: a comment for the whole code has no line: use pairs")
            return {
                **held,
                "code_snippet": task.code,
                "annotations": marks,
                **language,
                **task.extra,
            }
        case "pairs":
            comment = reference(task)
            if comment is None:
                raise ValueError(f"{task.id}: no annotation and no comment to write")
            return {**held, "code_snippet": task.code, "comment": comment, **language, **task.extra}
        case "ianvs":
            said = {"response": reference(task) or ""}
            kept = {"annotations": marks} if marks else {}
            return {**held, **IANVS, **task.extra, "query": query(task), **said, **kept, **language}
        case "ianvs-qa":
            answer = {
                **task.extra,
                **held,
                **language,
                "annotations": marks,
                "comment": task.comment,
            }
            return {"question": query(task), "answer": json.dumps(answer)}


def query(task: CommentTask) -> str:
    """The question in words, the code in a block."""
    block = fenced(task.code, task.language)
    return f"Question: Here is a code function\n{block}\nPlease comment this code or function."


def reference(task: CommentTask) -> str | None:
    """The reference as one text: the comment, or a line ``Line 3: …`` for each annotation."""
    if task.comment is not None:
        return task.comment
    return "\n".join(f"Line {a.line}: {a.text}" for a in task.annotations) or None


def _from_query(row: Mapping[str, Any], question: str) -> CommentTask:
    found = code_in(question)
    if found is None:
        raise ValueError("no code in the question: it should stand in a Markdown block")
    code, tag = found
    return _task(row, code, row.get("language") or tag or DEFAULT_LANGUAGE)


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the answer of an ianvs-qa row holds; text that isn't ours is the comment itself."""
    answer = files.text(row, "answer")
    try:
        held = json.loads(answer)
    except ValueError:
        return {"comment": answer}
    if isinstance(held, dict) and {"annotations", "comment"} & held.keys():
        return held
    return {"comment": answer}


def _task(row: Mapping[str, Any], code: str, language: Any) -> CommentTask:
    if not code.strip():
        raise ValueError("the code is empty")
    if not isinstance(language, str | None) or language == "":
        raise ValueError("language is not text")
    extra = {k: v for k, v in row.items() if k not in OURS and not (k in IANVS and v == IANVS[k])}
    annotations = _annotations(row.get("annotations"), code)
    comment = files.text(row, "comment") if row.get("comment") is not None else None
    if annotations and comment is not None:
        raise ValueError("give one of annotations and comment")
    return CommentTask(
        id=files.own_id(row, "id") or "",
        code=code,
        annotations=annotations,
        comment=comment,
        language=(language or DEFAULT_LANGUAGE).lower(),
        extra=extra,
    )


def _annotations(value: Any, code: str) -> tuple[Annotation, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("annotations is not a list")
    n_lines = code.count("\n") + 1
    found = []
    for position, mark in enumerate(value, 1):
        if not isinstance(mark, dict):
            raise ValueError(f"annotation {position} is not an object")
        line = mark.get("line_number")
        if type(line) is not int or not 1 <= line <= n_lines:
            raise ValueError(
                f"annotation {position}: line_number {line!r} is not one of the code's {n_lines} lines"
            )
        try:
            found.append(Annotation(line=line, text=files.text(mark, "annotation")))
        except ValueError as e:
            raise ValueError(f"annotation {position}: {e}") from e
    return tuple(found)
