"""Generation: a policy's answers to tasks, streamed from a process of its own."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from srs import device as devices
from srs import models
from srs.child import Child
from srs.config import Config, DevicesConfig, to_dict
from srs.device import Device
from srs.engines.vllm_engine import lora_rank
from srs.placement import Placement, place
from srs.tuning import methods
from srs.types import Candidate, Task, from_json, to_json

if TYPE_CHECKING:
    from srs.replicas import Replicas


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Weights that write candidates: ``base``, ``round-0003``, ``dpo``; ``adapter`` None = base model."""

    name: str
    adapter: Path | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """``n`` samples per task. Temperature 0 is greedy: the n samples are then equal."""

    n: int
    temperature: float
    top_p: float
    max_tokens: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One task to answer. Sample ``index`` draws from the stream seeded ``seed + index``."""

    task: Task
    seed: int


class Generator(Protocol):
    """Answers tasks under any policy. Entering returns at once; `ready` waits for the model."""

    @property
    def engine(self) -> str: ...

    @property
    def chat(self) -> bool:
        """Whether prompts go through the model's chat template."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def ready(self) -> None:
        """Raises UserError when the model can't be used, ChildError when its process died."""
        ...

    def describe(self) -> dict[str, Any]:
        """Engine, device, versions, threads: for ``environment.json``."""
        ...

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        """``len(requests) * sampling.n`` candidates, a task's together and by index, tasks as they end.

        A prompt that leaves no room for an answer gives empty, truncated candidates without code.
        """
        ...


def open_generator(config: Config, log_path: Path, placement: Placement | None = None) -> Replicas:
    """The engine that ``generate.engine`` names, once per replica; entering it starts them.

    Without a ``placement`` there is no training to make room for: the engines use every device.
    ``auto`` is vLLM where it is installed for this device, else transformers; the log says which.
    Raises UserError when the model's folder is missing, the devices don't suffice, or the engine can't
    serve what the run trains.
    """
    from srs.replicas import Replicas

    models.locate(config.model)
    merged = config.generate.serve == "merged"
    if config.generate.engine != "auto":  # which the process finds out, and checks then
        methods.check_served(config, config.generate.engine, merged=merged)
    if config.generate.engine != "transformers" and not merged:
        lora_rank(config.finetune.lora_r)
    if placement is None:
        alone = DevicesConfig(
            replicas=config.devices.replicas, tensor_parallel=config.devices.tensor_parallel
        )
        placement = dataclasses.replace(place(alone, devices.detect()), takes_turns=False)
    return Replicas(
        [
            functools.partial(
                open_replica,
                config,
                device,
                log_path.with_stem(f"{log_path.stem}-{number}") if number else log_path,
                sleep=placement.takes_turns and device.sleeps,
            )
            for number, device in enumerate(placement.generation)
        ]
    )


def open_replica(
    config: Config, device: Device, log_path: Path, *, sleep: bool = False
) -> ChildGenerator:
    """Start one engine on ``device``, in the background, in a process of its own.

    ``sleep``: it will be put to sleep, which an engine must know when it loads.
    """
    source = models.locate(config.model)
    merged = log_path.with_name(f".{log_path.stem}-merged")
    child = Child(
        "generation",
        "srs.engines.worker:GenerationWorker",
        {
            "config": to_dict(config),
            "device": dataclasses.asdict(device),
            "sleep": sleep,
            "merged": str(merged.resolve()),
        },
        environment={
            **device.environment(os.environ, sleep=sleep),
            **source.environment(),
            # The engine runs inside our child: one process less to start, watch and end.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(config.generate.kv_cache_gib),
            "VLLM_NO_USAGE_STATS": "1",
        },
        log_path=log_path,
    )
    return ChildGenerator(child, merged)


class ChildGenerator:
    """A `Generator` whose engine lives in a child process (`srs.engines.worker`).

    ``merged``: the folder for what the child leaves on the disk; it goes with the child.
    """

    def __init__(self, child: Child, merged: Path) -> None:
        self._child = child
        self._merged = merged

    @property
    def engine(self) -> str:
        engine: str = self._child.ready()["engine"]
        return engine

    @property
    def chat(self) -> bool:
        chat: bool = self._child.ready()["chat"]
        return chat

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.close()
        shutil.rmtree(self._merged, ignore_errors=True)

    def ready(self) -> None:
        self._child.ready()

    def describe(self) -> dict[str, Any]:
        return self._child.ready()

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        items = self._child.stream(
            "generate",
            requests=[to_json(request) for request in requests],
            policy=policy.name,
            adapter=str(policy.adapter.resolve()) if policy.adapter else None,
            sampling=to_json(sampling),
            round=round,
        )
        for item in items:
            yield from (from_json(Candidate, candidate) for candidate in item)

    def sleep(self) -> None:
        """Free the device's memory until `wake`. Raises ChildError."""
        self._child.call("sleep")

    def wake(self) -> bool:
        """Whether the model, awake, answers the canary as it did before. Raises ChildError."""
        same: bool = self._child.call("wake")
        return same
