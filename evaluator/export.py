"""Exports a run as a job for KubeEdge-Ianvs: base model, last LoRA round and DPO on one leaderboard.

    python -m evaluator.export --run DIR --out JOBDIR && cd JOBDIR && ianvs -f benchmarkingjob.yaml

Jobs are of a kind: code (graded by the sandbox), comments or issues (`evaluator.comments`, `evaluator.issues`).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from evaluator.benchmark_rows import Opening
from evaluator.benchmarks import parse_name, read_benchmark
from evaluator.ianvs_job import DeviceName, Job, write_job
from evaluator.ianvs_rows import Kind, TextTask, read_texts
from evaluator.ianvs_run import dropped_of, job_of_run, read_json
from evaluator.judging.asking_options import add_options, chosen
from srs.types import Task, UserError

if TYPE_CHECKING:
    from srs.config import Config
    from srs.tasks import TaskSet


def export(
    run: Path,
    out: Path,
    *,
    kind: Kind = "code",
    benchmarks: Sequence[str] = (),
    limit: int = 0,
    judge: Mapping[str, Any] | None = None,
    adapters: Sequence[str] = (),
    device: DeviceName | None = None,
    overrides: Sequence[str] = (),
) -> Job:
    """Write the job folder; what went into it.

    Tests are the run's held-out tasks, as its own evaluation drew them, or the ``benchmarks``
    (``NAME=FILE``, tasks of ``kind``) instead; the first ``limit`` of each, 0 = all. ``judge``: see
    `judge_of`. ``adapters`` (``NAME=PATH``) are further rows. ``device`` None: as the run's.
    ``overrides`` (``section.key=value``) change the run's config in the job.

    Raises UserError for anything that can't be used, SandboxError where the run's tasks depend on what
    the sandbox can import and it is broken.
    """
    from srs import models
    from srs.config import from_dict, override, to_dict
    from srs.splits import draw

    if limit < 0:
        raise UserError("--limit must be 0 or more")
    if kind != "code" and not benchmarks:
        raise UserError(f"--kind {kind}: name the tasks with --benchmark NAME=FILE")
    if kind == "code" and judge:
        raise UserError(
            "--judge-…: programs are judged by their tests; say --kind comments or issues"
        )
    path = run / "config.json"
    if not path.is_file():
        raise UserError(f"{path}: does not exist: --run names the folder of a run of srs.train")
    config = override(from_dict(read_json(path), str(path)), list(overrides))
    models.locate(config.model)  # now, not when Ianvs has begun
    tasks, gone = _tasks(config), dropped_of(run)
    drawn = draw(tasks.held_out, config.eval.limit, config.tasks.split_seed)[: limit or None]
    job = job_of_run(
        run,
        config=to_dict(config),
        held_out=[task for task in drawn if task.id not in gone],
        train=tasks.train,
        licence=tasks.notice,
    )
    job = dataclasses.replace(job, rows=_with_adapters(job.rows, adapters), kind=kind, judge=judge)
    if device:
        job = dataclasses.replace(job, device=device)
    if benchmarks:
        tests, openings = _read(kind, benchmarks, limit)
        job = dataclasses.replace(job, tests=tests, openings=openings)
    write_job(job, out)
    return job


def _with_adapters(
    rows: Mapping[str, Path | None], adapters: Sequence[str]
) -> dict[str, Path | None]:
    result = dict(rows)
    for text in adapters:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UserError(f"--adapter {text}: write it as NAME=PATH")
        if name in result:
            raise UserError(f"--adapter {name}: the job has a row of that name; choose another")
        result[name] = Path(path)
    return result


def judge_of(args: argparse.Namespace) -> dict[str, Any] | None:
    """The judge that the options name, as `Job.judge`; None when they name none. Raises UserError."""
    from srs import models
    from srs.config import ModelConfig

    which = chosen(args, "judge-")
    if which is None:
        return None
    judge = {name: value for name, value in vars(args).items() if name.startswith("judge_")}
    if which == "local":
        try:
            models.locate(ModelConfig(path=args.judge_local))
        except UserError as e:
            raise UserError(str(e).replace("model.path", "--judge-local")) from e
        if Path(args.judge_local).expanduser().is_dir():  # Ianvs starts elsewhere
            judge["judge_local"] = str(Path(args.judge_local).expanduser().resolve())
    adapter = args.judge_adapter
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter}: holds no adapter_config.json: not an adapter folder")
    return {**judge, "judge_adapter": str(adapter.resolve()) if adapter else None}


def _read(
    kind: Kind, benchmarks: Sequence[str], limit: int
) -> tuple[dict[str, Sequence[Task | TextTask]], dict[str, Mapping[str, Opening]]]:
    """Name → tasks, and name → how each task's program begins."""
    from srs.kodcode import to_task
    from srs.rows import read_file

    tests: dict[str, Sequence[Task | TextTask]] = {}
    openings: dict[str, Mapping[str, Opening]] = {}
    for text in benchmarks:
        name, path = parse_name(text)
        if name in tests:
            raise UserError(f"--benchmark {name}: given twice; give each its own name")
        if kind == "code":
            found = read_benchmark(name, path, read_file(path), to_task, limit=limit)
            tests[name], openings[name] = found.tasks, found.openings
        else:
            tests[name] = read_texts(kind, path, limit)
    return tests, openings


def _tasks(config: Config) -> TaskSet:
    """As the run reads them: what can be imported depends on its sandbox."""
    from sandbox.modules import importable_modules
    from sandbox.pool import open_sandbox
    from srs.tasks import load

    if not config.tasks.importable_only:
        return load(config.tasks)
    with open_sandbox(config.sandbox) as sandbox:
        return load(config.tasks, available=importable_modules(sandbox))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 done, 2 unusable input, 3 a broken sandbox."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluator.export",
        description="Export a run as a job that `ianvs -f benchmarkingjob.yaml` runs.",
    )
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="a run of srs.train")
    parser.add_argument("--out", type=Path, required=True, metavar="JOBDIR")
    parser.add_argument("--kind", choices=get_args(Kind), default="code", help="what the --benchmark files hold; default code")  # fmt: skip
    parser.add_argument("--benchmark", action="append", default=[], metavar="NAME=FILE", help="test on this instead of the run's held-out tasks; may be repeated")  # fmt: skip
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="the first N tasks of each only")  # fmt: skip
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=PATH", help="one more row; may be repeated")  # fmt: skip
    parser.add_argument("--device", choices=("gpu", "npu", "cpu"), help="default: as the run's")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="change one key of the run's config in the job; may be repeated")  # fmt: skip
    add_options(parser, "judge-")
    args = parser.parse_args(argv)
    from sandbox.runner import SandboxError

    try:
        job = export(
            args.run,
            args.out,
            kind=args.kind,
            benchmarks=args.benchmark,
            limit=args.limit,
            judge=judge_of(args),
            adapters=args.adapter,
            device=args.device,
            overrides=args.set,
        )
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except SandboxError as e:
        print(f"error: the sandbox failed: {e}; nothing was exported", file=sys.stderr)
        return 3
    tests = ", ".join(f"{len(tasks)} tasks of {name}" for name, tasks in job.tests.items())
    print(f"{args.out}: rows {', '.join(job.rows)}; {tests}; device {job.device}")
    print(f"metrics: {', '.join(metric.name for metric in job.metrics)}")
    if job.licence:
        print(job.licence)
    print(f"run it: cd {args.out} && ianvs -f benchmarkingjob.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
