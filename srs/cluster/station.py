"""One host that grades: the actor with a sandbox of its own, and the driver's end of it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

from sandbox.pool import open_sandbox
from sandbox.runner import Job, Sandbox, SandboxConfig, SandboxError
from srs.cluster import hosts
from srs.cluster.errors import first_line
from srs.cluster.hosts import Host, check_host, end, start
from srs.types import ExecResult, UserError

LANES = 2
"""Batches under way on a host: one runs while the other travels."""
START_S, CLOSE_S = 600.0, 15.0
"""Starting may build the sandbox's image first."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a host says of its sandbox, see `Sandbox`."""

    name: str
    identity: str
    not_covered: tuple[str, ...]
    workers: int


class GradingHost:
    """The actor: a local sandbox on one host. Its methods run in threads, several at a time."""

    _sandbox: Sandbox | None = None

    def open(self, config: SandboxConfig, code: dict[str, str]) -> Said:
        """Start the workers. Raises SandboxError, and UserError when the host has other code."""
        check_host(code)
        sandbox = open_sandbox(config)
        self._sandbox = sandbox.__enter__()
        return Said(
            name=sandbox.name,
            identity=sandbox.identity,
            not_covered=sandbox.not_covered,
            workers=getattr(sandbox, "n", 1),
        )

    def grade(self, jobs: Sequence[Job]) -> list[ExecResult]:
        """Raises SandboxError."""
        assert self._sandbox is not None
        return list(self._sandbox.run(jobs))

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.__exit__(None, None, None)


class Station:
    """One host. ``lock`` guards ``actor``, which is None before `start` and once dismissed.

    ``lost``: the host grades no more.
    """

    def __init__(self, host: Host, config: SandboxConfig) -> None:
        self.host = host
        self.actor: Any = None
        self.dismissed: Any = None
        self.lost = False
        self.restarts = 0
        self.lock = threading.Lock()
        self._config = config
        self._opening: Any = None

    def start(self) -> None:
        """Start an actor on the host and a sandbox in it, in the background."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.actor = start(
            GradingHost,
            num_cpus=0,  # it shares the cores with generation, as on one machine
            max_concurrency=LANES,
            scheduling_strategy=NodeAffinitySchedulingStrategy(self.host.id, soft=False),
        )
        self._opening = self.actor.open.remote(self._config, hosts.code())

    def ready(self) -> Said:
        """Wait for the sandbox. Raises SandboxError when there is none, UserError for other code."""
        import ray

        try:
            said: Said = ray.get(self._opening, timeout=START_S)
        except ray.exceptions.RayTaskError as e:
            raise told(e) from e
        except ray.exceptions.RayError as e:
            raise SandboxError(f"the host is lost: {first_line(e)}") from e
        return said

    def dismiss(self) -> None:
        """End the actor; other calls of it, which fail by that, can tell by ``dismissed``."""
        self.dismissed = self.actor
        end([self.actor])
        self.actor = None

    def give_up(self) -> None:
        """End the actor for good."""
        self.lost = True
        self.dismiss()


def closing(actor: Any) -> Any:
    """Have the actor's sandbox remove what it made; the reference to wait for."""
    return actor.close.options(concurrency_group="closing").remote()


def told(error: Any) -> BaseException:
    """What an actor's method raised, as it raised it; a defect of ours stays what Ray made of it."""
    cause: BaseException = error.cause
    return cause if isinstance(cause, SandboxError | UserError) else error
