"""LoRA adapters: begun or continued on a shared base, and saved so that they are whole or absent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs import models
from srs.config import FinetuneConfig
from srs.device import Device
from srs.types import UserError

WEIGHTS = "adapter_model.safetensors"
Snapshot = dict[str, Any]
"""Adapter weights by parameter name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """The base model as loaded once, and how its texts become tokens."""

    model: Any
    tokenizer: Any
    chat: bool
    context: int
    device: Device


def trainable(base: Base, config: FinetuneConfig, *, start: Path | None, seed: int) -> Any:
    """A PeftModel in training: ``start`` continued, or a new LoRA drawn from ``seed``.

    Nothing done to it reaches ``base``. Raises UserError when ``start`` holds no adapter or the
    configured target modules don't exist.
    """
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import set_seed

    set_seed(seed)  # peft draws LoRA's A from torch's global stream
    model = models.fresh(base.model)
    if start is not None:
        if not (start / WEIGHTS).is_file():
            raise UserError(f"{start}: no adapter to continue: {WEIGHTS} is missing")
        return PeftModel.from_pretrained(model, str(start), is_trainable=True)
    lora = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(config.target_modules) or "all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as e:
        raise UserError(f"finetune.target_modules: {' '.join(str(e).split())}") from e


def snapshot(model: Any) -> Snapshot:
    """A copy of the weights in training."""
    return {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def restore(model: Any, weights: Snapshot) -> None:
    """Put a `snapshot` back."""
    import torch

    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, values in weights.items():
            parameters[name].copy_(values)


def save(model: Any, out: Path) -> None:
    """Write the adapter in PEFT's format; ``out`` exists only once it is complete.

    Raises FileExistsError when there is something at ``out`` already.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; an adapter is never overwritten")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # DPO's frozen reference is a second adapter in the same model: not part of the result.
    model.save_pretrained(str(partial), selected_adapters=["default"])
    (partial / "README.md").unlink(missing_ok=True)  # peft's empty model card
    settings = partial / "adapter_config.json"
    config = json.loads(settings.read_text(encoding="utf-8"))
    if isinstance(
        config["target_modules"], list
    ):  # a set in peft: its order changes between processes
        config["target_modules"].sort()
    settings.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.rename(out)


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """Trainers want an output folder though they are told to save nothing."""
    with tempfile.TemporaryDirectory(prefix="srs-train-") as folder:
        yield folder


def trainer_arguments(base: Base, *, seed: int, batch_size: int, micro_batch_size: int, epochs: int, learning_rate: float, gradient_checkpointing: bool) -> dict[str, Any]:  # fmt: skip
    """What SFT and DPO have in common. The learning rate falls linearly to 0 within the call."""
    dtype = str(base.model.dtype).removeprefix("torch.")
    return {
        "per_device_train_batch_size": micro_batch_size,
        "gradient_accumulation_steps": batch_size // micro_batch_size,
        "num_train_epochs": epochs,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "optim": base.device.optimizer,
        "seed": seed,
        "data_seed": seed,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "use_cpu": base.device.kind == "cpu",
        "gradient_checkpointing": gradient_checkpointing,
        "dataloader_pin_memory": base.device.kind != "cpu",
        "max_length": None,
        "save_strategy": "no",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }
