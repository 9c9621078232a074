"""The training process: the base model stays loaded, every call gets fresh modules around it."""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from srs import config as configs
from srs import models, prompts
from srs.device import Device
from srs.tuning.adapter import Base, load_base
from srs.tuning.world import World
from srs.types import PreferencePair, SftExample, from_json, to_json

logger = logging.getLogger(__name__)


class TrainingWorker:
    """Serves `srs.finetune.ChildTuner`, or is one of the ranks that do (`srs.tuning.rank`).

    Construction imports the trainers and loads the model.
    """

    def __init__(self, config: dict[str, Any], device: dict[str, Any]) -> None:
        self.config = configs.from_dict(config, "config")
        self.device = Device(**{**device, "indices": tuple(device["indices"])})
        self.device.check()
        source = models.locate(self.config.model)
        tokenizer = models.load_tokenizer(source, self.config.model)
        world = World.here()
        world.join(self.device)
        model = load_base(source, self.config.model, self.config.finetune, self.device, world)
        self.base = Base(
            model=model,
            tokenizer=tokenizer,
            chat=prompts.uses_chat(tokenizer, self.config.model.template),
            context=models.context_length(model.config, self.config.model),
            device=self.device,
            world=world,
        )
        importlib.import_module("trl.trainer.sft_trainer")  # now, not in the first round

    def describe(self) -> dict[str, Any]:
        names = ("torch", "transformers", "trl", "peft", "accelerate")
        return {
            "device": self.device.kind,
            "dtype": str(self.base.model.dtype).removeprefix("torch."),
            "threads": self.device.threads,
            "processes": self.base.world.size,
            "method": self.config.finetune.method,
            "versions": {name: importlib.metadata.version(name) for name in names},
        }

    def sft(self, examples: list[dict[str, Any]], **where: Any) -> Iterator[dict[str, Any]]:
        from srs.tuning.sft import sft

        records = [from_json(SftExample, example) for example in examples]
        yield self._train(sft, self.config.finetune, records, **where)

    def dpo(self, pairs: list[dict[str, Any]], **where: Any) -> Iterator[dict[str, Any]]:
        from srs.tuning.dpo import dpo

        records = [from_json(PreferencePair, pair) for pair in pairs]
        yield self._train(dpo, self.config.dpo, self.config.finetune, records, **where)

    def _train(
        self, train: Callable[..., Any], *what: Any, start: str | None, out: str, seed: int
    ) -> dict[str, Any]:
        where = {"start": Path(start) if start else None, "out": Path(out)}
        try:
            return to_json(train(self.base, *what, **where, seed=seed))
        finally:
            gc.collect()  # a trainer and its model refer to each other: the next one needs the memory
