"""What a round trains and writes: an adapter or a whole model, begun or continued, whole or absent on disk."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs import models
from srs.config import FinetuneConfig, ModelConfig
from srs.device import Device
from srs.tuning.methods import PROMPT_LEARNING, peft_config, quantization
from srs.tuning.world import World
from srs.types import UserError

WEIGHTS = "adapter_model.safetensors"
FULL_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
Snapshot = dict[str, Any]
"""Weights in training by parameter name; under FSDP this rank's shards."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """The base model as loaded once, and how its texts become tokens. ``world``: who trains with it."""

    model: Any
    tokenizer: Any
    chat: bool
    context: int
    device: Device
    world: World = World()


def load_base(
    source: models.ModelSource,
    model: ModelConfig,
    tuning: FinetuneConfig,
    device: Device,
    world: World,
) -> Any:
    """The base model where this rank trains it: in host memory when it will be sharded. Raises UserError."""
    if tuning.method == "qlora":
        return _load_quantized(source, model, device, world)
    settled: Any = device.dtype(model.dtype)  # as this device wants it, wherever it is loaded
    on_host = models.load_model(
        source, dataclasses.replace(model, dtype=settled), dataclasses.replace(device, kind="cpu")
    )
    sharded = world.size > 1 and tuning.strategy != "ddp"
    if device.kind == "cpu" or sharded:
        return on_host
    return on_host.to(f"{device.kind}:{world.local_rank}")


def _load_quantized(
    source: models.ModelSource, model: ModelConfig, device: Device, world: World
) -> Any:
    import importlib.util

    from transformers import AutoModelForCausalLM

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "finetune.method = qlora: bitsandbytes is not installed: pip install bitsandbytes, or use lora"
        )
    with models.loading(source):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.name,
            dtype=device.dtype(model.dtype),
            quantization_config=quantization(device.dtype(model.dtype)),
            device_map={"": world.local_rank},
            attn_implementation=device.attention,
            trust_remote_code=model.trust_remote_code,
        )
    return loaded.eval().requires_grad_(False)


def trainable(base: Base, config: FinetuneConfig, *, start: Path | None, seed: int) -> Any:
    """A model in training: ``start`` continued, or a new adapter drawn from ``seed``.

    Nothing done to it reaches ``base``. Raises UserError when ``start`` doesn't hold what
    ``config.method`` trains or the configured target modules don't exist.
    """
    from peft import PeftModel, get_peft_model
    from transformers import set_seed

    set_seed(seed)  # peft draws new weights from torch's global stream
    if start is not None:
        check_start(config, start)
    if config.method == "full":
        return _whole_model(base, start)
    sharded = base.world.size > 1 and config.strategy != "ddp"
    # Sharding replaces weights where they lie; everything else leaves the shared ones alone.
    model = copy.deepcopy(base.model) if sharded else models.fresh(base.model)
    if start is not None and config.method in PROMPT_LEARNING:
        # What is saved are the virtual tokens; an encoder that made them is gone, so they are trained on.
        continued: Any = PeftModel.from_pretrained(model, str(start))
        continued.prompt_encoder.default.embedding.weight.requires_grad_(True)
        return continued
    if start is not None:
        return PeftModel.from_pretrained(model, str(start), is_trainable=True)
    try:
        return get_peft_model(model, peft_config(config))
    except ValueError as e:
        raise UserError(f"finetune.target_modules: {' '.join(str(e).split())}") from e


def check_start(config: FinetuneConfig, start: Path) -> None:
    """Raises UserError unless ``start`` holds what ``config.method`` continues."""
    if config.method == "full":
        if not is_full(start):
            raise UserError(f"{start}: no full model to continue (finetune.method = full)")
    elif not (start / WEIGHTS).is_file():
        raise UserError(f"{start}: no adapter to continue: {WEIGHTS} is missing")


def is_full(folder: Path) -> bool:
    """Whether ``folder`` holds a whole model rather than an adapter."""
    return any((folder / name).is_file() for name in FULL_WEIGHTS)


def _whole_model(base: Base, start: Path | None) -> Any:
    """In float32, whatever the base's dtype: small updates are lost on bfloat16 weights."""
    import torch

    if start is None:
        model = copy.deepcopy(base.model)
    else:
        model = type(base.model).from_pretrained(
            str(start), attn_implementation=base.model.config._attn_implementation
        )
    return model.to(device=base.model.device, dtype=torch.float32).requires_grad_(True)


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


def save(base: Base, model: Any, out: Path) -> None:
    """Write the adapter in PEFT's format, or the whole model; ``out`` exists only once it is complete.

    Every rank calls it; rank 0 writes, and all return when ``out`` is there. Raises FileExistsError when
    there is something at ``out`` already.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; an adapter is never overwritten")
    base.world.wait()  # nobody looks after rank 0 has renamed
    weights = _gathered(model, keep=base.world.rank == 0)
    if base.world.rank == 0:
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        if hasattr(model, "peft_config"):
            _write_adapter(model, weights, partial)
        else:
            dtype = base.model.dtype
            model.config.dtype = dtype
            stored = model.state_dict()
            weights |= {name: value for name, value in model.named_buffers() if name in stored}
            values = {
                name: value.to(dtype) if value.is_floating_point() else value
                for name, value in weights.items()
            }
            model.save_pretrained(str(partial), state_dict=values)
            base.tokenizer.save_pretrained(str(partial))
        partial.rename(out)
    base.world.wait()


def _gathered(model: Any, *, keep: bool) -> dict[str, Any]:
    """The weights in training by name, whole: FSDP's shards are collected, as ZeRO's are.

    Every rank takes part; only those that ``keep`` them have room for more than one at a time.
    """
    weights = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if hasattr(parameter, "ds_id"):  # ZeRO-3
            import deepspeed

            with deepspeed.zero.GatheredParameters([parameter]):
                if keep:
                    weights[name] = parameter.detach().cpu().clone()
        elif hasattr(parameter, "full_tensor"):
            whole = parameter.detach().full_tensor()
            if keep:
                weights[name] = whole.cpu()
        else:
            weights[name] = parameter.detach()
    return weights


def _write_adapter(model: Any, weights: dict[str, Any], folder: Path) -> None:
    by_prompt = model.active_peft_config.is_prompt_learning
    model.save_pretrained(str(folder), **({} if by_prompt else {"state_dict": weights}))
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    settings = folder / "adapter_config.json"
    config = json.loads(settings.read_text(encoding="utf-8"))
    # A set in peft: its order changes between processes.
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()
    settings.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """Trainers want an output folder though they are told to save nothing."""
    with tempfile.TemporaryDirectory(prefix="srs-train-") as folder:
        yield folder
