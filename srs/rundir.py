"""The run directory: every phase of a round is a file that appears whole or not at all.

    config.json  environment.json  memory.sqlite  metrics.jsonl  report.html
    tasks.json  tasks_dropped.jsonl  pairs.jsonl  dpo.json
    rounds/0001/{plan.json, candidates.jsonl, verdicts.jsonl, train.json, evaluation.json, panel.json, seconds.json}
    adapters/0001/ … adapters/dpo/      evaluation/{base,sft,dpo,comparison}.json

Files are written under a temporary name, flushed to disk, and renamed; the last file of a phase is its
marker. A resumed run finds the markers and does only what is missing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from evaluator.results import differences
from srs import config as configs
from srs.config import Config
from srs.rollout import Rollout
from srs.types import Candidate, RoundPlan, RoundRecord, UserError, Verdict, from_json, to_json

T = TypeVar("T")
CONFIG = "config.json"
LOCK = ".lock"
PARTIAL = ".partial"
logger = logging.getLogger(__name__)
MAY_CHANGE = frozenset(
    {
        "devices.cluster",
        "devices.placement",
        "devices.ray_address",
        "devices.replicas",
        "devices.tensor_parallel",
        "devices.train_devices",
        "devices.train_processes",
        "generate.gpu_memory_utilization",
        "run.rounds",
        "sandbox.backend",
        "sandbox.workers",
    }
)
"""Keys that a resumed run may set anew: they change how long or where, never what.

