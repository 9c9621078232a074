"""The rates of a run that is over, read from its directory."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs.estimate.hardware import Kind
from srs.estimate.rates import Rate, Rates
from srs.types import UserError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What a run says of itself. A CPU is one device, however many engines and ranks share it."""

    model: str
    kind: str
    words: str
    generating: int
    """Devices that generated."""
    training: int
    took_turns: bool


def of_run(path: Path, *, model: str, kind: Kind) -> Rates:
    """Means over the rounds that a run finished, speeds for one of its devices.

    Prompts are counted in characters, at the completions' own characters per token. Generation's seconds
    are those of a rollout until its last candidate, so they include what grading took from it. Where the
    run took turns, training's include the start of its process, and a rollout's the engines' way back
    unless an evaluation came first: what the speeds include costs nothing more.
    Raises UserError when ``path`` is no run, or one of another model or on another kind of device, or no
    round with candidates is finished.
    """
    ran = _ran(path)
    if ran.model != model:
        raise UserError(
            f"{path}: a run of {ran.model}, not of {model}: its rates say nothing about it"
        )
    if ran.kind != kind:
        raise UserError(
            f"{path}: a run on {ran.kind}, and this plan is for {kind}: let --device name one of its "
            "kind (no --device is a CPU), or measure there"
        )
    closed = list(_lines(path / "metrics.jsonl"))
    rounds = [r for r in closed if r["n_candidates"]]
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
    source = f"{path.name}, {len(rounds)} rounds, {ran.words}"
    generate_s = sum(r["seconds"].get("generate", 0.0) for r in rounds)
    train_s = sum(r["seconds"].get("train", 0.0) for r in rounds)
    trained = sum(r["sft_tokens"] for r in rounds) * (1 + prompt / completion)
    values = {
        "generate_tokens_per_s": tokens / generate_s / ran.generating if generate_s else 0.0,
        "train_tokens_per_s": trained / train_s / ran.training if train_s else 0.0,
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
    if ran.took_turns:
        within = Rate(value=0.0, source=f"within the speeds of {path.name}", measured=True)
        found["train_start_s"] = within
        came_back = sum(
            not before["seconds"].get("eval", 0.0)
            for before, r in itertools.pairwise(closed)
            if r["n_candidates"]
        )
        if 2 * came_back > len(rounds):
            found["engine_turn_s"] = within
    return found


def spent_s(path: Path) -> float:
    """Seconds of all phases of all rounds of a run."""
    return sum(sum(r["seconds"].values()) for r in _lines(path / "metrics.jsonl"))


def _ran(path: Path) -> _Ran:
    """Raises UserError when ``path`` is no run that came as far as its first round."""
    config, environment = _object(path / "config.json"), _object(path / "environment.json")
    try:
        devices, generator, tuner = (
            config["devices"],
            environment["generator"],
            environment["tuner"],
        )
        kind = generator["device"]
        # Runs older than these keys had one engine and one process.
        engines, processes = generator.get("replicas", 1), tuner.get("processes", 1)
        generating = engines * devices["tensor_parallel"]
        words = f"{generator['engine']} on {kind}, {environment['cores']} cores"
        if kind == "cpu":
            generating = processes = 1
        else:
            words += f", {generating} devices generate, {processes} train"
        splits = devices["placement"] == "split" or devices["async_rounds"] > 0
        in_turns = kind != "cpu" and not splits and devices.get("cluster", "local") == "local"
        return _Ran(
            model=config["model"]["path"],
            kind=kind,
            words=words,
            generating=generating,
            training=processes,
            took_turns=in_turns,
        )
    except (KeyError, TypeError, AttributeError) as e:
        raise UserError(f"{path}: not a run: its config or environment lacks {e}") from e


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: not a run's: {e}: give a run directory") from e
    if not isinstance(found, dict):
        raise UserError(f"{file}: not a run's: give a run directory")
    return found


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
