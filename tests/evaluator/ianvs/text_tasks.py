"""Comment and issue tasks for the tests of the export, and a judge that reads the answer it is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from evaluator.ianvs_rows import Kind, TextTask, read_texts

CODE = "def double(x):\n    y = x + x\n    return y\n"
LINES = {
    "id": "marked",
    "code_snippet": CODE,
    "annotations": [{"line_number": 2, "annotation": "add x to itself"}],
}
PAIR = {"id": "whole", "code_snippet": CODE, "comment": "Doubles a number"}
ISSUE = {
    "question": "double(None) fails",
    "body": "It should say so.",
    "answer_1": {"body": "Check the argument.", "user_login": "ann"},
    "answer_2": {"body": "Raise a TypeError.", "user_login": "ben"},
    "instance_id": "x-1",
}
ROWS: dict[Kind, list[dict[str, Any]]] = {"comments": [LINES, PAIR], "issues": [ISSUE]}
SHOWN = re.compile(r"<<<(answer \w+)>>>\n(.*)\n<<<end \1>>>", re.DOTALL)


def write(folder: Path, kind: Kind, rows: list[dict[str, Any]] | None = None) -> Path:
    path = folder / f"{kind}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS[kind]))
    return path


def tasks(folder: Path, kind: Kind, rows: list[dict[str, Any]] | None = None) -> list[TextTask]:
    return read_texts(kind, write(folder, kind, rows))


def judge(url: str, **options: Any) -> dict[str, Any]:
    """As the export writes it down."""
    defaults = {
        "endpoint": url, "model": "scripted", "key_variable": "JUDGE_KEY", "timeout_s": 5.0, "retries": 0,
        "parallel": 1, "max_tokens": 100, "local": "", "adapter": None, "max_length": 1024, "engine": "auto",
    }  # fmt: skip
    return {f"judge_{name}": value for name, value in {**defaults, **options}.items()}


def verdict(prompt: str) -> str:
    """10s and yes for an answer with "right" in it, 1s and no for one with "wrong", else not JSON."""
    found = SHOWN.search(prompt)
    assert found is not None, prompt
    if "right" in found[2] or "wrong" in found[2]:
        good = "right" in found[2]
        scale = dict.fromkeys(("logic", "accuracy", "format"), 10 if good else 1)
        return json.dumps({**scale, "correct": good, "reason": "as it says"})
    return "I would rather not say."
