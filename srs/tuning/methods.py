"""Fine-tuning methods: what PEFT is told, what can serve their results, and what doesn't fit together.

Imports nothing heavy, so that a run is refused before anything starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, Literal, get_args

from srs.config import Config, FinetuneConfig, Method
from srs.device import Device
from srs.placement import Placement
from srs.types import UserError

EngineName = Literal["vllm", "transformers"]
PROMPT_LEARNING: Collection[Method] = ("prefix", "prompt", "ptuning")
"""Methods that train virtual tokens and leave every weight of the model alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    reason: str


def servable(method: Method, engine: EngineName) -> Literal["lora", "merge"] | Refused:
    """How ``engine`` generates with what ``method`` trained.

    ``lora``: it loads the adapter while it runs. ``merge``: full weights are written first
    (`srs.tuning.merge`) and the engine is started on them. vLLM 0.23 to 0.32 refuses DoRA and has no prompt
    adapters.
    """
    match method, engine:
        case ("lora" | "qlora", _) | ("dora", "transformers"):
            return "lora"
        case ("dora", "vllm") | ("full", _):
            return "merge"
        case (_, "vllm"):
            return Refused("vLLM serves no virtual tokens, and they can't be merged into weights")
        case _:
            return Refused(
                "the transformers engine feeds one token at a time from its own cache, which PEFT's "
                "virtual tokens don't allow, and they can't be merged into weights"
            )


def check(config: Config, device: Device, *, processes: int = 1) -> None:
    """Raises UserError, naming the keys, when the config can't be trained on ``device``.

    Whether the result can be served is `check_served`'s question.
    """
    tuning = config.finetune
    method, strategy = tuning.method, tuning.strategy
    if method == "qlora" and not device.can_quantize:
        raise UserError(
            f"finetune.method = qlora: bitsandbytes quantises on NVIDIA only and this is {device.kind}: "
            "use lora"
        )
    if method in PROMPT_LEARNING and tuning.gradient_checkpointing:
        raise UserError(
            f"finetune.gradient_checkpointing: virtual tokens (finetune.method = {method}) don't go "
            "through it: set it to false"
        )
    if method in PROMPT_LEARNING and tuning.packing:
        raise UserError(
            f"finetune.packing: virtual tokens (finetune.method = {method}) stand before each example: "
            "set it to false"
        )
    if strategy != "ddp" and processes > 1 and method not in ("lora", "dora", "full"):
        raise UserError(
            f"finetune.strategy = {strategy} doesn't shard finetune.method = {method}: use ddp"
        )
    if strategy == "deepspeed" and processes > 1:
        _check_deepspeed(device)
        if config.dpo.enabled and config.dpo.collapse_nats:
            raise UserError(
                "dpo.collapse_nats: with finetune.strategy = deepspeed there is no way back to earlier "
                "weights: set it to 0, or use ddp or fsdp"
            )
    for section, batch, fixed in (
        ("finetune", tuning.batch_size, tuning.steps_per_round > 0),
        ("dpo", config.dpo.batch_size, not config.dpo.enabled),
    ):
        if batch % processes and not fixed:
            raise UserError(
                f"{section}.batch_size = {batch}: {processes} training processes (devices.train_processes) "
                f"must divide it"
            )


def check_run(config: Config, placement: Placement) -> None:
    """Both checks, for a run that generates and trains on ``placement``. Raises UserError."""
    import importlib.util

    check(config, placement.training, processes=placement.train_processes)
    engine = config.generate.engine
    if engine == "auto":
        engine = "vllm" if importlib.util.find_spec("vllm") else "transformers"
    check_served(config, engine, merged=config.generate.serve == "merged")


def check_served(config: Config, engine: EngineName, *, merged: bool) -> None:
    """Raises UserError when ``engine`` can't generate with the adapters of ``finetune.method``.

    ``merged``: the run merges adapters into full weights before it serves them (``generate.serve``).
    """
    method = config.finetune.method
    match servable(method, engine):
        case Refused(reason):
            raise UserError(
                f"finetune.method = {method} with generate.engine = {engine}: {reason}: use one of "
                f"{', '.join(m for m in get_args(Method) if not isinstance(servable(m, engine), Refused))}"
            )
        case "merge" if not merged:
            raise UserError(
                f"finetune.method = {method} with generate.engine = {engine}: it can't be loaded while the "
                "engine runs: set generate.serve = merged"
            )


def _check_deepspeed(device: Device) -> None:
    import importlib.util

    if device.kind == "cpu":
        raise UserError("finetune.strategy = deepspeed: needs an accelerator: use ddp or fsdp")
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            "finetune.strategy = deepspeed: deepspeed is not installed: pip install deepspeed, or use "
            "ddp or fsdp"
        )


def peft_config(config: FinetuneConfig) -> Any:
    """PEFT's description of a new adapter. Raises ValueError for ``full``, which has none."""
    from peft import (
        LoraConfig,
        PrefixTuningConfig,
        PromptEncoderConfig,
        PromptTuningConfig,
        TaskType,
    )

    virtual: dict[str, Any] = {
        "task_type": TaskType.CAUSAL_LM,
        "num_virtual_tokens": config.virtual_tokens,
    }
    match config.method:
        case "lora" | "qlora" | "dora":
            return LoraConfig(
                r=config.lora_r,
                lora_alpha=config.lora_alpha,
                lora_dropout=config.lora_dropout,
                target_modules=list(config.target_modules) or "all-linear",
                use_dora=config.method == "dora",
                task_type="CAUSAL_LM",
            )
        case "prefix":
            return PrefixTuningConfig(**virtual)
        case "prompt":
            return PromptTuningConfig(**virtual)
        case "ptuning":
            return PromptEncoderConfig(**virtual)
        case "full":
            raise ValueError("full fine-tuning has no adapter")


def quantization(dtype: str) -> Any:
    """4-bit NormalFloat with double quantisation, computing in ``dtype`` (Dettmers et al. 2023, section 3)."""
    import torch
    import transformers

    config: Any = transformers.BitsAndBytesConfig
    return config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
