"""Training on one host of the cluster: an actor that holds what one machine would run."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from srs import config as configs
from srs.cluster import hosts
from srs.cluster.bundles import Division, Reservation
from srs.cluster.errors import HostLost, from_actor, on_host
from srs.cluster.hosts import check_host, device_here, end, log_path, start
from srs.cluster.parcels import Outbox, Parcel, read, unpack, write
from srs.config import Config
from srs.environment import cache_dir
from srs.finetune import DpoResult, SftResult, Tuner
from srs.placement import Placement
from srs.types import PreferencePair, SftExample

START_S = 120.0
CLOSE_S = 15.0
LOSSES = 2
"""Hosts that may be lost under one call; it is done again on another, as it depends on its arguments only."""
IN_FLIGHT = 4
"""Chunks of an adapter between the hosts at a time."""
Opener = Callable[[Config, Path, Placement], Tuner]
"""`srs.finetune.open_tuner`, on the actor's host."""
log = logging.getLogger(__name__)


class TrainingHost:
    """The actor: the training processes of one host, on the devices of its bundle."""

    _tuner: Tuner | None = None

    def open(
        self, config: dict[str, Any], division: Division, code: dict[str, str], opener: Opener
    ) -> None:
        """Start the processes in the background. Raises UserError."""
        self.host = check_host(code)
        typed = configs.from_dict(config, "config")
        device = device_here(division.kind)
        placement = Placement(
            generation=(),
            training=device,
            train_processes=typed.devices.train_processes or max(1, len(device.indices)),
            takes_turns=False,
        )
        self._tuner = opener(typed, log_path("finetune"), placement).__enter__()

    def ready(self) -> dict[str, Any]:
        """Wait for the model; what the processes say of themselves. Raises UserError, ChildError."""
        assert self._tuner is not None
        with on_host(self.host):
            self._tuner.ready()
            return self._tuner.describe()

    def train(
        self,
        method: str,
        records: Sequence[SftExample | PreferencePair],
        start: Parcel | None,
        seed: int,
    ) -> Iterator[Any]:
        """``method`` is ``sft`` or ``dpo``: its result, then the chunks of the adapter's folder.

        Raises UserError, ChildError.
        """
        folder = None if start is None else unpack(start, cache_dir() / "adapters")
        with tempfile.TemporaryDirectory(prefix="srs-train-") as scratch, on_host(self.host):
            out = Path(scratch) / "adapter"
            yield getattr(self._tuner, method)(records, start=folder, out=out, seed=seed)
            yield from read(out)

    def close(self) -> None:
        """May be called while the others run."""
        if self._tuner is not None:
            self._tuner.__exit__(None, None, None)


class RayTuner:
    """A `Tuner` that trains on the host that has the bundle for it, and writes adapters on this one.

    When that host is lost, the call is done again once Ray has found another one for the bundle;
    ChildError when there is none.
    """

    def __init__(
        self, config: Config, reservation: Reservation, outbox: Outbox, opener: Opener
    ) -> None:
        self._config = configs.to_dict(config)
        self._reservation = reservation
        self._outbox = outbox
        self._opener = opener
        self._description: dict[str, Any] | None = None
        self._closed = False
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed = True
        self._end()

    def ready(self) -> None:
        """Raises UserError, ChildError."""
        self.describe()

    def describe(self) -> dict[str, Any]:
        import ray

        if self._description is None:
            with from_actor("training"):
                ray.get(self._opening, timeout=START_S)
                self._description = ray.get(self._actor.ready.remote())
        assert self._description is not None
        return self._description

    def sft(
        self, examples: Sequence[SftExample], *, start: Path | None, out: Path, seed: int
    ) -> SftResult:
        """See `Tuner.sft`. Raises UserError, ChildError."""
        result: SftResult = self._train("sft", examples, start, out, seed)
        return result

    def dpo(
        self, pairs: Sequence[PreferencePair], *, start: Path | None, out: Path, seed: int
    ) -> DpoResult:
        """See `Tuner.dpo`. Raises UserError, ChildError."""
        result: DpoResult = self._train("dpo", pairs, start, out, seed)
        return result

    def _train(
        self,
        method: str,
        records: Sequence[SftExample | PreferencePair],
        start: Path | None,
        out: Path,
        seed: int,
    ) -> Any:
        for losses_left in reversed(range(LOSSES + 1)):
            try:
                return self._try(method, records, start, out, seed)
            except HostLost as e:
                if self._closed or not losses_left:
                    raise
                log.warning("the host that trains is lost, starting again on another: %s", e)
                self._end()
                self._start()
        raise AssertionError("unreachable")

    def _try(
        self,
        method: str,
        records: Sequence[SftExample | PreferencePair],
        start: Path | None,
        out: Path,
        seed: int,
    ) -> Any:
        """The adapter arrives under another name: ``out`` exists only once it is complete."""
        import ray

        if out.exists():
            raise FileExistsError(f"{out} exists; an adapter is never overwritten")
        self.ready()
        parcel = start and self._outbox.parcel(start)
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with from_actor("training"):
            items = self._actor.train.options(
                num_returns="streaming", _generator_backpressure_num_objects=IN_FLIGHT
            ).remote(method, list(records), parcel, seed)
            result = ray.get(next(items))
            write((ray.get(item) for item in items), partial)
        partial.rename(out)
        return result

    def _start(self) -> None:
        self._description = None
        self._actor = start(TrainingHost, **self._reservation.training())
        self._opening = self._actor.open.remote(
            self._config, self._reservation.division, hosts.code(), self._opener
        )

    def _end(self) -> None:
        closing = self._actor.close.options(concurrency_group="closing").remote()
        end([self._actor], [closing], patience_s=CLOSE_S)
