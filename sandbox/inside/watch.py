"""One run, seen from the worker: what its pipes bring until its last report, its end, or the deadline."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

REPORT_BYTES_MAX = 4 << 20
LOOK_EVERY_S = 0.5


class Watch:
    """``pid``: the process whose end ends the run. ``report``: where its records come, if it sends any.

    ``outputs``: what programs print. ``stdin``: the worker's own, whose closing ends everything. ``look`` is
    called every half second that the run lasts.
    """

    def __init__(
        self,
        pid: int,
        report: int | None,
        outputs: Sequence[int],
        stdin: int,
        look: Callable[[], None],
    ) -> None:
        self.pid, self.report, self.stdin, self.look = pid, report, stdin, look
        self.records = bytearray()
        self.output = {fd: bytearray() for fd in outputs}
        self.done = False

    def until(self, deadline: float, output_limit: int) -> str:
        """Why it ended: ``finished``, ``timeout``, ``output_limit`` or ``died``."""
        gone = os.pidfd_open(self.pid)
        poll = select.poll()
        fds = self._fds()
        for fd in (*fds, gone):
            poll.register(fd, select.POLLIN)
        poll.register(self.stdin, 0)  # reports only a hang-up: nobody waits for this job any more
        next_look = time.monotonic() + LOOK_EVERY_S
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "timeout"
                ready = dict(poll.poll(min(left, LOOK_EVERY_S) * 1000 + 1))
                if time.monotonic() >= next_look:
                    self.look()
                    next_look = time.monotonic() + LOOK_EVERY_S
                if self.stdin in ready:
                    raise EOFError
                for fd in fds:
                    if fd in ready and not self._read(fd):
                        poll.unregister(fd)
                if self.done:
                    self._drain()
                    return "finished"
                if sum(map(len, self.output.values())) > output_limit:
                    return "output_limit"
                if len(self.records) > REPORT_BYTES_MAX:
                    return "died"
                if gone in ready:
                    self._drain()
                    return "finished" if self.done else "died"
        finally:
            os.close(gone)

    def close(self) -> None:
        for fd in self._fds():
            os.close(fd)

    def _fds(self) -> list[int]:
        return [*self.output, *([] if self.report is None else [self.report])]

    def _read(self, fd: int) -> bool:
        try:
            chunk = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        if fd == self.report:
            self.records += chunk
            self.done = self.done or b'{"done": true}\n' in self.records[-64:]
        else:
            self.output[fd] += chunk
        return bool(chunk)

    def _drain(self) -> None:
        """What was written before the end is still in the pipes: at most one pipe's worth each."""
        for fd in self._fds():
            os.set_blocking(fd, False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(16):
                    chunk = os.read(fd, 1 << 16)
                    if not chunk:
                        break
                    if fd == self.report:
                        self.records += chunk
                    else:
                        self.output[fd] += chunk
        self.done = self.done or b'{"done": true}\n' in self.records[-64:]

    def parsed(self) -> Iterator[dict[str, Any]]:
        """The records that arrived whole. A program can write there too: what isn't one is skipped."""
        for line in bytes(self.records).split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line)
                if _is_record(record):
                    yield record


def _is_record(record: object) -> bool:
    match record:
        case {"error": str()} | {"stopped": str()} | {"done": True}:
            return True
        case {"used": int(), "shared": dict(), "calls": int(), "wrote": bool()}:
            return True
        case {"collected": [*ids]}:
            return all(isinstance(i, str) for i in ids)
        case {"test": [str(), "passed" | "failed" | "error" | "skipped", str()], "memory": bool()}:
            return True
    return False
