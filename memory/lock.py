"""One writer at a time: a lock on a file beside the memory, told at once instead of after a wait."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from srs.types import UserError


class WriterLock:
    """Held from construction to `release`, or until the process ends, however it ends.

    The lock lies on ``<memory>-lock``, never on the memory itself: closing any descriptor of a database
    drops the locks that SQLite holds on it in the same process.
    """

    def __init__(self, memory: Path) -> None:
        """Raises UserError when another process writes this memory, or its folder can't be written."""
        self._path = memory.with_name(memory.name + "-lock")
        while True:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError as e:
                raise UserError(
                    f"{memory}: cannot be opened: check that its folder exists and is writable"
                ) from e
            except OSError as e:
                raise UserError(
                    f"{memory}: no lock beside it ({e.strerror}): make the file and its folder writable, "
                    "then run again"
                ) from e
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(self._fd)
                raise UserError(
                    f"{memory}: another process (pid {holder}) is writing this memory: wait for it or "
                    "end it, then run again"
                ) from e
            if self._is_current():
                break
            os.close(self._fd)  # the last holder removed the file between our open and our lock
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False
