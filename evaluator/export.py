"""Exports a run as a job for KubeEdge-Ianvs: base model, last LoRA round and DPO on one leaderboard.

python -m evaluator.export --run DIR --out JOBDIR && cd JOBDIR && ianvs -f benchmarkingjob.yaml
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evaluator.benchmarks import Benchmark, Opening, parse_name, read_benchmark
from evaluator.ianvs_job import DeviceName, Job, write_job
from evaluator.ianvs_run import dropped_of, job_of_run, read_json
from srs.types import Task, UserError

if TYPE_CHECKING:
    from srs.config import Config
    from srs.tasks import TaskSet


def export(
    run: Path,
    out: Path,
    *,
    benchmarks: Sequence[str] = (),
    adapters: Sequence[str] = (),
    device: DeviceName | None = None,
    overrides: Sequence[str] = (),
) -> Job:
    """Write the job folder; what went into it.

    Tests are the run's held-out tasks, as its own evaluation drew them, or the ``benchmarks``
    (``NAME=FILE``) instead. ``adapters`` (``NAME=PATH``) are further rows. ``device`` None: as the run's.
    ``overrides`` (``section.key=value``) change the run's config in the job.

    Raises UserError for anything that can't be used, SandboxError where the run's tasks depend on what
    the sandbox can import and it is broken.
    """
    from srs import models
    from srs.config import from_dict, override, to_dict
    from srs.splits import draw

    path = run / "config.json"
    if not path.is_file():
        raise UserError(f"{path}: does not exist: --run names the folder of a run of srs.train")
    config = override(from_dict(read_json(path), str(path)), list(overrides))
    models.locate(config.model)  # now, not when Ianvs has begun
    tasks, gone = _tasks(config), dropped_of(run)
    drawn = draw(tasks.held_out, config.eval.limit, config.tasks.split_seed)
    job = job_of_run(
        run,
        config=to_dict(config),
        held_out=[task for task in drawn if task.id not in gone],
        train=tasks.train,
        licence=tasks.notice,
    )
    job = dataclasses.replace(job, rows=_with_adapters(job.rows, adapters))
    if device:
        job = dataclasses.replace(job, device=device)
    if benchmarks:
        tests, openings = _read(benchmarks)
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


def _read(
    benchmarks: Sequence[str],
) -> tuple[dict[str, Sequence[Task]], dict[str, Mapping[str, Opening]]]:
    """Name → tasks, and name → how each task's program begins."""
    from srs.kodcode import to_task
    from srs.rows import read_file

    found: dict[str, Benchmark] = {}
    for text in benchmarks:
        name, path = parse_name(text)
        if name in found:
            raise UserError(f"--benchmark {name}: given twice; give each its own name")
        found[name] = read_benchmark(name, path, read_file(path), to_task)
    return {n: b.tasks for n, b in found.items()}, {n: b.openings for n, b in found.items()}


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
    parser.add_argument("--benchmark", action="append", default=[], metavar="NAME=FILE", help="test on this instead of the run's held-out tasks; may be repeated")  # fmt: skip
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=PATH", help="one more row; may be repeated")  # fmt: skip
    parser.add_argument("--device", choices=("gpu", "npu", "cpu"), help="default: as the run's")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="change one key of the run's config in the job; may be repeated")  # fmt: skip
    args = parser.parse_args(argv)
    from sandbox.runner import SandboxError

    try:
        job = export(
            args.run,
            args.out,
            benchmarks=args.benchmark,
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
    if job.licence:
        print(job.licence)
    print(f"run it: cd {args.out} && ianvs -f benchmarkingjob.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
