"""Frames to and from one worker, each with a deadline."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from typing import Any, Protocol

from sandbox.inside.frames import pack


class WorkerDied(Exception):
    """The worker is gone or silent; whatever job it had can be given to another."""


class Handle(Protocol):
    """A started worker. ``ready`` is its first frame; ``kill`` removes every trace of it, twice at will."""

    link: Link
    ready: dict[str, Any]

    def kill(self) -> None: ...


class Link:
    """``multiplexed``: each chunk from the worker has Docker's 8-byte header (stream, 0, 0, 0, length)."""

    def __init__(self, read_fd: int, write_fd: int, *, multiplexed: bool = False) -> None:
        self.read_fd, self.write_fd, self.multiplexed = read_fd, write_fd, multiplexed
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._raw = bytearray()
        self._data = bytearray()
        self.stderr = bytearray()
        self.busy = threading.Lock()
        """Held while the descriptors are in use: whoever closes them takes it first."""

    def send(self, message: dict[str, Any], timeout_s: float) -> None:
        """Raises WorkerDied when the worker doesn't take the whole frame in time."""
        with self.busy:
            self._send(memoryview(pack(message)), timeout_s)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """The next frame. Raises WorkerDied when none arrives in time, or nothing can."""
        with self.busy:
            return self._receive(timeout_s)

    def _send(self, data: memoryview, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while data:
            if not _wait(self.write_fd, select.POLLOUT, deadline):
                raise WorkerDied("the worker does not read its jobs")
            try:
                data = data[os.write(self.write_fd, data) :]
            except BlockingIOError:
                continue
            except OSError as e:
                raise WorkerDied(f"the worker is gone ({e.strerror})") from e

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            if len(self._data) >= 4:
                end = 4 + int.from_bytes(self._data[:4], "big")
                if len(self._data) >= end:
                    message: dict[str, Any] = json.loads(bytes(self._data[4:end]))
                    del self._data[:end]
                    return message
            if not _wait(self.read_fd, select.POLLIN, deadline):
                raise WorkerDied(f"no answer from the worker in {timeout_s:.0f} s")
            try:
                chunk = os.read(self.read_fd, 1 << 18)
            except BlockingIOError:
                continue
            except OSError as e:
                raise WorkerDied(f"the worker is gone ({e.strerror})") from e
            if not chunk:
                raise WorkerDied("the worker is gone")
            self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        if not self.multiplexed:
            self._data += chunk
            return
        self._raw += chunk
        while len(self._raw) >= 8:
            end = 8 + int.from_bytes(self._raw[4:8], "big")
            if len(self._raw) < end:
                return
            target = self._data if self._raw[0] == 1 else self.stderr
            target += self._raw[8:end]
            del self._raw[:end]


POLL_MS_MAX = 2**31 - 1


def _wait(fd: int, event: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(min(max(0.0, deadline - time.monotonic()) * 1000, POLL_MS_MAX)))
