"""What the worker's zygotes fork: candidates, and pytest sessions."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sandbox.inside import files, fork, script, tests
from sandbox.inside.candidate import Candidate

PRELOADED = [
    "array", "bisect", "collections.abc", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "heapq", "inspect", "itertools", "math", "operator", "random", "re", "statistics", "string",
    "tempfile", "time", "typing",
]  # fmt: skip


class Candidates:
    """Forks that run a solution. No test is ever in this process: it is forked before there are any."""

    ready = "ready"

    def __init__(self, identity: fork.Identity, preload: Sequence[str]) -> None:
        self.identity = identity
        for name in (*PRELOADED, *preload):
            importlib.import_module(name)
        _move_to(identity.home)
        self.candidate = Candidate(3)
        for name in [n for n in sys.modules if n.partition(".")[0] == "sandbox"]:
            del sys.modules[name]  # not for solutions to find

    def prepare(self, fds: list[int]) -> None:
        pass

    def run(self, request: dict[str, Any], fds: list[int]) -> NoReturn:
        """``serve``: [socket to the tests, output]; else a script: [stdin, stdout, stderr, source]."""
        serve = request["kind"] == "serve"
        if serve:
            null = os.open(os.devnull, os.O_RDWR)
            named = {0: null, 1: fds[1], 2: fds[1], 3: fds[0]}
        else:
            named = dict(enumerate(fds))
        fork.become(self.identity, request, request["parent"], named)
        if serve:
            self.candidate.serve(request["output_kib"] << 10)
            os._exit(0)
        os._exit(script.run_source(3))


class PytestSessions:
    """Forks of a warm pytest: with the solution beside the tests, or behind a link (`tests.run`)."""

    def __init__(
        self, apart: fork.Identity, together: fork.Identity, preload: Sequence[str]
    ) -> None:
        self.apart, self.together = apart, together
        for name in preload:
            importlib.import_module(name)
        _move_to(apart.home)
        import pytest

        from sandbox.inside.pytest_run import Warm

        self.warm = Warm(apart.home)
        files.clear(os.fsencode(apart.home))  # warming up left temporary directories of this user's
        self.ready = f"pytest {pytest.__version__}"
        self.files: dict[tuple[str, str], Any] = {}
        os.chdir("/")

    def prepare(self, fds: list[int]) -> None:
        """The last descriptor holds the job; its test file is compiled once for all candidates."""
        with open(fds.pop(), "rb") as file:
            self.job = json.loads(file.read())
        key = (self.job["test"], self.job["only"])
        if key not in self.files:
            if len(self.files) >= tests.FILES_KEPT:
                self.files.pop(next(iter(self.files)))
            self.files[key] = tests.TestFile(*key)
            self.files[key].compile_for_pytest(self.warm.path)
        self.file = self.files[key]
        files.write(self.warm.path, self.job["test"])
        if self.job["together"]:
            files.write(os.path.join(self.apart.home, "solution.py"), self.job["solution"])

    def run(self, request: dict[str, Any], fds: list[int]) -> NoReturn:
        """[output, records], and the socket to the candidate unless they run together."""
        null = os.open(os.devnull, os.O_RDONLY)
        named = {0: null, 1: fds[0], 2: fds[0], 3: fds[1], **({4: fds[2]} if len(fds) > 2 else {})}
        identity = self.together if self.job["together"] else self.apart
        fork.become(identity, request, request["parent"], named)
        from sandbox.inside.pytest_run import run

        if self.job["together"]:
            tests.run_together(lambda record: run(self.warm, self.file, record))
        else:
            tests.run_apart(self.job, lambda record: run(self.warm, self.file, record))
        os._exit(0)


def _move_to(home: str) -> None:
    os.environ.update(HOME=home, TMPDIR=home)
