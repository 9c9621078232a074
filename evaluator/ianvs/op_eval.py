"""Calls the training project's own Python, which generates and grades. Runs on Python 3.8.

Environment: ``SRS_PYTHON`` (its interpreter), ``SRS_DEVICE`` (gpu, npu or cpu), ``SRS_DEVICES`` (such as
``0`` or ``2,3``). Each has its default in job.json.

Ianvs throws the whole leaderboard away when one test case raises, so here nothing does: what goes wrong
is logged, written to failure.txt beside the predictions, and leaves that row's scores blank.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence

JOB = Path(__file__).resolve().parents[2]
VISIBLE = {"gpu": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}
OF_THIS_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
LAST_LINES = 5

logger = logging.getLogger("ianvs")
_graded: dict[str, list[dict[str, Any]] | WorkerFailed] = {}


class WorkerFailed(Exception):
    """The other Python could not do its work; the message ends with its last lines."""


def job() -> dict[str, Any]:
    """job.json, as written by the export."""
    settings: dict[str, Any] = json.loads((JOB / "job.json").read_text(encoding="utf-8"))
    return settings


def adapter_folder(name: str) -> str | None:
    """Where the adapter's weights are; None for the base model and for an unknown name."""
    relative = job()["rows"].get(name)
    return str(JOB / relative) if relative else None


def predict(adapter: str, questions: Sequence[str]) -> list[str]:
    """As many JSON texts as questions. Doesn't raise."""
    folder = _results()
    try:
        _write(folder / "questions.json", {"questions": list(questions)})
        _work("generate", folder, "--adapter", adapter, "--questions", folder / "questions.json")
        predictions = _lines(folder / "predictions.jsonl")
        if len(predictions) != len(questions):
            raise WorkerFailed(f"{len(predictions)} answers to {len(questions)} questions")
        return predictions
    except Exception as e:  # the boundary to Ianvs: see the head of this file
        reason = _failed(folder, f"adapter {adapter}: no predictions: {e}")
        return [json.dumps({"error": reason})] * len(questions)


def score(value: str, benchmark: str | None, y_true: Sequence[Any], y_pred: Sequence[Any]) -> float:
    """The mean of ``value`` over the graded answers, of one benchmark or (None) of all. Doesn't raise.

    Answers for which it is None don't count. NaN, a blank on the leaderboard, when the case failed or
    nothing could be graded.
    """
    folder = _results()
    try:
        items = _grade(folder, [str(y) for y in y_true], [str(y) for y in y_pred])
        found = [
            (item["values"] or {}).get(value)
            for item in items
            if benchmark in (None, item["benchmark"])
        ]
        values = [number for number in found if number is not None]
        return round(sum(values) / len(values), 6) if values else float("nan")
    except Exception as e:  # the boundary to Ianvs: see the head of this file
        _failed(folder, f"{value}: not measured: {e}")
        return float("nan")


def environment(settings: Mapping[str, Any], base: Mapping[str, str]) -> dict[str, str]:
    """``base`` for the other Python: nothing of this one's, and one kind of device visible."""
    env = {key: value for key, value in base.items() if key not in OF_THIS_PYTHON}
    kind = env.get("SRS_DEVICE") or settings["device"]
    if kind not in ("gpu", "npu", "cpu"):
        raise WorkerFailed(f"SRS_DEVICE is {kind!r}: set it to gpu, npu or cpu")
    engine = ",".join(map(str, range(settings["config"]["devices"]["tensor_parallel"])))
    for name in VISIBLE.values():
        mine = name == VISIBLE.get(kind)
        env[name] = (env.get("SRS_DEVICES") or env.get(name) or engine) if mine else ""
    if settings["project"] and Path(settings["project"]).is_dir():
        env["PYTHONPATH"] = settings["project"]
    env["PYTHONSAFEPATH"] = "1"  # the job's folders must not hide packages
    return env


def _grade(folder: Path, y_true: list[str], y_pred: list[str]) -> list[dict[str, Any]]:
    """One item per answer; all metrics of a case share one grading. Raises WorkerFailed."""
    if len(y_true) != len(y_pred):
        raise WorkerFailed(f"{len(y_pred)} predictions for {len(y_true)} tasks")
    key = hashlib.sha256(json.dumps([str(folder), y_true, y_pred]).encode()).hexdigest()
    if key not in _graded:
        errors = [_error(text) for text in y_pred]
        if errors and None not in errors:
            _graded[key] = WorkerFailed(errors[0])
        else:
            _write(folder / "answers.json", {"answers": y_true, "predictions": y_pred})
            try:
                _work("grade", folder, "--answers", folder / "answers.json")
                _graded[key] = [json.loads(line) for line in _lines(folder / "grades.jsonl")]
            except WorkerFailed as e:
                _graded[key] = e
    found = _graded[key]
    if isinstance(found, WorkerFailed):
        raise found
    return found


def _error(text: str) -> str | None:
    with contextlib.suppress(ValueError):
        prediction = json.loads(text)
        if isinstance(prediction, dict) and prediction.get("error"):
            return str(prediction["error"])
    return None


def _work(command: str, folder: Path, *arguments: Any) -> None:
    """Run the worker; its lines appear here and in worker.log. Raises WorkerFailed."""
    settings = job()
    python = os.environ.get("SRS_PYTHON") or settings["python"]
    line = [python, "-m", "evaluator.ianvs_worker", command, "--job", JOB, "--out", folder]
    last: list[str] = []
    with (folder / "worker.log").open("a", encoding="utf-8") as log:
        try:
            process = subprocess.Popen(
                [str(part) for part in (*line, *arguments)],
                cwd=str(JOB),
                env=environment(settings, os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as e:
            raise WorkerFailed(f"cannot run {python}: {e.strerror}; set SRS_PYTHON") from e
        with process:
            try:
                for output in process.stdout or ():
                    log.write(output)
                    sys.stderr.write(output)
                    last = [*last, output.strip()][-LAST_LINES:]
                code = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
    if code:
        raise WorkerFailed(f"exit {code}: {' | '.join(last)}")


def _results() -> Path:
    """This test case's folder: Ianvs names it but doesn't make it."""
    folder = Path(os.environ.get("RESULT_SAVED_URL") or JOB / "workspace" / "output").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        logger.error("%s: cannot be made: %s", folder, e)
    return folder


def _failed(folder: Path, reason: str) -> str:
    logger.error("%s", reason)
    try:
        with (folder / "failure.txt").open("a", encoding="utf-8") as file:
            file.write(reason + "\n")
    except OSError as e:
        logger.error("%s: cannot be written: %s", folder / "failure.txt", e)
    return reason


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
