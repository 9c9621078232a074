"""What the answers of an Ianvs job are worth: by the sandbox, by offline scores, by a judge."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluator.comments import scores
from evaluator.comments.records import CommentTask
from evaluator.generations import program
from evaluator.grade import grade_batch
from evaluator.ianvs_rows import Row, TextTask
from evaluator.issues.records import IssueTask
from evaluator.judging import rubric
from evaluator.judging.asking import Asker, Question, ask_all
from evaluator.judging.prompts import judge_comment, judge_issue
from evaluator.reference import verify
from sandbox.runner import Limits, Sandbox
from srs.types import Candidate, Verdict

Grade = dict[str, Any]
"""``id, benchmark, values`` (name → number, or None where it doesn't apply; all None where nothing could
be measured), ``detail``; for programs also ``outcome``."""


def grade_code(
    rows: Sequence[Row],
    predictions: Sequence[str],
    sandbox: Sandbox,
    *,
    limits: Limits,
    cache_path: Path,
    progress: Any,
) -> list[Grade]:
    """Verdicts of the sandbox. A task whose own reference fails here is not measured.

    ``progress``: a `srs.progress.Progress`. Raises SandboxError for a broken sandbox.
    """
    candidates = [_candidate(r, text) for r, text in zip(rows, predictions, strict=True)]
    referenced = [r.task for r in rows if r.task.reference is not None]
    with progress.phase("verify references", len(referenced)) as advance:
        expectations, dropped = verify(
            referenced, sandbox, cache_path, limits=limits, advance=advance
        )
    unusable = {drop.task: f"its reference fails here: {drop.reason}" for drop in dropped}
    if unusable:
        progress.note(f"{len(unusable)} of {len(rows)} tasks not measured: reference fails")
    judged = [c for c in candidates if c.task not in unusable]
    verdicts: dict[str, Verdict] = {}
    with progress.phase("grade", len(judged)) as advance:
        for verdict in grade_batch(
            [r.task for r in rows], judged, sandbox, expectations=expectations, limits=limits
        ):
            verdicts[verdict.task] = verdict
            advance(1)
    return [_grade_of(r, verdicts.get(r.task.id), unusable.get(r.task.id, "")) for r in rows]


def grade_texts(rows: Sequence[Row], predictions: Sequence[str]) -> list[Grade]:
    """What needs no judge: the offline scores of comments, whether an issue was answered at all."""
    grades = []
    for item, row, text in zip(_items(rows), rows, map(completion, predictions), strict=True):
        values: dict[str, float | None]
        if isinstance(item, CommentTask):
            score = scores.score(item, text)
            values = {
                name: getattr(score, name)
                for name in ("overall", "logic", "accuracy", "format", "coverage")
            }
        else:
            values = {"answered": float(bool(text.strip()))}
        grades.append({"id": row.id, "benchmark": row.benchmark, "values": values, "detail": ""})
    return grades


def judge_texts(
    rows: Sequence[Row],
    predictions: Sequence[str],
    asker: Asker,
    log_path: Path,
    advance: Callable[[int], None],
) -> list[tuple[dict[str, float], str]]:
    """The judge's values for each answer, and its reason. An unreadable reply is the worst verdict.

    Raises AskError when the judge can't be asked, UserError for settings that can't work.
    """
    items = _items(rows)
    asked = [_judged(i, completion(text)) for i, text in zip(items, predictions, strict=True)]
    replies = ask_all(asked, asker, log_path, advance)
    kind: rubric.Kind = "comments" if isinstance(items[0], CommentTask) else "issues"
    found = []
    for item in items:
        values, note = rubric.parse(replies[item.id], kind)
        numbers = {
            judged_value(f): float(f.worst if values is None else values[f.name])
            for f in rubric.RUBRICS[kind]
        }
        found.append(({**numbers, "judge_readable": float(values is not None)}, note))
    return found


def judged_value(field: rubric.Field) -> str:
    """The name of a judged field among an answer's values: the share of correct ones is the accuracy."""
    return "accuracy" if field.is_binary else f"judge_{field.name}"


def completion(prediction: str) -> str:
    """What the model said: of JSON as the worker writes it, or plain text from any other; "" for an error."""
    try:
        found = json.loads(prediction)
    except ValueError:
        return prediction
    if isinstance(found, dict) and isinstance(found.get("completion"), str):
        text: str = found["completion"]
        return text
    return "" if isinstance(found, Mapping) and "error" in found else prediction


def _items(rows: Sequence[Row]) -> list[TextTask]:
    """Under the ids that the rows' tasks have: two benchmarks may use the same one."""
    return [dataclasses.replace(row.item, id=row.task.id) for row in rows if row.item is not None]


def _judged(item: TextTask, text: str) -> Question:
    return judge_issue(item, text) if isinstance(item, IssueTask) else judge_comment(item, text)


def _grade_of(row: Row, verdict: Verdict | None, reason: str) -> Grade:
    found: Grade = {"id": row.id, "benchmark": row.benchmark}
    if verdict is None:
        return {**found, "values": None, "outcome": None, "detail": reason}
    values = {
        "pass_at_1": float(verdict.passed),
        "format_error_rate": float(verdict.outcome == "no_code"),
    }
    return {**found, "values": values, "outcome": verdict.outcome, "detail": verdict.detail}


def _candidate(row: Row, prediction: str) -> Candidate:
    text = completion(prediction)
    return Candidate(
        task=row.task.id,
        round=0,
        index=0,
        prompt="",
        completion=text,
        code=program(row.task, text, row.opening),
        policy="ianvs",
        seed=0,
        n_tokens=0,
        truncated=False,
    )
