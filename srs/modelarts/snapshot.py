"""A run directory as it was at one moment, taken while `srs.train` writes to it.

A run survives being killed at any moment, so the files of one moment are a run that can be resumed; files
of different moments are not (a memory older than the line in ``metrics.jsonl`` that says it was updated).
Files there are replaced whole, never changed in place, so a hard link keeps one as it is. SQLite's own
backup copies the memory. If anything was replaced meanwhile, the snapshot is taken again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path

ATTEMPTS = 20
PAUSE_S = 0.2
DATABASE = "memory.sqlite"
LOGS = "logs"

State = dict[str, tuple[int, int, int]]


def state(run: Path) -> State:
    """What identifies the content of each file now: inode, size and time of change, by relative name."""
    found: State = {}
    for path in _walk(run):
        with contextlib.suppress(FileNotFoundError):  # replaced while we looked
            stat = path.stat()
            found[str(path.relative_to(run))] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def take(run: Path, staging: Path) -> State | None:
    """Fill ``staging``, made anew on the same file system, with the run's files of one moment.

    Returns the state that was taken, or None when the run never stood still.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        before = state(run)
        try:
            for name in before:
                _keep(run / name, staging / name)
        except FileNotFoundError:
            continue
        if _settled(state(run)) == _settled(before):
            return before
    return None


def _settled(found: State) -> State:
    """What must not have moved: not the logs, which only grow, nor the memory, copied at one moment itself."""
    return {n: what for n, what in found.items() if not n.startswith((f"{LOGS}/", DATABASE))}


def _walk(run: Path) -> list[Path]:
    """The run's files, without locks, what is being written, and folders of passing use (``.name``)."""
    found: list[Path] = []
    for folder, folders, names in os.walk(
        run
    ):  # unlike Path.rglob, it bears a folder that vanishes
        folders[:] = filter(_is_kept, folders)
        found += [Path(folder, name) for name in filter(_is_kept, names)]
    return sorted(path for path in found if path.is_file())


def _is_kept(name: str) -> bool:
    return not (
        name.startswith(".")
        or name.endswith(".partial")
        or name in (f"{DATABASE}-shm", f"{DATABASE}-lock")
    )


def _keep(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name == f"{DATABASE}-wal":
        return
    if source.name == DATABASE:
        with (
            contextlib.closing(sqlite3.connect(source, timeout=10)) as original,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
    elif source.parent.name == LOGS:
        shutil.copyfile(source, target)
    else:
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links
            shutil.copyfile(source, target)
