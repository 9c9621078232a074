"""Whether an engine that slept is still the model it was: the same prompt, before and after."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from srs.engines.engine import Engine, Prompt

SAMPLES, TOKENS, SEED = 4, 48, 53888
"""Samples at temperature 1 give a lost adapter 192 chances to show; a greedy answer would often hide it."""


class Canary:
    """Asks an engine before it sleeps and after it woke. It has lost its adapter in between before."""

    def __init__(self, engine: Engine, tokenizer: Any) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._numbers = itertools.count()
        self._before: list[str] = []
        self._prompt: Prompt | None = None
        self._adapter: Path | None = None

    def listen(self, adapter: Path | None) -> None:
        """Note what the engine says under ``adapter``.

        The prompt is a new one each time, from its first token on: no part of it is in a prefix cache,
        before sleeping or after, so both answers are computed alike.
        """
        text = f"{next(self._numbers)} is the number of this question.\ndef add(a, b):\n"
        self._prompt = Prompt(ids=self._tokenizer.encode(text), seed=SEED, max_tokens=TOKENS)
        self._adapter = adapter
        self._before = self._ask()

    def is_same(self) -> bool:
        """Whether it says so still."""
        return self._ask() == self._before

    def _ask(self) -> list[str]:
        assert self._prompt is not None
        ((_, samples),) = self._engine.sample(
            [self._prompt], adapter=self._adapter, n=SAMPLES, temperature=1.0, top_p=1.0
        )
        return [sample.text for sample in samples]
