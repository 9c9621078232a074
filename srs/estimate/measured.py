"""The rates of a run that is over, read from its directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs.estimate.rates import Rate, Rates
from srs.types import UserError


def of_run(path: Path) -> Rates:
    """Means over the rounds that a run finished.

    Prompts are counted in characters, at the completions' own characters per token. Generation's seconds
    are those of a rollout until its last candidate, so they include what grading took from it.
    Raises UserError when ``path`` is no run or no round with candidates is finished.
    """
    rounds = [r for r in _lines(path / "metrics.jsonl") if r["n_candidates"]]
    folders = [path / "rounds" / f"{r['round']:04d}" for r in rounds]
    if not rounds:
        raise UserError(f"{path}: no finished round with candidates in its metrics.jsonl")
    n = tokens = prompt_characters = characters = size = 0
    for folder in folders:
        size += (folder / "verdicts.jsonl").stat().st_size if folder.is_dir() else 0
        for c in _lines(folder / "candidates.jsonl"):
            n += 1
            tokens += c["n_tokens"]
            prompt_characters += len(c["prompt"])
            characters += len(c["completion"])
        size += (folder / "candidates.jsonl").stat().st_size
    wall = [v["wall_s"] for folder in folders for v in _lines(folder / "verdicts.jsonl")]
    if not tokens or not characters:
        raise UserError(f"{path}: its candidates are all empty: nothing to measure")
    completion = tokens / n
    prompt = prompt_characters / n * tokens / characters
    source = f"{path.name}, {len(rounds)} rounds{_where(path)}"
    generate_s = sum(r["seconds"].get("generate", 0.0) for r in rounds)
    train_s = sum(r["seconds"].get("train", 0.0) for r in rounds)
    trained = sum(r["sft_tokens"] for r in rounds) * (1 + prompt / completion)
    values = {
        "generate_tokens_per_s": tokens / generate_s if generate_s else 0.0,
        "train_tokens_per_s": trained / train_s if train_s else 0.0,
        "grade_core_s": sum(wall) / len(wall),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "candidate_bytes": size / n,
    }
    found = {
        name: Rate(value=value, source=source, measured=True)
        for name, value in values.items()
        if value > 0
    }
    other_s = sum(r["seconds"].get("plan", 0.0) for r in rounds)
    found["round_overhead_s"] = Rate(value=other_s / len(rounds), source=source, measured=True)
    return found


def spent_s(path: Path) -> float:
    """Seconds of all phases of all rounds of a run."""
    return sum(sum(r["seconds"].values()) for r in _lines(path / "metrics.jsonl"))


def _where(path: Path) -> str:
    """What the run ran on, as far as it says."""
    file = path / "environment.json"
    if not file.is_file():
        return ""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read: {e}") from e
    generator = found.get("generator", {})
    return f", {generator.get('engine', '?')} on {generator.get('device', '?')}, {found.get('cores', '?')} cores"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError as e:
                    raise UserError(f"{path}, line {number}: not JSON: {e}") from e
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}: give a finished run") from e
