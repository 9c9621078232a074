"""The result folder of ``python -m evaluator.run``.

    settings.json  environment.json  summary.json
    NAME/tasks_dropped.jsonl
    NAME/{greedy,sampled}/{answers.jsonl, generations.json, samples.jsonl, verdicts.jsonl, tasks.jsonl}

``answers.jsonl`` and ``verdicts.jsonl`` grow line by line: a kill costs at most the line being written.
All other files appear whole or not at all. Answers that came from a file have ``given`` in place of
greedy and sampled.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Self

from srs.types import UserError

Settings = dict[str, Any]
Row = dict[str, Any]
NOTHING_YET = frozenset(
    [".lock", "settings.json", ".settings.json.partial", "environment.json", ".environment.json.partial", "logs"]
)  # fmt: skip
"""What a folder holds before its first result: until then other settings may take it."""


class Results:
    """A result folder, held by one process at a time."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Begin a folder, or continue one that was begun with the same settings.

        Raises UserError naming the settings that differ, when another process holds it, or when it
        holds something else.
        """
        try:
            there = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
            if "settings.json" not in there and there - NOTHING_YET:
                raise UserError(f"{path}: holds other files; choose another --out")
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / ".lock").open("a+", encoding="utf-8")
        except OSError as e:
            raise UserError(f"{path}: cannot be used for results: {e.strerror}") from e
        results = cls(path, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if there - NOTHING_YET:
                found = differences(results.read_json("settings.json"), settings)
                if found:
                    raise UserError(
                        f"{path}: was begun with {told_differences(found, 'now')}; "
                        "give the same command again, or choose another --out"
                    )
            else:
                results.write_json("settings.json", settings)
        except BlockingIOError as e:
            lock.close()
            raise UserError(f"{path}: another process is writing it; wait for it or stop it") from e
        except UserError:
            lock.close()
            raise
        return results

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.close()

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def read_json(self, name: str) -> Any:
        return read_json(self.path / name)

    def read_lines(self, name: str) -> list[Row]:
        return read_lines(self.path / name)

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, ensure_ascii=True, indent=1) + "\n")

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """JSON Lines, ASCII-escaped: half a surrogate pair in an answer is data, not an error."""
        self.write_text(name, "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))

    def write_text(self, name: str, text: str) -> None:
        """The file whole, or not at all. Raises UserError when it can't be written."""
        target = self.path / name
        partial = target.with_name(f".{target.name}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as e:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise UserError(f"{target}: cannot be written: {e.strerror}") from e

    def read_log(self, name: str) -> list[Row]:
        """The log's rows; a line that a kill cut short is removed."""
        path = self.path / name
        if not path.exists():
            return []
        with path.open("rb+") as file:
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                file.truncate(whole)
        return read_lines(path)

    def append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add lines to a log, in one write. Raises UserError when the disk doesn't take them."""
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))
        except OSError as e:
            raise UserError(
                f"{path}: cannot be written: {e.strerror}; give the same command again to continue"
            ) from e


def read_json(path: Path) -> Any:
    """Raises UserError when the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise UserError(f"{path}: damaged: {e}") from e


def read_lines(path: Path) -> list[Row]:
    """Raises UserError when the file is missing or damaged, naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e
    rows = []
    for number, line in enumerate(lines, 1):
        if line:
            try:
                rows.append(json.loads(line))
            except ValueError as e:
                raise UserError(f"{path}:{number}: damaged: {e}") from e
    return rows


def differences(a: Settings, b: Settings, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Key → its value in ``a`` and in ``b``, where they differ; keys of sections joined with dots."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in {**a, **b}:
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            found |= differences(x, y, f"{prefix}{key}.")
        elif x != y:
            found[prefix + key] = (x, y)
    return found


def told_differences(found: Mapping[str, tuple[Any, Any]], second: str) -> str:
    """``n = 2 (now 5), limit = …``, for an error message."""
    return ", ".join(
        f"{k} = {json.dumps(x)} ({second} {json.dumps(y)})" for k, (x, y) in found.items()
    )
