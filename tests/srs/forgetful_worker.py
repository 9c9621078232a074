"""A generation process whose engine loses its adapter when it wakes, as vLLM's level 1 has done."""

from __future__ import annotations

from typing import Any

from srs.engines.worker import GenerationWorker


class ForgetfulWorker(GenerationWorker):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        engine: Any = self.engine
        whole_sample, whole_wake = engine.sample, engine.wake

        def without_adapter(prompts: Any, **how: Any) -> Any:
            return whole_sample(prompts, **{**how, "adapter": None})

        def wake() -> None:
            whole_wake()
            engine.sample = without_adapter

        engine.wake = wake
