"""What a training run's directory gives an Ianvs job: its rows, its tasks and its lifelong matrix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluator.ianvs_job import DeviceName, Job
from evaluator.round_results import lifelong_results, rounds_done
from srs.types import Task, UserError

DEVICES: Mapping[str, DeviceName] = {"cuda": "gpu", "npu": "npu", "cpu": "cpu"}
HELD_OUT = "held_out"


def job_of_run(
    run: Path,
    *,
    config: Mapping[str, Any],
    held_out: Sequence[Task],
    train: Iterable[Task],
    licence: str | None = None,
) -> Job:
    """A job that tests base, last LoRA round and DPO on ``held_out``.

    ``config``: the run's, as nested dicts. Of ``train``, the tasks that the run practised are taken.
    Raises UserError for a file of the run that can't be read.
    """
    seen = _practised(run)
    model = dict(config["model"])
    if model["path"] != "tiny" and Path(model["path"]).expanduser().is_dir():
        model["path"] = str(Path(model["path"]).expanduser().resolve())  # Ianvs starts elsewhere
    return Job(
        run=run,
        rows=rows_of(run),
        tests={HELD_OUT: list(held_out)},
        train=[task for task in train if task.id in seen],
        config={**config, "model": model},
        device=device_of(run),
        lifelong=lifelong_results(run),
        licence=licence,
    )


def rows_of(run: Path) -> dict[str, Path | None]:
    """Base, last LoRA round (``round10``) and DPO, as far as the run has them.

    The adapter of a round that is not complete is none yet.
    """
    folder, done = run / "adapters", max(rounds_done(run), default=0)
    numbers = [int(p.name) for p in folder.glob("*") if p.name.isdigit() and int(p.name) <= done]
    rows: dict[str, Path | None] = {"base": None}
    if numbers:
        rows[f"round{max(numbers)}"] = folder / f"{max(numbers):04d}"
    if (folder / "dpo").is_dir():
        rows["dpo"] = folder / "dpo"
    return rows


def device_of(run: Path) -> DeviceName:
    """What the run generated on; cpu when its environment.json doesn't say."""
    path = run / "environment.json"
    if not path.is_file():
        return "cpu"
    return DEVICES.get(read_json(path).get("generator", {}).get("device", ""), "cpu")


def dropped_of(run: Path) -> frozenset[str]:
    """Tasks that the run left out because their reference fails."""
    path = run / "tasks_dropped.jsonl"
    if not path.is_file():
        return frozenset()
    try:
        return frozenset(json.loads(line)["task"] for line in path.read_text().splitlines())
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e


def read_json(path: Path) -> dict[str, Any]:
    """Raises UserError."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e
    return value


def _practised(run: Path) -> frozenset[str]:
    plans = (read_json(path) for path in sorted((run / "rounds").glob("*/plan.json")))
    return frozenset(task for plan in plans for task in (*plan["new"], *plan["review"]))
