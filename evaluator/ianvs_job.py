"""A job folder that ``ianvs -f benchmarkingjob.yaml`` runs: written whole, from the templates in ianvs/.

    benchmarkingjob.yaml  job.json  lifelong.json  README.md
    testalgorithms/gen/{basemodel.py, gen_algorithm.yaml, op_eval.py}  testenv/{acc.py, testenv.yaml}
    dataset/{train_data,test_data}/data.jsonl      adapters/<row>/

Its Python files are thin and old-fashioned on purpose: they run in Ianvs' environment and call ours
(`evaluator.ianvs_worker`) as a process. What that process needs to know is in job.json.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from evaluator import ianvs_rows
from evaluator.benchmark_rows import Opening
from evaluator.ianvs_rows import Kind, TextTask
from srs import prompts
from srs.types import Task, UserError

DeviceName = Literal["gpu", "npu", "cpu"]
TEMPLATES = Path(__file__).parent / "ianvs"
CHECKOUT = Path(__file__).resolve().parents[1]
"""Where this package isn't installed but run from; an installed one's interpreter finds it."""
MARKER = "job.json"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
WEIGHTS = ("adapter_config.json", "config.json")
"""What an adapter's folder holds, and that of a whole model (``finetune.method = full``)."""
READ_AS_BLANK = frozenset({"na", "nan", "null", "none", "nat", "n.a."})
"""Row names that come back from the leaderboard's CSV as no value."""
PLACES = {
    "benchmarkingjob.yaml": ".",
    "README.md": ".",
    "gen_algorithm.yaml": "testalgorithms/gen",
    "basemodel.py": "testalgorithms/gen",
    "op_eval.py": "testalgorithms/gen",
    "testenv.yaml": "testenv",
    "acc.py": "testenv",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A leaderboard column: the mean of ``value`` over the answers of one benchmark (None = all).

    A value lies between ``lowest`` and ``highest``.
    """

    name: str
    value: str
    benchmark: str | None = None
    higher_is_better: bool = True
    lowest: float = 0.0
    highest: float = 1.0


def _columns(*values: str, **fields: Any) -> tuple[Metric, ...]:
    return tuple(Metric(name=value, value=value, **fields) for value in values)


METRICS: Mapping[Kind, Sequence[Metric]] = {
    "code": (
        *_columns("pass_at_1"),
        *_columns("format_error_rate", higher_is_better=False),
    ),
    "comments": _columns("overall", "logic", "accuracy", "format", "coverage"),
    "issues": _columns("accuracy", "judge_readable", "answered"),
}
"""What each kind of job measures, the one that ranks first; `evaluator.ianvs_worker` gives the values."""
JUDGED: Mapping[Kind, Sequence[Metric]] = {
    "comments": (
        *_columns("judge_logic", "judge_accuracy", "judge_format", lowest=1.0, highest=10.0),
        *_columns("judge_readable"),
    ),
}
"""And what a judge adds; issues have no score without one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What goes into the folder.

    ``rows``: leaderboard row → adapter folder, None for the base model. ``tests``: benchmark → its tasks;
    ``openings``: the same → how a task's program begins, where that is known (`evaluator.benchmarks`).
    ``train``: what the rows were trained on; Ianvs wants a file of it and shows it to `train`, which
    ignores it. ``config``: the run's config as nested dicts. ``judge``: of comment and issue jobs, the
    options of `evaluator.judging.asking_options` under their names, as JSON. ``lifelong``: see
    `evaluator.lifelong`.
    """

    rows: Mapping[str, Path | None]
    tests: Mapping[str, Sequence[Task | TextTask]]
    train: Sequence[Task]
    config: Mapping[str, Any]
    device: DeviceName
    openings: Mapping[str, Mapping[str, Opening]] = dataclasses.field(default_factory=dict)
    kind: Kind = "code"
    judge: Mapping[str, Any] | None = None
    run: Path | None = None
    lifelong: Mapping[str, Any] | None = None
    licence: str | None = None

    @property
    def metrics(self) -> list[Metric]:
        """The kind's, and the first of them again for each benchmark where there are several."""
        general = [*METRICS[self.kind], *(JUDGED.get(self.kind, ()) if self.judge else ())]
        if len(self.tests) < 2:
            return general
        first = general[0]
        each = [
            dataclasses.replace(first, name=f"{first.name}_{b}", benchmark=b) for b in self.tests
        ]
        return [*general, *each]


def write_job(job: Job, out: Path) -> None:
    """Write the folder whole, or not at all; a job that stands there is replaced.

    What Ianvs made in the old one's ``workspace`` is kept as ``workspace.1``, ``workspace.2``, …: it is
    of other weights, and Ianvs would add its rows to the new leaderboard.

    Raises UserError: a name or an adapter that can't be used, no test, or ``out`` holds something else.
    """
    _check(job)
    out = out.resolve()  # the folder itself, where ``out`` is "." or a link to it
    if out.exists() and not (out / MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: holds something that is no exported job; choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        try:
            _fill(job, partial)
            partial.chmod(0o755)
            old = _put_in_place(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as e:
        raise UserError(f"{out}: cannot be written: {_reason(e)}") from e
    if old:
        try:
            _keep_workspaces(old, out)
            shutil.rmtree(old)
        except OSError as e:
            raise UserError(
                f"{out}: the new job is there, but what is left of the old one is in {old}: {_reason(e)}"
            ) from e


def _put_in_place(new: Path, out: Path) -> Path | None:
    """Rename ``new`` to ``out``; what stood there, under the name that it has now. Raises OSError."""
    if not out.exists():
        new.replace(out)
        return None
    old = new.with_suffix(".old")
    out.replace(old)
    try:
        new.replace(out)
    except BaseException:
        old.replace(out)
        raise
    return old


def _reason(e: OSError) -> str:
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return e.strerror or str(e)


def _check(job: Job) -> None:
    for name, adapter in job.rows.items():
        if not NAME.fullmatch(name) or name.lower() in READ_AS_BLANK:
            raise UserError(
                f"--adapter {name}: use letters, digits, . _ - and begin with a letter; not a word for "
                "no value"
            )
        if adapter is not None and not any((adapter / name).is_file() for name in WEIGHTS):
            raise UserError(f"{adapter}: holds no {' or '.join(WEIGHTS)}: no adapter and no model")
    for benchmark, tasks in job.tests.items():
        if not tasks:
            raise UserError(f"--benchmark {benchmark}: holds no task")
    if job.kind == "issues" and not job.judge:
        raise UserError(
            "issues can't be scored without a judge: --judge-endpoint URL --judge-model NAME, or "
            "--judge-local PATH"
        )
    if not job.tests:
        raise UserError("no task to test on: the run holds none out; name a --benchmark")


def _fill(job: Job, folder: Path) -> None:
    rows: dict[str, str | None] = {}
    for name, adapter in job.rows.items():
        rows[name] = f"adapters/{name}" if adapter else None
        if adapter:
            shutil.copytree(adapter, folder / "adapters" / name, copy_function=_link)
    test_data = folder / "dataset" / "test_data"
    lines = [
        ianvs_rows.line(
            benchmark, task, job.openings.get(benchmark, {}).get(task.id, Opening()), test_data
        )
        for benchmark, tasks in job.tests.items()
        for task in tasks
    ]
    _write_lines(test_data / "data.jsonl", lines)
    _write_lines(
        folder / "dataset" / "train_data" / "data.jsonl",
        ({"question": prompts.user_message(t), "answer": t.reference or ""} for t in job.train),
    )
    settings = {
        "kind": job.kind,
        "run": str(job.run.resolve()) if job.run else None,
        "rows": rows,
        "metrics": [dataclasses.asdict(metric) for metric in job.metrics],
        "judge": job.judge,
        "device": job.device,
        "python": sys.executable,
        "project": str(CHECKOUT) if (CHECKOUT / "pyproject.toml").is_file() else None,
        "config": job.config,
    }
    _write_json(folder / MARKER, settings)
    if job.lifelong is not None:
        _write_json(folder / "lifelong.json", job.lifelong)
    _render(job, folder)


def _render(job: Job, folder: Path) -> None:
    """The templates; those in Python are copied as they are."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )  # fmt: skip
    for name, place in PLACES.items():
        target = folder / place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".py":
            shutil.copyfile(TEMPLATES / name, target)
        else:
            text = environment.get_template(name).render(
                kind=job.kind,
                judge=job.judge,
                tensor_parallel=job.config["devices"]["tensor_parallel"],
                rows=list(job.rows),
                metrics=job.metrics,
                model=job.config["model"]["path"],
                tests={benchmark: len(tasks) for benchmark, tasks in job.tests.items()},
                n_train=len(job.train),
                device=job.device,
                python=sys.executable,
                lifelong=job.lifelong is not None,
                licence=job.licence,
            )
            target.write_text(text, encoding="utf-8")


def _link(source: str, target: str) -> None:
    """A second name where the disk allows it: adapters are written once and never changed."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _keep_workspaces(old: Path, new: Path) -> None:
    kept = sorted(old.glob("workspace.*"), key=lambda p: (len(p.name), p.name))
    for place in [*kept, old / "workspace"]:
        if place.is_dir():
            number = sum(1 for _ in new.glob("workspace.*")) + 1
            place.replace(new / f"workspace.{number}")


def _write_lines(path: Path, rows: Iterable[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
