"""Turns what a sandbox saw into verdicts, and verdicts into numbers."""

from typing import Any

__all__ = ["grade_batch"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `python -m evaluator.grade` must not find itself imported already.
    if name == "grade_batch":
        from evaluator.grade import grade_batch

        return grade_batch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
