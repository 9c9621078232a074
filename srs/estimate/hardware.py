"""What the makers publish about a device, and the arithmetic that a token costs."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from srs.estimate.shape import Shape
from srs.types import UserError

Kind = Literal["cuda", "npu", "cpu"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One device. ``peak_flops`` is dense bfloat16 matrix FLOP/s, ``bandwidth`` bytes/s of its memory.

    None = not published, or no single number for the name.
    """

    name: str
    kind: Kind
    memory_gib: float | None
    peak_flops: float | None
    bandwidth: float | None
    source: str


NVIDIA = "NVIDIA's data sheet; matrix figures there count sparsity, half of them is dense"
GB = 1e9 / 2**30
DEVICES = (
    # The more specific name first: torch says "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB".
    Hardware(name="H200 NVL", kind="cuda", memory_gib=141 * GB, peak_flops=835e12, bandwidth=4.8e12, source=NVIDIA),
    Hardware(name="H200", kind="cuda", memory_gib=141 * GB, peak_flops=989e12, bandwidth=4.8e12, source=NVIDIA),
    Hardware(name="H100 PCIe", kind="cuda", memory_gib=80 * GB, peak_flops=756e12, bandwidth=2.0e12, source=NVIDIA),
    Hardware(name="H100 NVL", kind="cuda", memory_gib=94 * GB, peak_flops=835e12, bandwidth=3.9e12, source=NVIDIA),
    Hardware(name="H100", kind="cuda", memory_gib=80 * GB, peak_flops=989e12, bandwidth=3.35e12, source=NVIDIA),
    Hardware(name="A100-SXM4-80GB", kind="cuda", memory_gib=80 * GB, peak_flops=312e12, bandwidth=2.039e12, source=NVIDIA),
    Hardware(name="A100 80GB PCIe", kind="cuda", memory_gib=80 * GB, peak_flops=312e12, bandwidth=1.935e12, source=NVIDIA),
    Hardware(name="A100", kind="cuda", memory_gib=40 * GB, peak_flops=312e12, bandwidth=1.555e12, source=NVIDIA),
    Hardware(name="L40S", kind="cuda", memory_gib=48 * GB, peak_flops=362e12, bandwidth=0.864e12, source=NVIDIA),
    Hardware(name="910B", kind="npu", memory_gib=64 * GB, peak_flops=None, bandwidth=None, source="64 GB model; no data sheet with the other figures"),
    Hardware(name="CPU", kind="cpu", memory_gib=None, peak_flops=None, bandwidth=None, source="differs by machine"),
)  # fmt: skip


def recognised(name: str) -> Hardware | None:
    """The device that ``name`` speaks of, in torch's words; None for another, or for a slice of one.

    Whole words count: a GH200 is no H200, and an L40 no L40S. Ascend's bins (910B3) are all the 910B.
    """
    plain = name.lower().replace("ascend", "")
    if re.search(r"\bmig\b", plain):
        return None
    for device in DEVICES:
        bin_number = "(?:[1-4]c?)?" if device.kind == "npu" else ""
        word = f"(?<![a-z0-9]){re.escape(device.name.lower())}{bin_number}(?![a-z0-9])"
        if re.search(word, plain):
            return device
    return None


def hardware(name: str) -> Hardware:
    """As `recognised`. Raises UserError for a device that isn't."""
    found = recognised(name)
    if found is None:
        known = ", ".join(device.name for device in DEVICES)
        raise UserError(f"--device {name}: not one of {known}")
    return found


def lora_flops_per_token(shape: Shape, lora_parameters: int, mean_length: float) -> float:
    """FLOP that a LoRA step has to do for one token of sequences of ``mean_length`` tokens.

    Chowdhery et al. 2022 (PaLM), appendix B, counts 6 per weight, of which 2 for the forward pass, 2 for
    the gradient of the input and 2 for that of the weight, plus 12 x layers x heads x head_dim x length
    for attention. The base's weights are frozen: theirs is not needed, so 4 per weight of the base and
    6 per weight of the adapter. As there, recomputation by checkpointing doesn't count.
    """
    attention = 12 * shape.layers * shape.heads * shape.head_dim * mean_length
    return 4 * shape.n_multiplied + 6 * lora_parameters + attention


def mfu(tokens_per_s: float, flops_per_token: float, peak_flops: float | None) -> float | None:
    """Model FLOP utilisation: the useful FLOP/s over the device's peak; None without a published peak."""
    return None if peak_flops is None else tokens_per_s * flops_per_token / peak_flops


def decode_tokens_per_s(
    shape: Shape, device: Hardware, *, batch: int, context: float, element_bytes: int
) -> float | None:
    """Tokens/s that ``batch`` sequences of ``context`` tokens can't exceed on one device.

    The roofline (Williams et al. 2009): a step reads all weights and the sequences' keys and values once,
    and does 2 FLOP per weight and sequence; the slower of the two bounds it. None without figures.
    """
    if device.peak_flops is None or device.bandwidth is None:
        return None
    read = element_bytes * (shape.n_parameters + batch * context * shape.kv_elements_per_token)
    computed = 2 * shape.n_multiplied * batch
    return batch / max(read / device.bandwidth, computed / device.peak_flops)
