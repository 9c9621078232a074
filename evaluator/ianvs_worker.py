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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluator.benchmarks import Opening
from srs.types import Candidate, Task, UserError, Verdict, from_json

if TYPE_CHECKING:
    from srs.config import Config

logger = logging.getLogger(__name__)
TEST_DATA = Path("dataset") / "test_data"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the test data. ``task.id`` is its position; ``id`` is the benchmark's own."""

    benchmark: str
    id: str
    task: Task
    opening: Opening


def generate(job: Path, row: str, questions: Sequence[str], out: Path) -> None:
    """One greedy answer per question → ``predictions.jsonl``, in their order.

    Raises UserError, for a row that the job hasn't or a question that isn't in its data too, and
    ChildError when the model's process died.
    """
    from srs.generate import Policy, Request, Sampling, open_generator
    from srs.progress import Progress
    from srs.streams import derive_seed

    settings = _settings(job)
    config = _config(settings)
    if row not in settings["rows"]:
        raise UserError(f"{job}: has no row {row!r}, only {', '.join(settings['rows'])}")
    adapter = settings["rows"][row]
    rows = _asked(job, questions)
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
    _write(
        out / "predictions.jsonl",
        [
            {
                "id": r.id,
                "benchmark": r.benchmark,
                "completion": answers[r.task.id].completion,
                "code": answers[r.task.id].code,
                "truncated": answers[r.task.id].truncated,
            }
            for r in rows
        ],
    )


def grade(job: Path, answers: Sequence[str], predictions: Sequence[str], out: Path) -> None:
    """``grades.jsonl``, one line per answer in their order, and ``summary.json``.

    A line: ``id, benchmark, values`` (metric → number; None where nothing can be measured, ``detail``
    says why). Raises UserError, SandboxError.
    """
    settings = _settings(job)
    rows = [_row(job, text, position) for position, text in enumerate(answers)]
    match settings["kind"]:
        case "code":
            grades = _grade_code(_config(settings), rows, predictions)
        case kind:
            raise UserError(f"{job / 'job.json'}: kind {kind!r} is not one that can be graded")
    _write(out / "grades.jsonl", grades)
    (out / "summary.json").write_text(json.dumps(_summary(settings, grades), indent=1) + "\n")


def _grade_code(
    config: Config, rows: Sequence[Row], predictions: Sequence[str]
) -> list[dict[str, Any]]:
    """Verdicts of the sandbox. A task whose own reference fails here is not measured."""
    from evaluator.grade import grade_batch
    from evaluator.reference import verify
    from sandbox.pool import open_sandbox
    from srs.environment import cache_dir
    from srs.progress import Progress

    candidates = [_candidate(r, text) for r, text in zip(rows, predictions, strict=True)]
    limits = config.sandbox.limits
    with Progress(0) as progress, open_sandbox(config.sandbox) as sandbox:
        referenced = [r.task for r in rows if r.task.reference is not None]
        with progress.phase("verify references", len(referenced)) as advance:
            expectations, dropped = verify(
                referenced,
                sandbox,
                cache_dir() / "references.sqlite",
                limits=limits,
                advance=advance,
            )
        unusable = {drop.task: f"its reference fails here: {drop.reason}" for drop in dropped}
        if unusable:
            progress.note(f"{len(unusable)} of {len(rows)} tasks not measured: reference fails")
        judged = [c for c in candidates if c.task not in unusable]
        verdicts: dict[str, Verdict] = {}
        with progress.phase("grade", len(judged)) as advance:
            for verdict in grade_batch(
                [r.task for r in rows], judged, sandbox, expectations=expectations, limits=limits
            ):
                verdicts[verdict.task] = verdict
                advance(1)
    return [_grade_of(r, verdicts.get(r.task.id), unusable.get(r.task.id, "")) for r in rows]


def _grade_of(row: Row, verdict: Verdict | None, reason: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": row.id, "benchmark": row.benchmark}
    if verdict is None:
        return {**found, "values": None, "outcome": None, "detail": reason}
    values = {
        "pass_at_1": float(verdict.passed),
        "format_error_rate": float(verdict.outcome == "no_code"),
    }
    return {**found, "values": values, "outcome": verdict.outcome, "detail": verdict.detail}


def _summary(
    settings: dict[str, Any], grades: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Each metric with its bootstrap 95% interval over tasks and how many were measured."""
    from evaluator.metrics import bootstrap_ci

    result: dict[str, dict[str, Any]] = {}
    for metric in settings["metrics"]:
        mine = [g for g in grades if metric["benchmark"] in (None, g["benchmark"])]
        values = [g["values"][metric["value"]] for g in mine if g["values"] is not None]
        entry: dict[str, Any] = {"n_measured": len(values), "n_tasks": len(mine), "value": None}
        if values:
            low, high = bootstrap_ci(values)
            entry |= {"value": sum(values) / len(values), "low": low, "high": high}
        result[metric["name"]] = entry
    return result


def _candidate(row: Row, text: str) -> Candidate:
    """The prediction, which any model may have written: JSON as `generate` gives it, or plain text."""
    from evaluator.generations import program

    try:
        prediction = json.loads(text)
    except ValueError:
        prediction = None
    if not isinstance(prediction, dict) or not isinstance(prediction.get("completion"), str):
        prediction = {"completion": "" if _is_error(prediction) else text}
    completion = prediction["completion"]
    return Candidate(
        task=row.task.id,
        round=0,
        index=0,
        prompt="",
        completion=completion,
        code=program(row.task, completion, row.opening),
        policy="ianvs",
        seed=0,
        n_tokens=0,
        truncated=False,
    )


def _is_error(prediction: Any) -> bool:
    return isinstance(prediction, dict) and "error" in prediction


def _asked(job: Path, questions: Sequence[str]) -> list[Row]:
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
        rows.append(_row(job, answers.popleft(), position))
    return rows


def _row(job: Path, answer: str, position: int) -> Row:
    """Raises UserError when it isn't an ``answer`` that the export wrote."""
    path = job / TEST_DATA
    try:
        fields = json.loads(answer)
        benchmark, test_file = fields.pop("benchmark"), fields.pop("test_file", None)
        opening = Opening(**fields.pop("opening"))
        if test_file:
            fields["test"] = (path / test_file).read_bytes().decode()
        task = from_json(Task, fields)
        placed = dataclasses.replace(task, id=str(position))
        return Row(benchmark=benchmark, id=task.id, task=placed, opening=opening)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
        raise UserError(
            f"{path / 'data.jsonl'}:{position + 1}: its answer is no task of an exported job ({e}): "
            "export the job again"
        ) from e


def _settings(job: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((job / "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{job / 'job.json'}: cannot be read: {e}") from e
    return settings


def _config(settings: dict[str, Any]) -> Config:
    from srs.config import from_dict

    return from_dict(settings["config"], "job.json")


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    partial.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 done, 1 the model's process died, 2 unusable input, 3 a broken sandbox."""
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
    from sandbox.runner import SandboxError
    from srs.child import ChildError

    try:
        if args.command == "generate":
            questions = json.loads(args.questions.read_text(encoding="utf-8"))["questions"]
            generate(args.job, args.adapter, questions, args.out)
        else:
            given = json.loads(args.answers.read_text(encoding="utf-8"))
            grade(args.job, given["answers"], given["predictions"], args.out)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except SandboxError as e:
        print(f"error: the sandbox failed: {e}", file=sys.stderr)
        return 3
    except ChildError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
