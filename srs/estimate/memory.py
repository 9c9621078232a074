"""Device memory: what generation and training each hold, term by term, in bytes."""

from __future__ import annotations

from srs.estimate.shape import Shape

ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
GIB = 2**30
LORA_BYTES = 16
"""Per adapter weight: float32 weight and gradient, and Adam's two moments (Rajbhandari et al. 2020, ZeRO,
section 3.1, less the 2-byte copies: PEFT keeps adapters in float32)."""
HEAD_TILE = 32768
"""TRL's fused head makes the logits of so many vocabulary entries at a time (1.16)."""


def weights(shape: Shape, element_bytes: int) -> int:
    return shape.n_parameters * element_bytes


def kv_cache(shape: Shape, element_bytes: int, *, sequences: float, tokens: float) -> float:
    """Keys and values of ``sequences`` sequences of ``tokens`` tokens."""
    return shape.kv_elements_per_token * element_bytes * sequences * tokens


def adapter(shape: Shape, rank: int, targets: tuple[str, ...]) -> int:
    """An adapter in training: weights, gradients and optimiser state."""
    return LORA_BYTES * shape.lora_parameters(rank, targets)


def layer_activations(shape: Shape, element_bytes: int) -> int:
    """Bytes per token that one layer keeps for the backward pass of LoRA on all its linear maps.

    The counting of Korthikanti et al. 2022 (Reducing Activation Recomputation), section 4.1, for this
    architecture: two norms in float32; the inputs of q/k/v and of gate/up, in 16 bits one copy for each
    (PEFT casts them apart); q, attention's output and its copy, and keys and values repeated for each
    query head; gate, its SiLU, up, and their product. Scores are not kept (fused attention), nor the
    inputs of frozen weights.
    """
    query = shape.heads * shape.head_dim
    inputs = (2 if element_bytes == 4 else 5) * shape.hidden
    return 8 * shape.hidden + element_bytes * (inputs + 5 * query + 4 * shape.intermediate)


def activations(shape: Shape, element_bytes: int, *, tokens: float, checkpointing: bool) -> float:
    """What a forward pass over ``tokens`` tokens keeps, and the largest tile of the logits.

    With checkpointing each layer keeps its input alone, and one layer at a time the rest.
    """
    layer = layer_activations(shape, element_bytes)
    if checkpointing:
        kept = shape.layers * element_bytes * shape.hidden + layer
    else:
        kept = shape.layers * layer
    return tokens * (kept + 4 * min(shape.vocab, HEAD_TILE))
