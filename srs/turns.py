"""Taking turns: generation and training use the same accelerators, one at a time.

    rollout ─► engines lend the memory ─► training process starts, trains ─► it ends ─► engines come back ─►

On NVIDIA an engine lends its memory by sleeping (level 1: its weights wait in the host's memory) and is
heard against a canary once awake (`srs.engines.canary`); on Ascend it ends and is started again. The
training process always ends: an exit frees the device's memory for certain.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from srs.finetune import DpoResult, SftResult, Tuner
from srs.generate import Generator, Policy, Request, Sampling
from srs.replicas import Replicas
from srs.types import Candidate, PreferencePair, SftExample

logger = logging.getLogger(__name__)


class Turns:
    """Whose turn it is. ``generator`` and ``tuner`` take it when they are used; nobody else does.

    ``sleeping``: whether the replicas may sleep through training, else they end. One thread at a time:
    a rollout must be over before training begins.
    """

    def __init__(
        self, replicas: Replicas, open_tuner: Callable[[], Tuner], *, sleeping: bool
    ) -> None:
        self._replicas = replicas
        self._open_tuner = open_tuner
        self._sleeping = sleeping
        self._started = False
        self._generating = False
        self._tuner: Tuner | None = None
        self.generator: Generator = _Generating(self)
        self.tuner: Tuner = _Training(self)

    def to_generation(self) -> Replicas:
        """End training, if it holds the devices, and have the engines ready. Raises ChildError."""
        if not self._generating:
            began = time.monotonic()
            self.end_training()
            if self._started:
                self._replicas.resume()
            else:
                self._started = True
                self._replicas.__enter__()
                self._replicas.ready()
            self._generating = True
            logger.info("generation has the devices after %.1f s", time.monotonic() - began)
        return self._replicas

    def to_training(self) -> Tuner:
        """Have the engines give the devices up, and the training process start."""
        if self._generating:
            self._generating = False
            self._replicas.rest(sleeping=self._sleeping)
        if self._tuner is None:
            self._tuner = self._open_tuner()
            self._tuner.__enter__()
        return self._tuner

    def end_training(self) -> None:
        tuner, self._tuner = self._tuner, None
        if tuner is not None:
            tuner.__exit__(None, None, None)

    def close(self) -> None:
        self.end_training()
        self._generating = False
        self._replicas.__exit__(None, None, None)


class _Generating:
    """The generator of a `Turns`. Leaving it ends the engines."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._description: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._turns.close()

    def ready(self) -> None:
        self._description = self._turns.to_generation().describe()

    def describe(self) -> dict[str, Any]:
        if not self._description:
            self.ready()
        return self._description

    @property
    def engine(self) -> str:
        engine: str = self.describe()["engine"]
        return engine

    @property
    def chat(self) -> bool:
        chat: bool = self.describe()["chat"]
        return chat

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        replicas = self._turns.to_generation()
        return replicas.generate(requests, policy=policy, sampling=sampling, round=round)


class _Training:
    """The tuner of a `Turns`. It is asked first whether it can train: then it gives way for good."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._description: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._turns.to_training()
        return self

    def __exit__(self, *exc: object) -> None:
        self._turns.end_training()

    def ready(self) -> None:
        if not self._description:
            tuner = self._turns.to_training()
            tuner.ready()
            self._description = tuner.describe()

    def describe(self) -> dict[str, Any]:
        self.ready()
        return self._description

    def sft(
        self, examples: Sequence[SftExample], *, start: Path | None, out: Path, seed: int
    ) -> SftResult:
        return self._turns.to_training().sft(examples, start=start, out=out, seed=seed)

    def dpo(
        self, pairs: Sequence[PreferencePair], *, start: Path | None, out: Path, seed: int
    ) -> DpoResult:
        return self._turns.to_training().dpo(pairs, start=start, out=out, seed=seed)
