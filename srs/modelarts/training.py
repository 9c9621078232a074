"""`srs.train` as a child process: its output goes to the log, its run is uploaded while it works."""

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from srs.child import die_with
from srs.modelarts.mirror import Mirror
from srs.modelarts.storage import StorageError, retried

ROOT = Path(__file__).parents[2]
UPLOAD_EVERY_S = 60.0
POLL_S = 0.2
logger = logging.getLogger(__name__)
output = logging.getLogger("srs.modelarts.output")


def command(run: Path, *, resume: bool, config: str, overrides: Sequence[str]) -> list[str]:
    """The command line of `srs.train` for this run; the same settings whether new or resumed."""
    words = [sys.executable, "-m", "srs.train", "--run-dir", str(run)]
    words += ["--resume"] if resume else []
    words += ["--config", config] if config else []
    return words + [word for override in overrides for word in ("--set", override)]


def train(
    words: Sequence[str], environment: Mapping[str, str], mirror: Mirror | None, every_s: float
) -> int:
    """Run it to its end, uploading every ``every_s`` seconds; its exit code.

    SIGTERM and SIGINT are passed on, then waited for: the run stops in order and is uploaded once more.
    Raises StorageError when the last upload fails.
    """
    env = {**environment, "PYTHONUNBUFFERED": "1", "PYTHONPATH": _import_path(environment)}
    with subprocess.Popen(
        list(words), env=env, cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # A run bears SIGKILL, and one that outlived this process would hold the next attempt's lock.
        preexec_fn=functools.partial(die_with, os.getpid(), signal.SIGKILL),
    ) as process:  # fmt: skip
        before = {
            n: signal.signal(n, _passing_on(process)) for n in (signal.SIGTERM, signal.SIGINT)
        }
        assert process.stdout is not None
        pump = threading.Thread(target=_log_lines, args=(process.stdout,), daemon=True)
        pump.start()
        try:
            _watch(process, mirror, every_s)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if process.poll() is None:
                process.terminate()
        code = process.wait()
        pump.join(5.0)
    if mirror is not None:
        retried(functools.partial(mirror.upload, finished=code == 0, last=True), "not uploaded")
    return 128 - code if code < 0 else code


def _watch(process: subprocess.Popen[bytes], mirror: Mirror | None, every_s: float) -> None:
    due = time.monotonic() + every_s
    while process.poll() is None:
        time.sleep(POLL_S)
        if mirror is not None and time.monotonic() >= due:
            try:
                mirror.upload()
            except StorageError as e:
                logger.warning("not uploaded, trying again later: %s", e)
            due = time.monotonic() + every_s


def _log_lines(lines: IO[bytes]) -> None:
    for line in lines:
        output.info("%s", line.decode(errors="replace").rstrip("\n"))


def _passing_on(process: subprocess.Popen[bytes]) -> Callable[[int, FrameType | None], None]:
    def handler(_number: int, _frame: FrameType | None) -> None:
        if process.poll() is None:
            process.terminate()

    return handler


def _import_path(environment: Mapping[str, str]) -> str:
    known = environment.get("PYTHONPATH")
    return f"{ROOT}{os.pathsep}{known}" if known else str(ROOT)
