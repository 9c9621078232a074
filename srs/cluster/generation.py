"""Generation on other hosts: each replica is an actor that holds what one machine would run."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from srs import config as configs
from srs.cluster import hosts
from srs.cluster.bundles import Division, Reservation
from srs.cluster.errors import from_actor, on_host
from srs.cluster.hosts import check_host, device_here, end, log_path, start
from srs.cluster.parcels import Outbox, Parcel, unpack
from srs.config import Config
from srs.device import Device
from srs.environment import cache_dir
from srs.generate import Generator, Policy, Request, Sampling
from srs.types import Candidate

START_S = 120.0
"""For the bundle of a lost host to find another one, and an actor to start there."""
CLOSE_S = 15.0
Opener = Callable[[Config, Device, Path], Generator]
"""`srs.generate.open_replica`, on the actor's host."""


class GenerationHost:
    """The actor: one engine, in a child process, on the devices of its bundle. One request at a time."""

    _generator: Generator | None = None

    def open(
        self,
        config: dict[str, Any],
        division: Division,
        number: int,
        code: dict[str, str],
        opener: Opener,
    ) -> None:
        """Start the engine in the background. Raises UserError."""
        self.host = check_host(code)
        device = device_here(division.kind)
        device = dataclasses.replace(device, threads=max(1, device.threads // division.share))
        log = log_path(f"generate-{number}")
        self._generator = opener(configs.from_dict(config, "config"), device, log).__enter__()

    def ready(self) -> dict[str, Any]:
        """Wait for the engine; what it says of itself. Raises UserError, ChildError."""
        assert self._generator is not None
        with on_host(self.host):
            self._generator.ready()
            return self._generator.describe()

    def generate(
        self,
        requests: Sequence[Request],
        policy: str,
        adapter: Parcel | None,
        sampling: Sampling,
        round: int,
    ) -> Iterator[list[Candidate]]:
        """Each item holds one task's candidates. Raises UserError, ChildError."""
        assert self._generator is not None
        folder = None if adapter is None else unpack(adapter, cache_dir() / "adapters")
        with on_host(self.host):
            found = self._generator.generate(
                requests,
                policy=Policy(name=policy, adapter=folder),
                sampling=sampling,
                round=round,
            )
            while candidates := list(itertools.islice(found, sampling.n)):
                yield candidates

    def close(self) -> None:
        """May be called while the others run."""
        if self._generator is not None:
            self._generator.__exit__(None, None, None)


class RayGenerator:
    """The driver's end of a replica: a `Generator` that raises `HostLost` when its host is lost.

    Construction starts the actor, in the background, in the bundle ``number`` of the reservation.
    """

    def __init__(
        self, config: Config, reservation: Reservation, number: int, outbox: Outbox, opener: Opener
    ) -> None:
        self._what = f"generation replica {number}"
        self._outbox = outbox
        self._description: dict[str, Any] | None = None
        self._actor = start(GenerationHost, **reservation.replica(number))
        self._opening = self._actor.open.remote(
            configs.to_dict(config), reservation.division, number, hosts.code(), opener
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        closing = self._actor.close.options(concurrency_group="closing").remote()
        end([self._actor], [closing], patience_s=CLOSE_S)

    @property
    def engine(self) -> str:
        engine: str = self.describe()["engine"]
        return engine

    @property
    def chat(self) -> bool:
        chat: bool = self.describe()["chat"]
        return chat

    def ready(self) -> None:
        """Raises UserError, ChildError."""
        self.describe()

    def describe(self) -> dict[str, Any]:
        import ray

        if self._description is None:
            with from_actor(self._what):
                ray.get(self._opening, timeout=START_S)
                self._description = ray.get(self._actor.ready.remote())
        assert self._description is not None
        return self._description

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        """See `Generator.generate`. The adapter goes to the host once. Raises UserError, ChildError."""
        import ray

        self.ready()
        adapter = policy.adapter and self._outbox.parcel(policy.adapter)
        with from_actor(self._what):
            items = self._actor.generate.options(num_returns="streaming").remote(
                list(requests), policy.name, adapter, sampling, round
            )
            for item in items:
                yield from ray.get(item)
