"""The answers of a model under test: ``id`` and ``answer``, one JSON object per line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluator.judging import files
from srs.types import UserError


def read(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """Answer by id. Tasks without one are not in it: that is the caller's to count.

    Raises UserError naming every bad line, repeated id and id that is none of ``ids``.
    """
    known = set(ids)
    seen: set[str] = set()

    def parse(row: dict[str, Any]) -> tuple[str, str]:
        id, answer = row.get("id"), row.get("answer")
        if not isinstance(id, str) or not isinstance(answer, str):
            raise ValueError("id or answer is missing or not text")
        if id not in known:
            raise ValueError(f"id {id!r} is not among the tasks")
        if id in seen:
            raise ValueError(f"id {id!r} is there already")
        seen.add(id)
        return id, answer

    try:
        return dict(files.read(path, parse, "answers"))
    except UserError as e:
        hint = "; the command `questions` lists the ids" if "not among" in str(e) else ""
        raise UserError(str(e).replace("; --skip-bad leaves them out", "") + hint) from e
