"""Where a job's files outlive its container: OBS through moxing, or a mounted folder (SFS, OBS PFS)."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from srs.types import UserError

RETRY_S = (5.0, 30.0)
"""Seconds to wait before trying again what must succeed."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


class StorageError(Exception):
    """The storage, or the disk beside it, failed; a later try may succeed."""


class Storage(Protocol):
    """Named files under one URL. Every method raises StorageError."""

    url: str

    def read(self, name: str) -> bytes | None:
        """A file's content, or None when there is none of that name."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace a file at once: a reader sees the old content or the new, never a part."""
        ...

    def upload(self, folder: Path) -> None:
        """Copy every file below ``folder``, under its relative name."""
        ...

    def download(self, names: Iterable[str], folder: Path) -> None:
        """Copy these files to ``folder``, under the same names."""
        ...


def retried(action: Callable[[], T], failure: str) -> T:
    """What ``action`` returns, tried again when the storage failed. Raises the last StorageError."""
    for wait_s in RETRY_S:
        try:
            return action()
        except StorageError as e:
            logger.warning("%s, trying again in %.0f s: %s", failure, wait_s, e)
            time.sleep(wait_s)
    return action()


def open_storage(url: str) -> Storage:
    """``obs://bucket/folder`` or an absolute path. Raises UserError when it can't be used."""
    if url.startswith("obs://"):
        return Obs(url)
    if url.startswith("/"):
        return Folder(Path(url))
    raise UserError(
        f"run_url = {url!r}: write obs://bucket/folder, or the path of a mounted folder"
    )


class Folder:
    """A folder that other nodes, and later attempts, see too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)

    def read(self, name: str) -> bytes | None:
        with _as_storage_error(self.url):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        with _as_storage_error(self.url):
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)

    def upload(self, folder: Path) -> None:
        with _as_storage_error(self.url):
            for source in sorted(path for path in folder.rglob("*") if path.is_file()):
                target = self.path / source.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(f".{target.name}.partial")
                shutil.copyfile(source, partial)
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
                partial.replace(target)

    def download(self, names: Iterable[str], folder: Path) -> None:
        with _as_storage_error(self.url):
            for name in names:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.path / name, target)


class Obs:
    """OBS through ``moxing.file``, which brings the job's own credentials."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            import moxing
        except ModuleNotFoundError as e:
            raise UserError(
                f"run_url = {url}: this image has no moxing: put its wheel into the image "
                "(scripts/modelarts/Dockerfile), or mount the folder and give its path as run_url"
            ) from e
        self._file: Any = moxing.file

    def read(self, name: str) -> bytes | None:
        with _as_storage_error(self.url):
            if not self._file.exists(f"{self.url}/{name}"):
                return None
            content: bytes = self._file.read(f"{self.url}/{name}", binary=True)
            return content

    def write(self, name: str, content: bytes) -> None:
        with _as_storage_error(self.url):
            self._file.write(f"{self.url}/{name}", content, binary=True)

    def upload(self, folder: Path) -> None:
        with _as_storage_error(self.url):
            self._file.copy_parallel(str(folder), self.url, is_processing=False)

    def download(self, names: Iterable[str], folder: Path) -> None:
        wanted = list(names)
        for name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with _as_storage_error(self.url):
            self._file.copy_parallel(self.url, str(folder), file_list=wanted, is_processing=False)


@contextlib.contextmanager
def _as_storage_error(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as e:  # the boundary: moxing documents no errors of its own
        text = " ".join(str(e).split())
        raise StorageError(f"{url}: {type(e).__name__}: {text}") from e
