"""The training process: the base model stays loaded, every call gets fresh modules around it."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs import config as configs
from srs import models, prompts
from srs.device import Device
from srs.tuning.adapter import Base
from srs.types import PreferencePair, SftExample, from_json, to_json

logger = logging.getLogger(__name__)


class TrainingWorker:
    """Serves `srs.finetune.ChildTuner`. Construction imports the trainers and loads the model."""

    def __init__(self, config: dict[str, Any], device: dict[str, Any]) -> None:
        self.config = configs.from_dict(config, "config")
        self.device = Device(**{**device, "indices": tuple(device["indices"])})
        self.device.check()
        source = models.locate(self.config.model)
        tokenizer = models.load_tokenizer(source, self.config.model)
        model = models.load_model(source, self.config.model, self.device)
        self.base = Base(
            model=model,
            tokenizer=tokenizer,
            chat=prompts.uses_chat(tokenizer, self.config.model.template),
            context=models.context_length(model.config, self.config.model),
            device=self.device,
        )
        for trainer in ("sft", "dpo"):  # imported now, not in the first round
            importlib.import_module(f"trl.trainer.{trainer}_trainer")

    def describe(self) -> dict[str, Any]:
        names = ("torch", "transformers", "trl", "peft", "accelerate")
        return {
            "device": self.device.kind,
            "dtype": str(self.base.model.dtype).removeprefix("torch."),
            "threads": self.device.threads,
            "versions": {name: importlib.metadata.version(name) for name in names},
        }

    def sft(
        self, examples: list[dict[str, Any]], start: str | None, out: str, seed: int
    ) -> Iterator[dict[str, Any]]:
        from srs.tuning.sft import sft

        records = [from_json(SftExample, example) for example in examples]
        result = sft(
            self.base,
            self.config.finetune,
            records,
            start=Path(start) if start else None,
            out=Path(out),
            seed=seed,
        )
        yield to_json(result)

    def dpo(
        self, pairs: list[dict[str, Any]], start: str | None, out: str, seed: int
    ) -> Iterator[dict[str, Any]]:
        from srs.tuning.dpo import dpo

        records = [from_json(PreferencePair, pair) for pair in pairs]
        result = dpo(
            self.base,
            self.config.dpo,
            self.config.finetune,
            records,
            start=Path(start) if start else None,
            out=Path(out),
            seed=seed,
        )
        yield to_json(result)
