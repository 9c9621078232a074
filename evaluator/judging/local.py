"""A model on this machine as the one that is asked, through the loop's own generation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from evaluator.judging.asking import Question, Reply
from srs import prompts
from srs.types import Task


class LocalAsker:
    """An `Asker` with greedy answers of a local model, with an adapter or without.

    ``generation`` is the module `srs.generate`, which only programs may import; ``generator`` what its
    ``open_generator`` gave. A question that wants code is rendered as a task is (`srs.prompts`), any
    other as it stands. A prompt that leaves no room for an answer gets an empty reply.
    """

    def __init__(
        self,
        generation: ModuleType,
        generator: Any,
        *,
        model: str,
        adapter: Path | None = None,
        max_tokens: int = 1024,
    ) -> None:
        self._generation = generation
        self._generator = generator
        self._model = model
        self._adapter = adapter
        self._max_tokens = max_tokens

    @property
    def name(self) -> str:
        adapter = f" with {self._adapter}" if self._adapter else ""
        return f"{self._model}{adapter} (greedy, max_tokens {self._max_tokens})"

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Replies as they come. Raises UserError when the model can't be used."""
        g = self._generation
        requests = [g.Request(task=as_task(question), seed=0) for question in questions]
        policy = g.Policy(name="judge" if self._adapter else "base", adapter=self._adapter)
        sampling = g.Sampling(n=1, temperature=0.0, top_p=1.0, max_tokens=self._max_tokens)
        last = time.monotonic()
        for candidate in self._generator.generate(
            requests, policy=policy, sampling=sampling, round=0
        ):
            now = time.monotonic()
            yield Reply(id=candidate.task, text=candidate.completion, wall_s=now - last)
            last = now


def as_task(question: Question) -> Task:
    """The question as a task that nothing grades, for a `Generator`."""
    return Task(
        id=question.id,
        group=question.id,
        kind="pytest",
        style=prompts.TEXT if question.answer == "text" else "instruct",
        subset="judging",
        question="\n\n".join(part for part in (question.system, question.user) if part),
        declaration=None,
        entry_point=None,
        test="",
        reference=None,
    )
