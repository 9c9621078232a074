"""The process backend: the worker as a child process, for machines without Docker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from sandbox.link import Link, WorkerDied
from sandbox.runner import SandboxError

NAME = "process"
START_S = 60.0
END_S = 5.0
CONTAIN = Path(__file__).with_name("contain.py")


class ProcessWorker:
    """One worker process. Raises SandboxError when it doesn't start."""

    def __init__(self) -> None:
        options = {"main": str(Path(__file__).parent / "inside" / "main.py")}
        with contextlib.ExitStack() as opened:
            try:
                self._stderr = opened.enter_context(tempfile.TemporaryFile())
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-s", "-B", str(CONTAIN), json.dumps(options)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._stderr,
                    bufsize=0,
                    cwd="/",
                    start_new_session=True,
                    env={
                        "PATH": os.defpath,
                        "HOME": "/nonexistent",
                        "PYTHONHASHSEED": "0",
                        "PYTHONUTF8": "1",
                    },
                )
            except OSError as e:  # no disk for the one, no process or descriptor for the other
                raise SandboxError(f"no worker process: {e}") from e
            opened.pop_all()  # from here on, kill closes it
        assert self._process.stdin
        assert self._process.stdout
        self.link = Link(self._process.stdout.fileno(), self._process.stdin.fileno())
        self.ready: dict[str, Any]
        self._killing = threading.Lock()
        try:
            self.ready = self.link.receive(START_S)
        except WorkerDied as e:
            self._stderr.seek(0)
            lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
            self.kill()
            raise SandboxError(f"no worker process: {lines[-1] if lines else e}") from e

    def kill(self) -> None:
        """End the worker, by its closed stdin where it still listens."""
        assert self._process.stdin
        assert self._process.stdout
        with self._killing:
            self._process.stdin.close()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            with self.link.busy:
                self._process.stdout.close()
            self._stderr.close()
