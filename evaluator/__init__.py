"""Turns what a sandbox saw into verdicts, and verdicts into numbers."""

from evaluator.grade import grade_batch

__all__ = ["grade_batch"]
