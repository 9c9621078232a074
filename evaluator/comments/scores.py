"""Scores of comments that need no judge: is the code as it was, is it commented where people did. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from evaluator.comments.records import CommentTask
from evaluator.comments.split import Method, Split, aligned, is_known, same_code, split
from evaluator.metrics import mean_with_interval
from evaluator.text_metrics import edit_similarity
from srs.prompts import FENCE

WORD = re.compile(r"\w")
LONG = 5_000
"""Characters."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CommentScore:
    """One answer's scores, each from 0 to 1; None = doesn't apply to this task and answer.

    ``logic``: 1 when the code is the same after all comments are taken out, else 0. None when the
    answer is one comment in words, as a task with one comment for the whole allows, and for a language
    whose comments aren't known. ``method`` says how the two were compared.

    ``coverage``: the share of annotated lines that got a new comment. ``accuracy``: the mean over
    annotated lines of the similarity between their new comment and the annotation, 0 for a line without
    one; or the similarity of the comment for the whole. None without a reference.

    ``format``: 1 when the answer has the code with at least one new comment in words, or is a comment in
    words where that is asked, else 0.
    """

    id: str
    logic: float | None
    accuracy: float | None
    format: float
    coverage: float | None
    method: Method | None
    n_comments: int

    @property
    def overall(self) -> float:
        """The mean of ``logic``, ``accuracy`` and ``format``, of those that apply; 0 without a comment,
        or code given back as it was would earn a third."""
        if not self.format:
            return 0.0
        scores = [s for s in (self.logic, self.accuracy, self.format) if s is not None]
        return sum(scores) / len(scores)


def score(task: CommentTask, answer: str) -> CommentScore:
    """An answer's scores, without a judge."""
    answer = answer.rpartition("</think>")[2]
    whole = task.comment is not None
    if not is_known(task.language):
        said = similarity(answer, task.comment or "") if whole else None
        form = float(bool(WORD.search(answer)))
        return CommentScore(id=task.id, logic=None, accuracy=said, format=form, coverage=None, method=None, n_comments=0)  # fmt: skip
    before = split(task.code, task.language)
    program = find_code(answer, before, task.language)
    if program is None:
        form = float(whole and bool(WORD.search(answer)))
        return CommentScore(
            id=task.id,
            logic=None if whole else 0.0,
            accuracy=similarity(answer, task.comment or "") if whole else _zero(task),
            format=form,
            coverage=_zero(task),
            method=None,
            n_comments=0,
        )
    after = split(program, task.language)
    same, method = same_code(task.code, program, task.language)
    new = _new(before, after)
    accuracy, coverage = _lines(task, before, after, new)
    if whole:
        prose = FENCE.sub(" ", answer) if "```" in answer else ""
        texts = [*new, " ".join(new), prose]
        accuracy = max(similarity(text, task.comment or "") for text in texts)
    return CommentScore(
        id=task.id,
        logic=float(same),
        accuracy=accuracy,
        format=float(any(WORD.search(text) for text in new)),
        coverage=coverage,
        method=method,
        n_comments=len(new),
    )


def similarity(text: str, reference: str) -> float:
    """Edit similarity of two texts, 0 to 1, whatever their case and white space.

    0 for a long text of more than ten times the other's length, where it can't exceed 0.1: comparing takes the
    product of both lengths.
    """
    a, b = (" ".join(t.casefold().split()) for t in (text, reference))
    shorter, longer = sorted((len(a), len(b)))
    if longer > LONG and longer > 10 * shorter:
        return 0.0
    return edit_similarity(a, b)


def find_code(answer: str, before: Split, language: str) -> str | None:
    """The part of an answer that is the task's program: of its code blocks, and all of it, the one that
    has most of the program's lines and then fewest others, the later of two alike; None when none has any."""
    blocks = [match["body"] for match in FENCE.finditer(answer)]
    wanted = Counter(code for _, code in before.normal)
    best, best_rank = None, (0, 0)
    # A plain completion begins inside its block, which then only ends.
    for block in (answer, answer.split("\n```", 1)[0], *blocks):
        lines = Counter(code for _, code in split(block, language).normal)
        shared = (wanted & lines).total()
        rank = (shared, shared - lines.total())
        if shared and (best is None or rank >= best_rank):
            best, best_rank = block, rank
    return best


def summarize(scores: Sequence[CommentScore]) -> dict[str, Any]:
    """Mean and 95% interval of each score over the answers to which it applies, and ``n``.

    Intervals are those of `evaluator.metrics.mean_with_interval`.
    """
    found: dict[str, Any] = {}
    for name in ("logic", "accuracy", "format", "coverage", "overall"):
        values = [value for s in scores if (value := getattr(s, name)) is not None]
        nothing = {"value": None, "low": None, "high": None}
        found[name] = {**(mean_with_interval(values) if values else nothing), "n": len(values)}
    methods = Counter(s.method or "not compared" for s in scores)
    return {**found, "n": len(scores), "compared_by": dict(methods)}


def _zero(task: CommentTask) -> float | None:
    return 0.0 if task.annotations else None


def _new(before: Split, after: Split) -> list[str]:
    """The comments that the task's code didn't have yet."""
    left = Counter(comment.text for comment in before.comments)
    new = []
    for comment in after.comments:
        if left[comment.text]:
            left[comment.text] -= 1
        else:
            new.append(comment.text)
    return new


def _lines(
    task: CommentTask, before: Split, after: Split, new: Sequence[str]
) -> tuple[float | None, float | None]:
    """Accuracy and coverage over the annotated lines."""
    if not task.annotations:
        return None, None
    places = aligned(before, after)
    with_code = [line for line, _ in before.normal]
    similar, covered = [], 0
    for mark in task.annotations:
        line = next((i for i in with_code if i >= mark.line - 1), mark.line - 1)
        texts = [t for t in after.at(places[line]) if t in new] if line in places else []
        covered += bool(texts)
        similar.append(
            max(similarity(t, mark.text) for t in (*texts, " ".join(texts))) if texts else 0.0
        )
    return sum(similar) / len(similar), covered / len(similar)
