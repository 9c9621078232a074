"""Which tasks a run solved after which round, read from its directory.

Two sources, kept apart as they say different things:

- ``practice``: the candidates of each round, which the weights of the round before wrote. They are what
  the schedule drew, so most cells are covered in part, and a partial cell stays empty: the tasks that came
  back are not a fair sample. Audits and probes count too. Nothing measures the weights after the last
  round, so the matrix ends one round earlier.
- ``panel``: training tasks that every evaluation samples, whatever the schedule does (``eval.panel``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluator.lifelong import Observation, measured, report
from srs.types import UserError

PANEL_NOTE = (
    "tasks of the panel, the first that come up as new ones; measured with eval.n samples each at every "
    "evaluation and in eval.panel_rounds"
)
PRACTICE_NOTE = (
    "tasks by the round that first practised them; measured by the candidates that the next round drew, "
    "so a cell is a number only where the schedule drew every task of the column; the weights after the "
    "last round drew none and have no row"
)


def lifelong_results(run: Path) -> dict[str, Any]:
    """``{"practice", "panel"}``, each as `evaluator.lifelong.report` with a ``source`` in words, or None.

    Only rounds that are complete count. Raises UserError for a file that can't be read.
    """
    rounds = rounds_done(run)
    first: dict[str, int] = {}
    for number in rounds:
        for task in _plan(run, number).get("new", ()):
            first.setdefault(task, number)
    return {
        "practice": _practice(run, rounds, first),
        "panel": _panel(run, rounds, first),
    }


def rounds_done(run: Path) -> list[int]:
    """The rounds that are complete, in order; 0 is the base model's. Raises UserError."""
    metrics = run / "metrics.jsonl"
    return sorted({int(line["round"]) for line in _lines(metrics)}) if metrics.is_file() else []


def _practice(run: Path, rounds: list[int], first: dict[str, int]) -> dict[str, Any] | None:
    if not first or len(rounds) < 2:
        return None
    seen = [
        Observation(
            after=max(before for before in rounds if before < number),
            task=verdict["task"],
            passed=int(verdict["outcome"] == "passed"),
            graded=1,
        )
        for number in rounds
        if number > 0
        for verdict in _lines(_round(run, number) / "verdicts.jsonl")
    ]
    return {"source": PRACTICE_NOTE, **report(measured(first, rounds[:-1], seen))}


def _panel(run: Path, rounds: list[int], first: dict[str, int]) -> dict[str, Any] | None:
    seen: list[Observation] = []
    rows: list[int] = []
    for number in rounds:
        panel = _measured_panel(_round(run, number))
        if panel:
            rows.append(number)
            seen += [
                Observation(after=number, task=task, passed=a[0] + b[0], graded=a[1] + b[1])
                for task, (a, b) in panel.items()
            ]
    tasks = {o.task for o in seen}
    counted = {task: round for task, round in first.items() if task in tasks}
    if not counted or rows[0] != 0:
        return None
    return {"source": PANEL_NOTE, **report(measured(counted, rows, seen))}


def _measured_panel(round: Path) -> dict[str, Any]:
    """Of an evaluation, or of the panel alone; empty when neither was due."""
    files = (round / "evaluation.json", round / "panel.json")
    panel: dict[str, Any] = next((_json(f).get("panel") or {} for f in files if f.is_file()), {})
    return panel


def _round(run: Path, number: int) -> Path:
    return run / "rounds" / f"{number:04d}"


def _plan(run: Path, number: int) -> dict[str, Any]:
    path = _round(run, number) / "plan.json"
    return _json(path) if path.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: cannot be read: {e}; continue the run with --resume") from e
    return value


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Raises UserError."""
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: cannot be read: {e}; continue the run with --resume") from e
