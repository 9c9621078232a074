"""Whether a config's two models fit the devices: memory in GiB, term by term."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from srs.config import Config
from srs.estimate import memory
from srs.estimate.memory import ELEMENT_BYTES, GIB
from srs.estimate.rates import Rate
from srs.estimate.shape import Shape

RESERVE_GIB = 2.0
"""Assumed for a process's context, its kernels' workspace and fragmentation."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """Terms in GiB for one device. ``smallest`` is the generation engine's with a single sequence.

    ``room``: sequences of full length that the engine's share of the device holds beside the weights.
    ``training_average``: the sum of ``training`` with sequences of average length instead of the longest.
    ``needs``: the larger of the two phases when they take turns, else their sum. None = memory unknown.
    """

    generation: Mapping[str, float]
    training: Mapping[str, float]
    training_average: float
    smallest: float
    engine: float | None
    room: int | None
    needs: float
    has: float | None
    host: float
    """Main memory that the weights of sleeping engines take, all together."""

    @property
    def fits(self) -> bool | None:
        if self.has is None or self.engine is None:
            return None
        return self.needs <= self.has and self.smallest <= self.engine


def device_memory(
    config: Config,
    shape: Shape,
    rates: Mapping[str, Rate],
    *,
    has_gib: float | None,
    auto_dtype: str,
    sequences: int,
    takes_turns: bool,
    shared: bool,
    sleeping: int,
) -> DeviceMemory:
    """``shared``: one device both generates and trains. ``sleeping``: engines that sleep while it trains,
    their weights in main memory. ``auto_dtype``: what ``model.dtype = auto`` means.

    Activations are for micro-batches of the longest sequences that ``model.max_length`` allows, since the
    longest decides whether memory runs out. Raises UserError for unknown target modules.
    """
    dtype = auto_dtype if config.model.dtype == "auto" else config.model.dtype
    size = ELEMENT_BYTES[dtype]
    context = min(config.model.max_length, shape.positions)
    parallel = config.devices.tensor_parallel
    tune = config.finetune
    targets = tuple(tune.target_modules)
    mean = min(context, rates["prompt_tokens"].value + rates["completion_tokens"].value)
    held = memory.weights(shape, size) + size * shape.lora_parameters(tune.lora_r, targets)
    one_gib = memory.kv_cache(shape, size, sequences=1, tokens=context) / parallel / GIB
    weights_gib = held / parallel / GIB
    generation = {
        "weights and one adapter": weights_gib,
        f"KV cache, {sequences} sequences of {mean:,.0f} tokens": (
            memory.kv_cache(shape, size, sequences=sequences, tokens=mean) / parallel / GIB
        ),
        "reserve": RESERVE_GIB,
    }
    micro = max(tune.micro_batch_size, 2 * config.dpo.micro_batch_size * config.dpo.enabled)

    def kept(tokens: float) -> float:
        everything = memory.activations(
            shape, size, tokens=tokens, checkpointing=tune.gradient_checkpointing
        )
        return everything / GIB

    training = {
        "weights": memory.weights(shape, size) / GIB,
        f"LoRA r={tune.lora_r}, gradients, Adam": memory.adapter(shape, tune.lora_r, targets) / GIB,
        f"activations, {micro} x {context:,} tokens": kept(micro * context),
        "reserve": RESERVE_GIB,
    }
    smallest = weights_gib + one_gib + RESERVE_GIB
    engine = room = None
    if has_gib is not None:
        engine = config.generate.gpu_memory_utilization * has_gib
        room = max(0, int((engine - weights_gib - RESERVE_GIB) / one_gib))
    takes = engine if engine is not None else sum(generation.values())
    trains = sum(training.values())
    average = trains - kept(micro * context) + kept(micro * mean)
    together = shared and not takes_turns
    return DeviceMemory(
        generation=generation,
        training=training,
        training_average=average,
        smallest=smallest,
        engine=engine,
        room=room,
        needs=takes + trains if together else max(takes, trains),
        has=has_gib,
        host=sleeping * memory.weights(shape, size) / GIB,
    )
