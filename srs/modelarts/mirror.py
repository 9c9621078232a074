"""A run directory and its copy in storage: uploaded while it grows, restored where the next attempt starts.

    run/ ─► snapshot ─► what is new ─► upload ─► manifest.json, last

``manifest.json`` names, for each file of one moment of the run, where its content lies. Content that a
manifest names is never overwritten before the next manifest is there: a changed file goes to the other of
its two places, ``NAME`` and ``other/NAME``. So an upload that is cut off at any point leaves the last
manifest whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs.modelarts import snapshot
from srs.modelarts.storage import Storage, StorageError
from srs.types import UserError

MANIFEST = "manifest.json"
OTHER = "other"
FORMAT = 1
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file: where in storage its content lies, its SHA-256, its size in bytes."""

    at: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``sequence`` counts the manifests of a run; ``finished``: the run came to its end."""

    sequence: int
    finished: bool
    files: dict[str, Entry]

    def to_bytes(self) -> bytes:
        data = {"format": FORMAT, **dataclasses.asdict(self)}
        return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


class Mirror:
    """``work/run`` and its copy. ``work`` is node-local and may outlive an attempt, or not."""

    def __init__(self, work: Path, storage: Storage) -> None:
        self.run = work / "run"
        self._storage = storage
        self._staging = work / "staging"
        self._incoming = work / "incoming"
        self._mark = work / "uploaded.json"
        self._hashes: dict[tuple[int, int, int], str] = {}
        self._uploaded: snapshot.State | None = None
        self._manifest = self._read()

    def restore(self) -> bool:
        """Bring ``run`` to the newest state known. Returns whether there is a run to resume.

        What lies here is newer when it continued the manifest in storage; otherwise another node went on
        in the meantime and the storage is newer. A run that went to another URL is moved aside. Raises
        StorageError, and UserError when the storage is damaged.
        """
        with _local_errors(self.run):
            if not (self.run / "config.json").is_file():
                shutil.rmtree(
                    self.run, ignore_errors=True
                )  # a start that had written no config yet
            url, sequence = self._remembered()
            if self.run.is_dir() and url not in ("", self.url):
                self._set_aside(url)
            if self._manifest is None:
                self._remember(0)
                return self.run.is_dir()
            if self.run.is_dir() and (url, sequence) == (self.url, self._manifest.sequence):
                logger.info("continuing with the run of this node's disk")
                return True
            self._download(self._manifest)
            return True

    def upload(self, *, finished: bool = False, last: bool = False) -> bool:
        """Upload what changed since the last manifest, then the manifest. Returns whether there was any.

        Logs alone are reason enough only for the ``last`` upload of an attempt.
        Raises StorageError; what was uploaded until then is named by no manifest.
        """
        with _local_errors(self.run):
            return self._upload(finished, last)

    def _upload(self, finished: bool, last: bool) -> bool:
        if not (self.run / "rounds").is_dir():  # `srs.train` may still refuse it and take it back
            return False
        hurried = not (last or finished)
        if hurried and self._uploaded == _without_logs(snapshot.state(self.run)):
            return False
        taken = snapshot.take(self.run, self._staging)
        if taken is None:
            logger.warning("the run changed all the time: uploading it later")
            return False
        new, old = self._plan(finished), self._manifest.files if self._manifest else {}
        done = self._manifest is not None and self._manifest.finished
        if new.files == old and done == finished:
            self._publish(new)
            return False
        changed = {n: entry for n, entry in new.files.items() if old.get(n) != entry}
        if changed:
            self._storage.upload(self._arrange({e.at: n for n, e in changed.items()}))
        self._storage.write(MANIFEST, new.to_bytes())
        self._manifest, self._uploaded = new, _without_logs(taken)
        self._remember(new.sequence)
        size = sum(entry.size for entry in changed.values())
        logger.info("uploaded %d files, %.1f MiB, to %s", len(changed), size / 2**20, self.url)
        self._publish(new)
        return True

    @property
    def url(self) -> str:
        return self._storage.url

    def _plan(self, finished: bool) -> Manifest:
        """The manifest of what is staged."""
        old = self._manifest.files if self._manifest else {}
        files = {}
        for path in sorted(p for p in self._staging.rglob("*") if p.is_file()):
            name = str(path.relative_to(self._staging))
            sha256 = self._hash(path)
            before = old.get(name)
            if before is not None and before.sha256 == sha256:
                files[name] = before
            else:
                taken = before is not None and before.at == name
                at = f"{OTHER}/{name}" if taken else name
                files[name] = Entry(at=at, sha256=sha256, size=path.stat().st_size)
        sequence = self._manifest.sequence + 1 if self._manifest else 1
        return Manifest(sequence=sequence, finished=finished, files=files)

    def _arrange(self, names: dict[str, str]) -> Path:
        """A folder that holds the staged files under the names they get in storage."""
        folder = self._staging.with_name("outgoing")
        shutil.rmtree(folder, ignore_errors=True)
        for at, name in names.items():
            target = folder / at
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self._staging / name, target)
            except OSError:  # a file system without hard links
                shutil.copyfile(self._staging / name, target)
        return folder

    def _publish(self, manifest: Manifest) -> None:
        """Of a finished run, put every file under its own name too, for whoever looks at the folder."""
        if not manifest.finished:
            return
        moved = {name: name for name, entry in manifest.files.items() if entry.at != name}
        if moved:
            self._storage.upload(self._arrange(moved))

    def _download(self, manifest: Manifest) -> None:
        logger.info("restoring %d files from %s", len(manifest.files), self.url)
        shutil.rmtree(self._incoming, ignore_errors=True)
        fetched, whole = self._incoming / "fetched", self._incoming / "run"
        self._storage.download([entry.at for entry in manifest.files.values()], fetched)
        for name, entry in manifest.files.items():
            source, target = fetched / entry.at, whole / name
            if not source.is_file() or self._hash(source) != entry.sha256:
                raise UserError(
                    f"{self.url}/{entry.at}: not the file that {MANIFEST} names; "
                    "give another run_url to start anew"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
        self._mark.unlink(missing_ok=True)
        shutil.rmtree(self.run, ignore_errors=True)
        whole.rename(self.run)
        self._remember(manifest.sequence)
        shutil.rmtree(self._incoming, ignore_errors=True)

    def _set_aside(self, url: str) -> None:
        names = (self.run.with_name(f"run-{number}") for number in itertools.count(1))
        aside = next(path for path in names if not path.exists())
        self.run.rename(aside)
        logger.warning("run_url has changed: the run that went to %s now lies in %s", url, aside)

    def _remembered(self) -> tuple[str, int]:
        """Where the run on this disk goes, and the last manifest that it wrote or came from, or 0."""
        try:
            mark = json.loads(self._mark.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "", 0
        return mark["url"], mark["sequence"]

    def _remember(self, sequence: int) -> None:
        partial = self._mark.with_name(f"{self._mark.name}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        mark = {"url": self.url, "sequence": sequence}
        partial.write_text(json.dumps(mark), encoding="utf-8")
        partial.replace(self._mark)

    def _hash(self, path: Path) -> str:
        stat = path.stat()
        key = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if key not in self._hashes:
            with path.open("rb") as file:
                self._hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[key]

    def _read(self) -> Manifest | None:
        content = self._storage.read(MANIFEST)
        if content is None:
            return None
        where = f"{self._storage.url}/{MANIFEST}"
        try:
            data: dict[str, Any] = json.loads(content)
            known = data.pop("format")
            files = {name: Entry(**entry) for name, entry in data.pop("files").items()}
            manifest = Manifest(files=files, **data)
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            raise UserError(f"{where}: damaged: {e}; give another run_url to start anew") from e
        if known != FORMAT:
            raise UserError(f"{where}: format {known}, and this version reads {FORMAT}")
        for name in [*files, *(entry.at for entry in files.values())]:
            if name.startswith("/") or ".." in Path(name).parts:
                raise UserError(f"{where}: {name!r} would leave the run's folder")
        return manifest


@contextlib.contextmanager
def _local_errors(run: Path) -> Iterator[None]:
    """A full disk, or a file that went: the run itself goes on, and a later try may succeed."""
    try:
        yield
    except (OSError, sqlite3.Error) as e:
        raise StorageError(f"{run}: {type(e).__name__}: {e}") from e


def _without_logs(state: snapshot.State) -> snapshot.State:
    return {name: what for name, what in state.items() if not name.startswith(f"{snapshot.LOGS}/")}
