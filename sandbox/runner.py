"""The sandbox contract: jobs in, what was seen out, and one error for a broken sandbox."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol, Self

from sandbox.inside.runs import ALTERED_RUNS, ORIGINAL_RUNS
from srs.types import ExecResult

Backend = Literal["auto", "docker", "process"]
Either = Literal["never", "refused", "failed"]


class SandboxError(Exception):
    """The judge is broken (no daemon, worker dead twice, disk full); says nothing about the program."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one job may use. The timeout is wall-clock and covers import, collection and all tests."""

    timeout_s: float = 5.0
    memory_mib: int = 512
    output_kib: int = 256
    processes: int = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AlteredTest:
    """A copy of a test file with one expectation altered, and the id (without parameters) of the test
    that the alteration is in."""

    source: str
    test: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One program to run.

    With ``test``, a test file that imports ``solution``; or with ``stdin``, a script that runs once per
    entry and whose stdout is returned.

    ``either``: when to run together, too, if there are canaries: where the tests do what no link between
    two processes can ("refused"), or whenever they don't pass apart ("failed").
    ``together``: tests and solution in one process; otherwise the tests have their own, where no code
    of the solution's ever runs. ``objects``: how far they may rely on objects of the solution's own
    classes there: 0 not at all, 1 on methods and attributes, 2 on operators such as ``==`` too.
    ``writes``: whether a pass may rest on what the solution does to its arguments.
    ``bound``: (name, module, qualified name or "") that the tests take from the standard library where
    they import it from the solution. ``canaries`` run, in random order, when all tests passed, until
    the solution passes one; each run has the job's time limit.
    """

    solution: str
    test: str | None = None
    stdin: tuple[str, ...] = ()
    limits: Limits = Limits()
    together: bool = False
    either: Either = "never"
    objects: int = 2
    bound: tuple[tuple[str, str, str], ...] = ()
    writes: bool = True
    canaries: tuple[AlteredTest, ...] = ()

    @property
    def runs(self) -> int:
        """How often its programs run at most."""
        if self.test is None:
            return 1
        runs = 1 if self.writes or self.together else 2
        if self.canaries:
            runs += ORIGINAL_RUNS + max(ALTERED_RUNS, len(self.canaries))
        return runs if self.either == "never" else 2 * runs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """The ``[sandbox]`` section."""

    backend: Backend = "auto"
    """``auto`` takes Docker when a daemon answers, else the process backend."""
    workers: int = 0
    """Warm workers; 0 = one per core."""
    timeout_s: float = 5.0
    memory_mib: int = 512
    output_kib: int = 256
    processes: int = 64
    image: str = ""
    """Docker image; empty = the one built from ``sandbox/Dockerfile``."""
    runtime: str = ""
    """Docker runtime, such as ``runsc``; empty = the daemon's default."""

    @property
    def limits(self) -> Limits:
        return Limits(
            timeout_s=self.timeout_s,
            memory_mib=self.memory_mib,
            output_kib=self.output_kib,
            processes=self.processes,
        )


class Sandbox(Protocol):
    """Runs jobs on warm workers. Entering starts the workers, leaving removes all they made."""

    name: str
    not_covered: tuple[str, ...]
    """What this backend does not protect against here, one phrase each."""
    identity: str
    """Backend, Python, pytest and image: equal jobs give equal results while it stays the same."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def run(self, jobs: Iterable[Job]) -> Iterator[ExecResult]:
        """Results in the order of ``jobs``, which is consumed lazily while earlier jobs run.

        Raises SandboxError when a job could not be run even on a fresh worker.
        """
        ...
