"""Preference pairs from files: what DPO may be given beside a run's own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

from srs.types import Outcome, PreferencePair, UserError

BAD_LINES_SHOWN = 20
FIELDS = {field.name: field.type for field in dataclasses.fields(PreferencePair)}
TEXTS = ("task", "prompt", "chosen", "rejected", "chosen_policy", "rejected_policy")
ROUNDS = ("chosen_round", "rejected_round")


def load_pairs(path: Path) -> list[PreferencePair]:
    """The pairs of a JSON Lines file, in order: a run's ``pairs.jsonl``, a repair's, or an import's.

    Raises UserError naming every unusable line, or when the file can't be read or holds no pair.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as e:
        raise UserError(f"{path}: cannot read the pairs: {e.strerror}") from e
    pairs, bad = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                pairs.append(_pair(line))
            except ValueError as e:
                bad.append(f"{path}:{number}: {e}")
    if bad:
        more = [f"and {len(bad) - BAD_LINES_SHOWN} more"] if len(bad) > BAD_LINES_SHOWN else []
        raise UserError("unusable pairs:\n  " + "\n  ".join(bad[:BAD_LINES_SHOWN] + more))
    if not pairs:
        raise UserError(f"{path}: holds no pair")
    return pairs


def _pair(line: bytes) -> PreferencePair:
    """Raises ValueError saying what is wrong with the line."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"not valid JSON: {e}") from e
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    missing = [name for name in FIELDS if name not in row]
    unknown = [name for name in row if name not in FIELDS]
    if missing or unknown:
        said = [f"{', '.join(missing)} missing"] * bool(missing)
        said += [f"{', '.join(unknown)} unknown"] * bool(unknown)
        raise ValueError("; ".join(said))
    for name in TEXTS:
        if not isinstance(row[name], str):
            raise ValueError(f"{name} must be text")
    for name in ROUNDS:
        if type(row[name]) is not int or row[name] < 0:
            raise ValueError(f"{name} must be a whole number, 0 or more")
    share = row["rejected_tests_passed"]
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise ValueError("rejected_tests_passed must be a number from 0 to 1")
    if row["rejected_outcome"] not in get_args(Outcome):
        raise ValueError(f"rejected_outcome must be one of {', '.join(get_args(Outcome))}")
    for name in ("task", "prompt", "chosen", "rejected"):
        if not row[name].strip():
            raise ValueError(f"{name} is empty")
    if row["chosen"] == row["rejected"]:
        raise ValueError("chosen and rejected are the same text")
    return PreferencePair(**row)
