"""A run directory as a reader sees it: what is there now, None for what is not there yet.

Read only, and without the run's lock: a report can be made while the run goes on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from srs.types import RoundRecord, UserError, from_json

T = TypeVar("T")
EVALUATIONS = ("base", "sft", "dpo")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A share (or a difference of shares) and its 95% interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Self:
        return cls(value=obj["value"], low=obj["low"], high=obj["high"])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One policy on the held-out tasks. ``per_task``: [passed, graded] of each task, for pass@1."""

    policy: str
    n: int
    temperature: float
    pass_at_1: Estimate
    pass_at_k: Mapping[int, Estimate]
    per_task: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Self:
        return cls(
            policy=obj["policy"],
            n=obj["n"],
            temperature=obj["temperature"],
            pass_at_1=Estimate.of(obj["pass_at_1"]),
            pass_at_k={int(k): Estimate.of(v) for k, v in obj["pass_at_k"].items()},
            per_task={task: (passed, graded) for task, (passed, graded) in obj["per_task"].items()},
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two policies on the same held-out tasks, paired: final minus base, McNemar's exact p."""

    base: str
    final: str
    difference: Estimate
    fixed: int
    broken: int
    p: float

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Self:
        return cls(
            base=obj["base"],
            final=obj["final"],
            difference=Estimate.of(obj["difference"]),
            **{key: obj["mcnemar"][key] for key in ("fixed", "broken", "p")},
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """Everything about a run but its candidates (see `srs.taskview`)."""

    name: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any] | None
    records: tuple[RoundRecord, ...]
    evaluations: tuple[Evaluation, ...]
    comparison: Comparison | None
    dropped: tuple[Mapping[str, Any], ...] | None
    n_pairs: int | None

    def evaluation(self, policy: str) -> Evaluation | None:
        return next((e for e in self.evaluations if e.policy == policy), None)

    @property
    def rounds_wanted(self) -> int:
        return int(self.config["run"]["rounds"])

    @property
    def rounds_done(self) -> int:
        return sum(record.round > 0 for record in self.records)


def load(run_dir: Path) -> RunView:
    """Read what the run has written so far.

    Raises UserError when ``run_dir`` is no run, or a file in it is damaged.
    """
    if not (run_dir / "config.json").is_file():
        raise UserError(f"{run_dir}: no run here (no config.json); name a run directory")
    evaluations = [_of(Evaluation, run_dir / "evaluation" / f"{name}.json") for name in EVALUATIONS]
    metrics = run_dir / "metrics.jsonl"
    dropped = run_dir / "tasks_dropped.jsonl"
    pairs = run_dir / "pairs.jsonl"
    return RunView(
        name=run_dir.resolve().name,
        config=_json(run_dir / "config.json"),
        environment=_json(run_dir / "environment.json"),
        records=tuple(records(metrics, RoundRecord)) if metrics.exists() else (),
        evaluations=tuple(e for e in evaluations if e is not None),
        comparison=_of(Comparison, run_dir / "evaluation" / "comparison.json"),
        dropped=tuple(rows(dropped)) if dropped.exists() else None,
        n_pairs=sum(1 for _ in rows(pairs)) if pairs.exists() else None,
    )


def round_dirs(run_dir: Path) -> list[tuple[int, Path]]:
    """The rounds that have a folder, by number; numbers may skip."""
    folder = run_dir / "rounds"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((int(path.name), path) for path in found if path.name.isdigit())


def records(path: Path, cls: type[T]) -> Iterator[T]:
    """The records of a JSON Lines file. Raises UserError naming the line that is not one."""
    for number, row in enumerate(rows(path), 1):
        try:
            yield from_json(cls, row)
        except (TypeError, AttributeError) as e:
            raise UserError(f"{path}:{number}: not a {cls.__name__}: {e}") from e


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file, one at a time: a long run's files don't fit in memory."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield _parse(line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e


def _json(path: Path) -> Any:
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as e:
        raise UserError(f"{where}: damaged: {e}") from e


V = TypeVar("V", Evaluation, Comparison)


def _of(cls: type[V], path: Path) -> V | None:
    obj = _json(path)
    if obj is None:
        return None
    try:
        return cls.of(obj)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise UserError(f"{path}: damaged: not an {cls.__name__.lower()}: {e!r}") from e
