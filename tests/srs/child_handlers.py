"""Handlers that `test_child.py` has run in child processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs.types import UserError


class Echo:
    def __init__(self, fail: str = "", delay_s: float = 0.0) -> None:
        print("loading", flush=True)
        time.sleep(delay_s)
        if fail == "user":
            raise UserError("model.path: nothing there")
        if fail:
            raise RuntimeError(fail)

    def describe(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "session": os.getsid(0)}

    def count(self, to: int) -> Iterator[int]:
        yield from range(to)

    def text(self, size: int) -> Iterator[str]:
        yield "é" * size

    def fail(self, kind: str) -> Iterator[int]:
        yield 1
        if kind == "user":
            raise UserError("adapter: no adapter there")
        if kind == "die":
            print("last words", flush=True)
            os._exit(7)
        if kind == "kill":
            os.kill(os.getpid(), 9)
        raise ValueError("broken\nin two lines")

    def grandchild(self) -> Iterator[int]:
        """The pid of a process of our own that would outlive us."""
        yield subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]).pid

    def sleep(self, seconds: float) -> Iterator[int]:
        yield 0
        time.sleep(seconds)

    def marks(self, path: str, count: int) -> Iterator[int]:
        """Touch ``path`` after having sent ``count`` items, to show that nobody held us up."""
        yield from range(count)
        Path(path).touch()
