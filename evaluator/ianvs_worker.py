"""What an exported Ianvs job calls: writes answers, or grades them, in this project's environment.

    python -m evaluator.ianvs_worker generate --job DIR --out DIR --adapter ROW --questions F.json
    python -m evaluator.ianvs_worker grade    --job DIR --out DIR --answers F.json

Questions and predictions come from Ianvs, the rest from the job folder (`evaluator.ianvs_job`).
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import logging
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from evaluator import ianvs_rows
from evaluator.ianvs_rows import Kind, Row
from srs.types import Candidate, UserError

if TYPE_CHECKING:
    from srs.config import Config
    from srs.progress import Progress

logger = logging.getLogger(__name__)
TEST_DATA = Path("dataset") / "test_data"


def generate(job: Path, row: str, questions: Sequence[str], out: Path) -> None:
    """One greedy answer per question → ``predictions.jsonl``, in their order.

    Raises UserError, for a row that the job hasn't or a question that isn't in its data too, and
    ChildError when the model's process died.
    """
    from srs.generate import Policy, Request, Sampling, open_generator
    from srs.progress import Progress
    from srs.streams import derive_seed

    settings = _settings(job)
    config = _on_these_devices(_config(settings))
    if row not in settings["rows"]:
        raise UserError(f"{job}: has no row {row!r}, only {', '.join(settings['rows'])}")
    adapter = settings["rows"][row]
    rows = _asked(job, settings, questions)
    requests = [
        Request(task=r.task, seed=derive_seed(config.run.seed, 0, "evaluate-greedy", r.id))
        for r in rows
    ]
    sampling = Sampling(n=1, temperature=0.0, top_p=1.0, max_tokens=config.generate.max_tokens)
    policy = Policy(name=row, adapter=job / adapter if adapter else None)
    answers: dict[str, Candidate] = {}
    with Progress(0) as progress, open_generator(config, out / "generate.log") as generator:
        with progress.phase("load model"):
            generator.ready()
        with progress.phase(f"{row}: answers", len(rows)) as advance:
            for candidate in generator.generate(
                requests, policy=policy, sampling=sampling, round=0
            ):
                answers[candidate.task] = candidate
                advance(1)
    _write(out / "predictions.jsonl", [_prediction(r, answers[r.task.id]) for r in rows])


def _prediction(row: Row, answer: Candidate) -> dict[str, Any]:
    found: dict[str, Any] = {"id": row.id, "benchmark": row.benchmark}
    found["completion"] = answer.completion
    if row.item is None:
        found["code"] = answer.code
    return {**found, "truncated": answer.truncated}


def grade(job: Path, answers: Sequence[str], predictions: Sequence[str], out: Path) -> None:
    """``grades.jsonl``, one line per answer in their order, and ``summary.json``.

    A line: see `evaluator.ianvs_grading.Grade`. A judge that can't be asked leaves its values None, for
    all answers, and its reason in ``failure.txt``. Raises UserError, SandboxError.
    """
    from evaluator import ianvs_grading as grading
    from sandbox.pool import open_sandbox
    from srs.environment import cache_dir
    from srs.progress import Progress

    settings = _settings(job)
    rows = [_row(job, settings, text, position) for position, text in enumerate(answers)]
    with Progress(0) as progress:
        if settings["kind"] == "code":
            config = _config(settings).sandbox
            cache_path = cache_dir() / "references.sqlite"
            with open_sandbox(config) as sandbox:
                grades = grading.grade_code(
                    rows, predictions, sandbox, limits=config.limits, cache_path=cache_path, progress=progress
                )  # fmt: skip
        else:
            grades = grading.grade_texts(rows, predictions)
            if settings["judge"]:
                _judge(settings["judge"], rows, predictions, grades, out, progress)
    _write(out / "grades.jsonl", grades)
    (out / "summary.json").write_text(json.dumps(_summary(settings, grades), indent=1) + "\n")


def _judge(
    judge: dict[str, Any],
    rows: Sequence[Row],
    predictions: Sequence[str],
    grades: Sequence[dict[str, Any]],
    out: Path,
    progress: Progress,
) -> None:
    """Put the judge's values into the grades."""
    from evaluator.ianvs_grading import judge_texts
    from evaluator.judging.asking import AskError
    from evaluator.judging.asking_options import opened
    from srs import config, generate
    from srs.child import ChildError

    adapter = judge["judge_adapter"]
    args = argparse.Namespace(**{**judge, "judge_adapter": Path(adapter) if adapter else None})
    loop = types.SimpleNamespace(config=config, generate=generate)
    try:
        with opened(args, "judge-", lambda: loop, out / "judge.generate.log") as asker:
            assert asker is not None
            with progress.phase("judge", len(rows), unit="replies") as advance:
                judged = judge_texts(rows, predictions, asker, out / "judge.jsonl", advance)
    except (AskError, ChildError, UserError) as e:
        reason = f"not judged: {e}"
        progress.note(reason)
        with (out / "failure.txt").open("a", encoding="utf-8") as file:
            file.write(reason + "\n")
        for found in grades:
            found["detail"] = reason
        return
    for found, (values, note) in zip(grades, judged, strict=True):
        found["values"] |= values
        found["detail"] = note


