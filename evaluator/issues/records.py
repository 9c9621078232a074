"""Issues with their answers, and the forms in which they are written down.

    issues    question (the title), body, answer_1 … answer_n {body, user_login, …}
    ianvs     query, response, level_3_dim, …          Ianvs' data.jsonl with metadata.json
    ianvs-qa  question, answer (JSON text)             Ianvs' train_data/test_data

Ianvs has one response to a query: several answers are one text there, and stand apart in a key
``answers`` which Ianvs ignores.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from evaluator.judging import files

Form = Literal["issues", "ianvs", "ianvs-qa"]
FORMS: tuple[Form, ...] = get_args(Form)
IANVS = {
    "prompt": "Please think step by step and answer the question.",
    "level_1_dim": "single-modal",
    "level_2_dim": "text",
    "level_3_dim": "knowledge Q&A",
    "level_4_dim": "issue",
}
OURS = {"id", "question", "body", "answers", "answer", "query", "response"}
ANSWER = re.compile(r"answer_([1-9]\d*)")
PREFIX = "Question: "


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody answered; ``extra`` has ``user_login, created_at, updated_at`` as they came."""

    body: str
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IssueTask:
    """An issue and the answers people gave it, the references. ``extra``: the row's other keys."""

    id: str
    title: str
    body: str
    answers: tuple[Answer, ...]
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read(path: Path, *, skip_bad: bool = False) -> list[IssueTask]:
    """The issues of a file in any form. Raises UserError naming each bad line."""
    return files.read(path, reader(), "issues", skip_bad=skip_bad)


def reader() -> Callable[[dict[str, Any]], IssueTask]:
    """`parse` for the rows of one file, in which no id may come twice."""
    ids = files.Ids("issue")

    def one(row: dict[str, Any]) -> IssueTask:
        task = parse(row)
        content = [task.title, task.body, [a.body for a in task.answers]]
        return dataclasses.replace(task, id=ids.take(task.id or None, *content))

    return one


def parse(row: Mapping[str, Any]) -> IssueTask:
    """The issue of a row in any form; its id is ``id``, ``instance_id`` or ``""``.

    Raises ValueError saying what is wrong.
    """
    if "query" in row:
        answers = _listed(row["answers"]) if "answers" in row else None
        if answers is None:
            answers = (Answer(body=files.text(row, "response")),)
        elif row.get("response") != joined(answers):
            raise ValueError("answers and response don't say the same")
        return _task(row, *_split(files.text(row, "query")), answers)
    if "question" in row and "answer" in row:
        held = _held(files.text(row, "answer"))
        merged = {**held, **{k: v for k, v in row.items() if k not in OURS}}
        return _task(merged, *_split(files.text(row, "question")), _listed(held["answers"]))
    if "question" in row:
        body = row.get("body")
        if not isinstance(body, str | None):
            raise ValueError("body is not text")
        title = files.text(row, "question").strip()
        return _task(row, title, body or "", _numbered(row))
    raise ValueError(f"no issue: question or query is missing, keys are {sorted(row)}")


def to_row(task: IssueTask, form: Form) -> dict[str, Any]:
    """The issue in one form. Raises ValueError when that form can't hold it."""
    held: dict[str, Any] = {}
    if task.id and task.extra.get("instance_id") != task.id:
        held["id"] = task.id
    answers = [{"body": a.body, **a.extra} for a in task.answers]
    match form:
        case "issues":
            numbered = {f"answer_{i}": answer for i, answer in enumerate(answers, 1)}
            return {**held, "question": task.title, "body": task.body, **numbered, **task.extra}
        case "ianvs":
            said = {"query": query(task), "response": joined(task.answers)}
            return {**held, **IANVS, **task.extra, **said, "answers": answers}
        case "ianvs-qa":
            answer = {**held, **task.extra, "answers": answers}
            return {"question": query(task), "answer": json.dumps(answer)}


def query(task: IssueTask) -> str:
    """Title and body as one question. Raises ValueError for a title of several lines."""
    if "\n" in task.title:
        raise ValueError(f"{task.id}: the title has a line break")
    return f"{PREFIX}{task.title}" + (f"\n\n{task.body}" if task.body else "")


def joined(answers: tuple[Answer, ...]) -> str:
    """One answer as it is; several with a heading each."""
    if len(answers) == 1:
        return answers[0].body
    return "\n\n".join(f"Answer {i}:\n{answer.body}" for i, answer in enumerate(answers, 1))


def _split(question: str) -> tuple[str, str]:
    """Title and body of a query; the first line is the title of one that isn't ours."""
    words = question
    for prefix in (PREFIX, PREFIX.strip(), "Question："):  # noqa: RUF001 (as Ianvs' example has it)
        if words.startswith(prefix):
            words = words.removeprefix(prefix)
            break
    title, gap, body = words.partition("\n\n")
    if "\n" in title:
        title, _, rest = title.partition("\n")
        body = rest + gap + body
    if not title.strip():
        raise ValueError("the question has no title")
    return title.strip(), body


def _held(answer: str) -> dict[str, Any]:
    """What the answer of an ianvs-qa row holds; text that isn't ours is the one answer itself."""
    try:
        held = json.loads(answer)
    except ValueError:
        held = None
    if isinstance(held, dict) and "answers" in held:
        return held
    return {"answers": [{"body": answer}]}


def _listed(value: Any) -> tuple[Answer, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("answers is not a list of answers")
    return tuple(_one(answer, f"answers[{i}]") for i, answer in enumerate(value))


def _numbered(row: Mapping[str, Any]) -> tuple[Answer, ...]:
    numbers = sorted(int(m[1]) for key in row if (m := ANSWER.fullmatch(key)) and row[key] is not None)  # fmt: skip
    if not numbers:
        raise ValueError("answer_1 is missing")
    for wanted, number in enumerate(numbers, 1):
        if wanted != number:
            raise ValueError(f"answer_{wanted} is missing, and there is an answer_{number}")
    return tuple(_one(row[f"answer_{i}"], f"answer_{i}") for i in numbers)


def _one(value: Any, name: str) -> Answer:
    if isinstance(value, str):
        value = {"body": value}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is neither an object nor text")
    try:
        body = files.text(value, "body")
    except ValueError as e:
        raise ValueError(f"{name}: {e}") from e
    return Answer(body=body, extra={k: v for k, v in value.items() if k != "body"})


def _task(row: Mapping[str, Any], title: str, body: str, answers: tuple[Answer, ...]) -> IssueTask:
    extra = {
        key: value
        for key, value in row.items()
        if key not in OURS
        and not ANSWER.fullmatch(key)
        and not (key in IANVS and value == IANVS[key])
    }
    return IssueTask(
        id=files.own_id(row, "id", "instance_id") or "",
        title=title,
        body=body,
        answers=answers,
        extra=extra,
    )
