"""A second worker, with NumPy and pandas loaded, for the programs that mention them.

Loading takes a program longer than anything else it does, and every fork copies the page tables of what is
loaded: so there is a lean worker and this one, which it starts when it is first needed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import signal
import sys
from typing import Any

from sandbox.inside import fork, frames

LIBRARIES = ("numpy", "pandas")
MENTION = re.compile(r"\b(numpy|pandas)\b")


class Scientific:
    """Answers jobs as a worker does, in a process of its own. ``options``: those of the lean worker."""

    def __init__(self, options: dict[str, Any], stdin: int) -> None:
        self.stdin = stdin
        available = [name for name in LIBRARIES if importlib.util.find_spec(name)]
        root = os.path.join(options["root"], "scientific")
        os.makedirs(root, exist_ok=True)
        os.chmod(root, 0o711)
        text = json.dumps({**options, "root": root, "preload": available})
        jobs, answers = os.pipe(), os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                fork.libc.prctl(fork.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() == parent:
                    os.dup2(jobs[0], 0)
                    os.dup2(answers[1], 1)
                    os.execv(sys.executable, [*sys.orig_argv[:-1], text])
            finally:
                os._exit(72)
        os.close(jobs[0])
        os.close(answers[1])
        self._jobs, self._answers = jobs[1], answers[0]
        self._receive()

    def answer(self, job: dict[str, Any]) -> dict[str, Any]:
        frames.send(self._jobs, job)
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        """Raises EOFError when our own stdin closes meanwhile, RuntimeError when the worker is gone."""
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        poll.register(self.stdin, 0)
        if self.stdin in dict(poll.poll()):
            raise EOFError
        try:
            return frames.receive(self._answers)
        except EOFError as e:
            raise RuntimeError("the scientific worker is gone") from e


def wanted(job: dict[str, Any]) -> bool:
    return bool(MENTION.search(job["solution"]) or MENTION.search(job["test"] or ""))
