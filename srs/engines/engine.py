"""The engine contract: encoded prompts in, samples out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from srs.models import ModelSource


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Tokens to continue with at most ``max_tokens`` ≥ 1 more, within the model's context."""

    ids: list[int]
    seed: int
    max_tokens: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One continuation. ``text`` has no special tokens and no stop string; ``n_tokens`` counts both."""

    text: str
    n_tokens: int
    truncated: bool


class Engine(Protocol):
    """Samples from the base model or from one adapter at a time."""

    @property
    def name(self) -> str: ...

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        adapter: Path | None,
        n: int,
        temperature: float,
        top_p: float,
    ) -> Iterator[tuple[int, list[Sample]]]:
        """(position in ``prompts``, its n samples), in the order in which they are finished."""
        ...

    def sleep(self) -> None:
        """Free the device's memory; nothing is sampled until `wake`."""
        ...

    def wake(self) -> None: ...

    def reload(self, source: ModelSource) -> None:
        """Answer with these full weights, of the same architecture, from now on."""
        ...