How many devices share a sum decides its rounding, so those keys can change last digits (docs/training.md).
"""


class DiskFullError(UserError):
    """Nothing is wrong with what was asked for: the same can go on when there is room."""


def as_stored(asked: Config, stored: Config, named: Collection[str]) -> Config:
    """``asked`` with the stored values of the keys in `MAY_CHANGE`, unless they are ``named``.

    A config file says what it said when the run began, and what ``--rounds`` or ``--set`` said beside it
    then is in ``stored`` alone.
    """
    kept = []
    found = differences(configs.to_dict(stored), configs.to_dict(asked))
    for key in sorted((MAY_CHANGE & found.keys()) - set(named)):
        before, after = map(json.dumps, found[key])
        logger.warning("%s stays %s, not %s: name it with --set to change it", key, before, after)
        kept.append(f"{key}={before}")
    return configs.override(asked, kept)


class RunDir:
    """One run's files, held by one process at a time. Use `create` or `resume`."""

    def __init__(self, path: Path, config: Config, lock: IO[str]) -> None:
        self.path = path
        self.config = config
        self._lock = lock
        self._is_new = False

    @classmethod
    def create(cls, path: Path, config: Config) -> Self:
        """Start a run in a folder that is new or empty. Raises UserError when it holds anything.

        What a start that was cut short leaves, before there is a config, counts for nothing.
        """
        try:
            if path.exists() and not all(_is_left_over(p) for p in path.iterdir()):
                hint = (
                    "add --resume to continue it, or choose another --run-dir"
                    if (path / CONFIG).exists()
                    else "choose another --run-dir"
                )
                raise UserError(f"{path}: the folder is not empty; {hint}")
            path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserError(f"{path}: cannot be used as a run directory: {e.strerror}") from e
        lock = _take_lock(path)
        run = cls(path, config, lock)
        run._is_new = True
        try:
            run.keep_config()
        except UserError as e:
            run.close()
            run.discard_unstarted()
            if isinstance(e, DiskFullError):
                raise UserError(f"{path}: the disk is full; free some space and start again") from e
            raise
        return run

    @classmethod
    def resume(cls, path: Path, wanted: Callable[[Config], Config] = lambda stored: stored) -> Self:
        """Open a run that `create` made. ``wanted`` maps its stored config to the one asked for now.

        Raises UserError when there is no run, another process holds it, or the two configs differ in
        a key that would change results. The stored config stays until `keep_config`.
        """
        file = path / CONFIG
        if not file.is_file():
            raise UserError(
                f"{path}: no run to resume here (no config.json); start one without --resume"
            )
        try:
            stored_dict = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise UserError(f"{file}: not a readable run config: {e}") from e
        stored = configs.from_dict(stored_dict, str(file))
        now = wanted(stored)
        for key, (before, after) in differences(
            configs.to_dict(stored), configs.to_dict(now)
        ).items():
            if key not in MAY_CHANGE:
                raise UserError(
                    f"{path}: this run was started with {key} = {json.dumps(before)}, not "
                    f"{json.dumps(after)}; resume it without that change, or choose another --run-dir"
                )
        run = cls(path, now, _take_lock(path))
        run._remove_partial_files()
        return run

    def keep_config(self) -> None:
        """Store the config, once it is known to work here: the next resume begins with it."""
        self.write_json(CONFIG, configs.to_dict(self.config))

    def close(self) -> None:
        self._lock.close()

    def discard_unstarted(self) -> bool:
        """Delete a run that this process created and that finished no phase. Returns whether it did."""
        unstarted = self._is_new and not self.has("rounds") and not self.metrics()
        if unstarted:
            shutil.rmtree(self.path)
        return unstarted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def round(self, number: int) -> str:
        return f"rounds/{number:04d}"

    def adapter(self, name: int | str) -> Path:
        return self.path / "adapters" / (f"{name:04d}" if isinstance(name, int) else name)

    def latest_adapter(self, before: int) -> int | None:
        """The latest round < ``before`` that trained an adapter, or None."""
        folder = self.path / "adapters"
        found = (
            [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
        )
        return max((number for number in found if number < before), default=None)

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON value of a phase: read if the phase is done, else made and written."""
        if not self.has(name):
            self.write_json(name, make())
        return self.read_json(name)

    def read_json(self, name: str) -> Any:
        return _parse(self.path / name, _read(self.path / name))

    def write_json(self, name: str, value: Any) -> None:
        with self._whole_file(name) as file:
            json.dump(value, file, ensure_ascii=True, indent=1)
            file.write("\n")

    def read_records(self, name: str, cls: type[T]) -> list[T]:
        path = self.path / name
        return [from_json(cls, _parse(path, line)) for line in _read(path).splitlines()]

    def write_records(self, name: str, records: Iterable[Any]) -> None:
        """JSON Lines, ASCII-escaped: a lone surrogate in a completion is data, not an encoding error."""
        with self._whole_file(name) as file:
            for record in records:
                file.write(json.dumps(to_json(record), ensure_ascii=True) + "\n")

    def metrics(self) -> list[RoundRecord]:
        """The rounds that are complete, oldest first."""
        return self.read_records("metrics.jsonl", RoundRecord) if self.has("metrics.jsonl") else []

    def add_metrics(self, record: RoundRecord) -> None:
        """Mark a round complete. Adding a round that is there already replaces nothing."""
        rows = self.metrics()
        if record.round not in {row.round for row in rows}:
            self.write_records("metrics.jsonl", [*rows, record])

    def replace_last_metrics(self, record: RoundRecord) -> None:
        *others, last = self.metrics()
        assert last.round == record.round
        self.write_records("metrics.jsonl", [*others, record])

    def started_after(self, number: int) -> int | None:
        """The round after ``number`` that has a plan but may lack later phases, or None."""
        plans = (self.path / "rounds").glob("*/plan.json")
        return min((r for plan in plans if (r := int(plan.parent.name)) > number), default=None)

    def has_rollout(self, number: int) -> bool:
        return self.has(f"{self.round(number)}/verdicts.jsonl")

    def write_rollout(self, number: int, rollout: Rollout) -> None:
        candidates, verdicts = zip(*rollout.graded, strict=True) if rollout.graded else ((), ())
        self.write_records(f"{self.round(number)}/candidates.jsonl", candidates)
        self.write_records(f"{self.round(number)}/verdicts.jsonl", verdicts)

    def read_rollout(self, number: int) -> Rollout:
        candidates = self.read_records(f"{self.round(number)}/candidates.jsonl", Candidate)
        verdicts = self.read_records(f"{self.round(number)}/verdicts.jsonl", Verdict)
        return Rollout(graded=tuple(zip(candidates, verdicts, strict=True)))

    def history(self) -> Iterator[tuple[Candidate, Verdict]]:
        """Every practised candidate of every complete round, oldest first; audits and probes left out."""
        for record in self.metrics():
            if self.has_rollout(record.round):
                plan = self.read_plan(record.round)
                yield from self.read_rollout(record.round).of(plan.practised).graded

    def read_plan(self, number: int) -> RoundPlan:
        return self.read_records(f"{self.round(number)}/plan.json", RoundPlan)[0]

    def final_stage_is_of(self, number: int) -> bool:
        """Whether DPO was done after round ``number``, not before the run was extended."""
        return self.has("dpo.json") and self.read_json("dpo.json")["round"] == number

    def clear_final_stage(self) -> None:
        """Remove what belongs to a last round that no longer is the last."""
        for name in ("dpo.json", "pairs.jsonl", "adapters/dpo", "evaluation", "export/ianvs"):
            self.remove(self.path / name)

    def remove(self, target: Path) -> None:
        """Delete a file or folder of this run, if it is there."""
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    @contextlib.contextmanager
    def timed(self, number: int, phase: str) -> Iterator[None]:
        """Add the block's wall time, once it is done, to the round's phase."""
        start = time.monotonic()
        yield
        self.add_seconds(number, {phase: time.monotonic() - start})

    def add_seconds(self, number: int, spent: dict[str, float]) -> None:
        """Add to ``seconds.json``, which outlives an interruption."""
        seconds = self.seconds(number)
        for phase, value in spent.items():
            seconds[phase] = round(seconds.get(phase, 0.0) + value, 3)
        self.write_json(f"{self.round(number)}/seconds.json", seconds)

    def seconds(self, number: int) -> dict[str, float]:
        name = f"{self.round(number)}/seconds.json"
        return dict(self.read_json(name)) if self.has(name) else {}

    @contextlib.contextmanager
    def _whole_file(self, name: str) -> Iterator[IO[str]]:
        target = self.path / name
        partial = target.with_name(target.name + PARTIAL)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w", encoding="utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as e:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(
                    f"{target}: the disk is full; free some space and continue with --resume"
                ) from e
            raise UserError(f"{target}: cannot be written: {e.strerror}") from e

    def _remove_partial_files(self) -> None:
        for partial in self.path.rglob(f"*{PARTIAL}"):
            self.remove(partial)


def _is_left_over(path: Path) -> bool:
    """Of ours alone: a start that is refused deletes its folder."""
    return path.name in (LOCK, f"{CONFIG}{PARTIAL}")


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as e:
        raise UserError(f"{path}: damaged: {e}; remove it and continue with --resume") from e


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {e}; remove it and continue with --resume") from e


def _take_lock(path: Path) -> IO[str]:
    try:
        lock = (path / LOCK).open("a+", encoding="utf-8")
    except OSError as e:
        raise UserError(f"{path}: cannot be written: {e.strerror}") from e
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise UserError(
            f"{path}: another process (pid {holder}) is using this run; wait for it or stop it"
        ) from e
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
