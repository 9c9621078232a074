"""The files of ``python -m evaluator.grade``: candidates in, verdicts out."""

from __future__ import annotations

import collections
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from srs.prompts import extract_code
from srs.types import Candidate, Task, UserError, Verdict

BAD_LINES_SHOWN = 20


def read_candidates(path: Path, tasks: Mapping[str, Task]) -> list[Candidate]:
    """One candidate per line: ``question_id`` with ``code``, or with ``completion`` to extract it from.

    ``tasks``: by id; what their tests call decides which block of a completion is taken. ``index`` counts within the task. Raises UserError naming every unusable line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as e:
        raise UserError(f"{path}: cannot read the candidates: {e.strerror}") from e
    candidates, bad = [], []
    seen: collections.Counter[str] = collections.Counter()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _row(line, tasks)
        except ValueError as e:
            bad.append(f"{path}:{number}: {e}")
            continue
        task = row["question_id"]
        completion = row.get("completion", "")
        candidates.append(
            Candidate(
                task=task,
                round=0,
                index=seen[task],
                prompt="",
                completion=completion,
                code=row["code"]
                if "code" in row
                else extract_code(completion, tasks[task].entry_point),
                policy="file",
                seed=0,
                n_tokens=0,
                truncated=False,
            )
        )
        seen[task] += 1
    if bad:
        more = [f"and {len(bad) - BAD_LINES_SHOWN} more"] if len(bad) > BAD_LINES_SHOWN else []
        raise UserError("unusable candidates:\n  " + "\n  ".join(bad[:BAD_LINES_SHOWN] + more))
    return candidates


def _row(line: bytes, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Raises ValueError saying what is wrong with the line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"not valid JSON: {e}") from e
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    if not isinstance(row.get("question_id"), str):
        raise ValueError("question_id is missing or not text")
    if row["question_id"] not in tasks:
        raise ValueError(f"question_id {row['question_id']!r} is not in the tasks file")
    if ("code" in row) == ("completion" in row):
        raise ValueError("give one of code and completion")
    if not isinstance(row.get("code", row.get("completion")), str):
        raise ValueError("code or completion is not text")
    return row


@contextlib.contextmanager
def writing_verdicts(path: Path) -> Iterator[Callable[[Verdict], None]]:
    """A function that adds one line; the file appears whole under its name, or not at all.

    Raises UserError when it can't be written. An OSError of the caller's own is left alone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _writing(path):
        file = temporary.open("w", encoding="utf-8")

    def write(verdict: Verdict) -> None:
        row = {
            "question_id": verdict.task,
            "index": verdict.index,
            "outcome": verdict.outcome,
            "n_passed": verdict.n_passed,
            "n_collected": verdict.n_collected,
            "wall_s": round(verdict.wall_s, 4),
            "detail": verdict.detail,
            "path": verdict.path,
        }
        with _writing(path):
            file.write(json.dumps(row) + "\n")

    try:
        yield write
        with _writing(path):
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # the file is whole by now, or not wanted
            file.close()
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise UserError(f"{path}: cannot write the verdicts: {e.strerror}") from e
