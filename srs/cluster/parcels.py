"""Folders that travel: an adapter goes to each host once, under the digest of its content."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

CHUNK_BYTES = 32 << 20
KEPT_HERE, KEPT_THERE = 2, 8
"""Parcels held in the object store, and folders kept on a host: the latest ones."""
Chunk = tuple[str, bytes]
"""A file's name within its folder, with slashes, and the next part of it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A folder in Ray's object store: (name, reference to bytes) in order. Equal content, equal digest."""

    digest: str
    chunks: tuple[tuple[str, Any], ...]


class Outbox:
    """Makes parcels on the driver; thread-safe. A folder that is sent again is not read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: collections.OrderedDict[object, Parcel] = collections.OrderedDict()

    def parcel(self, folder: Path) -> Parcel:
        import ray

        with self._lock:
            state = (folder.resolve(), *((str(f), f.stat().st_mtime_ns) for f in _files(folder)))
            if state not in self._made:
                digest = hashlib.sha256()
                chunks = []
                for name, data in read(folder):
                    digest.update(f"{name} {len(data)}\n".encode() + data)
                    chunks.append((name, ray.put(data)))
                self._made[state] = Parcel(digest=digest.hexdigest(), chunks=tuple(chunks))
            self._made.move_to_end(state)
            while len(self._made) > KEPT_HERE:
                self._made.popitem(last=False)
            return self._made[state]


def unpack(parcel: Parcel, shelf: Path) -> Path:
    """On a host: the folder ``shelf/digest``, fetched unless it is there. Any number may call it at once.

    The folders used longest ago are removed.
    """
    import ray

    target = shelf / parcel.digest
    if not target.is_dir():
        shelf.mkdir(parents=True, exist_ok=True)
        arriving = Path(tempfile.mkdtemp(prefix=".arriving-", dir=shelf))
        try:
            write(((name, ray.get(chunk)) for name, chunk in parcel.chunks), arriving)
            try:
                arriving.rename(target)
            except OSError:
                if not target.is_dir():  # else another actor was faster
                    raise
        finally:
            shutil.rmtree(arriving, ignore_errors=True)
    os.utime(target)
    folders = [path for path in shelf.iterdir() if not path.name.startswith(".")]
    for old in sorted(folders, key=lambda path: path.stat().st_mtime)[:-KEPT_THERE]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def read(folder: Path) -> Iterator[Chunk]:
    """A folder's files, by name, in chunks of at most `CHUNK_BYTES`; an empty file is one empty chunk."""
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            data = file.read(CHUNK_BYTES)
            yield name, data
            while data := file.read(CHUNK_BYTES):
                yield name, data


def write(chunks: Iterable[Chunk], folder: Path) -> None:
    """The inverse of `read`, into an existing folder."""
    for name, data in chunks:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