def _summary(
    settings: dict[str, Any], grades: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Each metric with its 95% interval over tasks and over how many it was measured."""
    from evaluator.metrics import mean_with_interval

    result: dict[str, dict[str, Any]] = {}
    for metric in settings["metrics"]:
        mine = [g for g in grades if metric["benchmark"] in (None, g["benchmark"])]
        found = [(g["values"] or {}).get(metric["value"]) for g in mine]
        values = [value for value in found if value is not None]
        entry: dict[str, Any] = {"n_measured": len(values), "n_tasks": len(mine), "value": None}
        if values:
            bounds = (metric.get("lowest", 0.0), metric.get("highest", 1.0))
            entry |= mean_with_interval(values, bounds=bounds)
        result[metric["name"]] = entry
    return result


def _asked(job: Path, settings: dict[str, Any], questions: Sequence[str]) -> list[Row]:
    """The data's row for each question; equal questions are told apart by their order."""
    known: dict[str, collections.deque[str]] = {}
    path = job / TEST_DATA / "data.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        known.setdefault(row["question"], collections.deque()).append(row["answer"])
    rows = []
    for position, question in enumerate(questions):
        answers = known.get(question)
        if not answers:
            raise UserError(f"question {position + 1} is not in {path}: export the job again")
        rows.append(_row(job, settings, answers.popleft(), position))
    return rows


def _row(job: Path, settings: dict[str, Any], answer: str, position: int) -> Row:
    return ianvs_rows.read(settings["kind"], answer, position, job / TEST_DATA)


def _settings(job: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((job / "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{job / 'job.json'}: cannot be read: {e}") from e
    if settings["kind"] not in get_args(Kind):
        raise UserError(
            f"{job / 'job.json'}: kind {settings['kind']!r} is not one that can be graded"
        )
    return settings


def _config(settings: dict[str, Any]) -> Config:
    from srs.config import from_dict

    return from_dict(settings["config"], "job.json")


def _on_these_devices(config: Config) -> Config:
    """With as many engines as fit on what `op_eval` shows, however many the run had. A CPU has no groups."""
    from srs import device
    from srs.config import DevicesConfig

    size = 1 if device.detect().kind == "cpu" else config.devices.tensor_parallel
    return dataclasses.replace(config, devices=DevicesConfig(tensor_parallel=size))


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    partial.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 done, 1 the model's process died, 2 unusable input, 3 a broken sandbox, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluator.ianvs_worker", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("generate", "grade"):
        command = commands.add_parser(name)
        command.add_argument("--job", type=Path, required=True, help="the exported folder")
        command.add_argument("--out", type=Path, required=True, help="where the results go")
        if name == "generate":
            command.add_argument("--adapter", required=True, help="a row of the job")
            command.add_argument("--questions", type=Path, required=True)
        else:
            command.add_argument("--answers", type=Path, required=True)
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")
    from srs.ending import exit_code

    def work() -> None:
        if args.command == "generate":
            questions = json.loads(args.questions.read_text(encoding="utf-8"))["questions"]
            generate(args.job, args.adapter, questions, args.out)
        else:
            given = json.loads(args.answers.read_text(encoding="utf-8"))
            grade(args.job, given["answers"], given["predictions"], args.out)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
