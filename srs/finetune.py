"""Fine-tuning: a round on examples, and DPO on pairs, in processes of their own."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from srs import device as devices
from srs import models
from srs.child import Child
from srs.config import Config, to_dict
from srs.placement import Placement, place
from srs.tuning import methods
from srs.types import PreferencePair, SftExample, from_json, to_json

WORKER = "srs.tuning.worker:TrainingWorker"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SftResult:
    """``loss`` is the weighted mean over completion tokens in nats, each seen before its own update.

    ``n_tokens`` counts those tokens as often as they were seen. None and 0 when no example fitted the context:
    the adapter written is then the one it started from.
    """

    loss: float | None
    n_tokens: int
    n_steps: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DpoResult:
    """``loss`` is the mean over steps. Log-probabilities are sums over an answer's tokens, in nats,
    averaged over the pairs, under the adapter it started from (before) and the one saved (after).

    ``accuracy``: the share of pairs whose margin over the starting adapter is positive.
    ``collapsed``: stopped early; the adapter saved is the last one before the collapse.
    """

    loss: float | None
    n_pairs: int
    n_steps: int
    chosen_logp_before: float | None
    chosen_logp_after: float | None
    accuracy: float | None
    collapsed: bool


class Tuner(Protocol):
    """Trains adapters. Entering returns at once; `ready` waits for the model.

    Both kinds of training write the adapter to ``out`` (a new folder, complete once it exists) and
    depend on nothing but their arguments: the optimiser is new each time, and so are its moments.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def ready(self) -> None:
        """Raises UserError when the model can't be used, ChildError when its process died."""
        ...

    def describe(self) -> dict[str, Any]: ...

    def sft(
        self, examples: Sequence[SftExample], *, start: Path | None, out: Path, seed: int
    ) -> SftResult:
        """One LoRA round that continues ``start``; None starts a new adapter drawn from ``seed``."""
        ...

    def dpo(
        self, pairs: Sequence[PreferencePair], *, start: Path | None, out: Path, seed: int
    ) -> DpoResult:
        """DPO from ``start``, which is also the reference."""
        ...


def open_tuner(config: Config, log_path: Path, placement: Placement | None = None) -> Tuner:
    """Start the training process in the background, and its ranks when ``placement`` has several.

    Without a placement it is this machine's, by ``config.devices``.
    Raises UserError when the model's folder is missing or the method doesn't fit the devices.
    """
    source = models.locate(config.model)
    where = placement or place(config.devices, devices.detect())
    device, processes = where.training, where.train_processes
    methods.check(config, device, processes=processes)
    if processes > 1:
        device = dataclasses.replace(device, threads=max(1, device.threads // processes))
    target = WORKER
    arguments: dict[str, Any] = {
        "config": to_dict(config),
        "device": dataclasses.asdict(device),
    }
    folder = None
    if processes > 1:
        folder = tempfile.TemporaryDirectory(prefix="srs-ranks-")
        arguments = {
            "processes": processes,
            "target": target,
            "arguments": arguments,
            "folder": folder.name,
        }
        target = "srs.tuning.launch:Ranks"
    child = Child(
        "training",
        target,
        arguments,
        environment={**device.environment(os.environ), **source.environment()},
        log_path=log_path,
    )
    return ChildTuner(child, folder)


class ChildTuner:
    """A `Tuner` whose trainers live in a child process (`srs.tuning.worker`).

    ``folder`` is removed with it.
    """

    def __init__(
        self, child: Child, folder: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        self._child = child
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.close()
        if self._folder is not None:
            self._folder.cleanup()

    def ready(self) -> None:
        self._child.ready()

    def describe(self) -> dict[str, Any]:
        return self._child.ready()

    def sft(
        self, examples: Sequence[SftExample], *, start: Path | None, out: Path, seed: int
    ) -> SftResult:
        result = self._child.call("sft", examples=[to_json(e) for e in examples], **_where(start, out), seed=seed)  # fmt: skip
        return from_json(SftResult, result)

    def dpo(
        self, pairs: Sequence[PreferencePair], *, start: Path | None, out: Path, seed: int
    ) -> DpoResult:
        result = self._child.call("dpo", pairs=[to_json(p) for p in pairs], **_where(start, out), seed=seed)  # fmt: skip
        return from_json(DpoResult, result)


def _where(start: Path | None, out: Path) -> dict[str, str | None]:
    return {"start": str(start.resolve()) if start else None, "out": str(out.resolve())}
