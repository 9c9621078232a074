"""What the worker's zygotes fork: candidates, and pytest sessions."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sandbox.inside import files, fork, runner, script, tests
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
        fork.own_session()
        for name in (*PRELOADED, *preload):
            importlib.import_module(name)
        _move_to(identity.home)
        self.candidate = Candidate(3)
        for name in [n for n in sys.modules if n.partition(".")[0] == "sandbox"]:
            del sys.modules[name]  # not for solutions to find

    def prepare(self, request: dict[str, Any], fds: list[int]) -> None:
        pass

    def run(self, request: dict[str, Any], birth: fork.Birth, fds: list[int]) -> NoReturn:
        """``serve``: [socket to the tests, output]; else a script: [stdin, stdout, stderr, source]."""
        serve = request["kind"] == "serve"
        if serve:
            null = os.open(os.devnull, os.O_RDWR)
            named = {0: null, 1: fds[1], 2: fds[1], 3: fds[0]}
        else:
            named = dict(enumerate(fds))
        fork.become(self.identity, request, birth, named)
        if serve:
            self.candidate.serve(request["output_kib"] << 10)
            os._exit(0)
        os._exit(script.run_source(3))


class ApartSessions:
    """Forks of a warm pytest whose solution is behind a link. What is compiled serves all candidates."""

    def __init__(self, identity: fork.Identity, preload: Sequence[str]) -> None:
        self.identity = identity
        self.warm = _warm(identity.home, preload)
        import pytest

        self.ready = f"pytest {pytest.__version__}"
        self.files: dict[str, tests.TestFile] = {}

    def prepare(self, request: dict[str, Any], fds: list[int]) -> None:
        """The last descriptor holds the job, unless the fork is to be a runner."""
        if request["kind"] == "runner":
            return
        self.job = _read(fds.pop())
        source = self.job["test"]
        if source not in self.files:
            if len(self.files) >= tests.FILES_KEPT:
                self.files.pop(next(iter(self.files)))
            self.files[source] = tests.TestFile(source)
            self.files[source].compile_for_pytest(self.warm.path)
        files.write(self.warm.path, source)

    def run(self, request: dict[str, Any], birth: fork.Birth, fds: list[int]) -> NoReturn:
        """[output, records, socket to the candidate]; of a runner, [socket to the worker]"""
        if request["kind"] == "runner":
            runner.become(self.identity, request, birth, fds[0])
            runner.serve(PytestFiles(self.warm))
        _become(self.identity, request, birth, fds)
        from sandbox.inside.pytest_run import run

        file = self.files[self.job["test"]]
        tests.run_apart(self.job, lambda record: run(self.warm, file, record))
        os._exit(0)


class PytestFiles:
    """What a runner does with files that need pytest: one session, a module of its own for each run."""

    def __init__(self, warm: Any) -> None:
        self.warm = warm

    def compile(self, file: tests.TestFile) -> None:
        file.compile_for_pytest(self.warm.path)

    def run(self, file: tests.TestFile, record: tests.Record) -> None:
        self.warm.run_module(file, record)


class TogetherSessions:
    """Forks of a warm pytest that run the solution beside the tests.

    No test is ever in this process either: a candidate could find what is left of it, such as the copy
    of its tests that is not altered. Pytest is loaded when it is first needed.
    """

    ready = "ready"

    def __init__(self, identity: fork.Identity, preload: Sequence[str]) -> None:
        self.identity = identity
        fork.own_session()
        self.preload = preload
        self.warm: Any = None

    def prepare(self, request: dict[str, Any], fds: list[int]) -> None:  # noqa: ARG002 -- they are for the fork
        if self.warm is None:
            self.warm = _warm(self.identity.home, self.preload)
            gc.freeze()

    def run(self, request: dict[str, Any], birth: fork.Birth, fds: list[int]) -> NoReturn:
        """[output, records, job]"""
        _become(self.identity, request, birth, fds)
        from sandbox.inside.pytest_run import run

        job = _read(4)
        file = tests.TestFile(job["test"])
        file.compile_for_pytest(self.warm.path)
        files.write(self.warm.path, job["test"])
        files.write(os.path.join(self.identity.home, "solution.py"), job["solution"])
        tests.run_together(lambda record: run(self.warm, file, record))
        os._exit(0)


def _warm(home: str, preload: Sequence[str]) -> Any:
    from sandbox.inside.pytest_run import Warm

    for name in preload:
        importlib.import_module(name)
    _move_to(home)
    warm = Warm(home)
    files.clear(os.fsencode(home))  # warming up left temporary directories of this user's
    os.chdir("/")
    return warm


def _become(
    identity: fork.Identity, request: dict[str, Any], birth: fork.Birth, fds: list[int]
) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    named = {0: null, 1: fds[0], 2: fds[0], 3: fds[1], 4: fds[2]}
    fork.become(identity, request, birth, named)


def _read(fd: int) -> dict[str, Any]:
    with open(fd, "rb") as file:
        job: dict[str, Any] = json.loads(file.read())
    return job


def _move_to(home: str) -> None:
    os.environ.update(HOME=home, TMPDIR=home)
