"""Rates: what was measured, where, and what is only assumed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

from srs.estimate.hardware import (
    Hardware,
    Kind,
    decode_tokens_per_s,
    lora_flops_per_token,
    recognised,
)
from srs.estimate.shape import Shape
from srs.types import UserError

Name = Literal[
    "generate_tokens_per_s",
    "evaluate_tokens_per_s",
    "train_tokens_per_s",
    "grade_core_s",
    "reference_core_s",
    "prompt_tokens",
    "completion_tokens",
    "candidate_bytes",
    "start_up_s",
    "round_overhead_s",
    "train_start_s",
    "engine_turn_s",
]
NAMES: tuple[Name, ...] = get_args(Name)
MAY_BE_ZERO = ("start_up_s", "round_overhead_s", "train_start_s", "engine_turn_s")
FORMAT = "srs-rates-1"
"""Of the file that scripts/bench_gpu.py writes."""
DECODE_SHARE = 0.5
TRAIN_MFU = 0.3
TIMEOUT_SHARE = 0.01


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``*_tokens_per_s`` are for one device; ``*_core_s`` core-seconds for one program; the rest means.

    ``evaluate_tokens_per_s`` is generation's where evaluations are larger batches; without it they have
    ``generate_tokens_per_s``. ``train_tokens_per_s`` counts every token of the sequences, prompts included and padding not.
    ``start_up_s`` is an engine's, ``train_start_s`` the training process's; ``engine_turn_s``: an engine
    leaves its device to training and is back, by sleep and wake or by a new start.
    """

    value: float
    source: str
    measured: bool


Rates = dict[str, Rate]


def assumed(texts: Iterable[str]) -> Rates:
    """``name=value`` from the command line. Raises UserError."""
    found: Rates = {}
    for text in texts:
        name, _, raw = text.partition("=")
        if name not in NAMES:
            raise UserError(f"--assume {text}: {name} is not one of {', '.join(NAMES)}")
        try:
            value = float(raw)
        except ValueError as e:
            raise UserError(f"--assume {text}: write it as name=number") from e
        if not (value > 0 or (value == 0 and name in MAY_BE_ZERO)) or value == float("inf"):
            raise UserError(f"--assume {text}: must be above 0")
        found[name] = Rate(value=value, source="--assume", measured=False)
    return found


def shipped(timeout_s: float, max_tokens: int, *, takes_turns: bool) -> Rates:
    """Figures measured elsewhere in this project, and assumptions for the rest, each saying which it is."""
    grade_s = 0.0108 + TIMEOUT_SHARE * timeout_s
    turns = {
        "train_start_s": Rate(
            value=10.0, source="10 s of imports (docs/devices.md), weights not", measured=False
        )
    }
    return {
        **(turns if takes_turns else {}),
        "grade_core_s": Rate(
            value=grade_s,
            source=f"10.8 ms (docs/grader.md, pytest features, trivial program) + {TIMEOUT_SHARE:.0%} "
            f"run into the {timeout_s:g} s limit",
            measured=False,
        ),
        "reference_core_s": Rate(
            value=0.035, source="35 ms, tiny tasks (docs/performance.md)", measured=False
        ),
        "prompt_tokens": Rate(value=250.0, source="a typical question", measured=False),
        "completion_tokens": Rate(
            value=0.6 * max_tokens, source="60% of generate.max_tokens", measured=False
        ),
    }


def roofline(
    shape: Shape,
    device: Hardware | None,
    *,
    batch: int,
    evaluation_batch: int,
    context: float,
    lora_parameters: int,
    element_bytes: int,
) -> Rates:
    """Assumed speeds from the maker's figures, where there are any: `DECODE_SHARE` of the decoding
    roofline and an MFU of `TRAIN_MFU`. To be replaced by measured ones. Batches are sequences of one engine.
    """
    if device is None or device.peak_flops is None:
        return {}
    per_token = lora_flops_per_token(shape, lora_parameters, context)
    found: Rates = {
        "train_tokens_per_s": Rate(
            value=TRAIN_MFU * device.peak_flops / per_token,
            source=f"an MFU of {TRAIN_MFU:.0%} on {device.name} ({per_token / 1e9:.1f} GFLOP a token)",
            measured=False,
        )
    }
    batches: dict[str, int] = {
        "generate_tokens_per_s": batch,
        "evaluate_tokens_per_s": evaluation_batch,
    }
    for name, size in batches.items():
        bound = decode_tokens_per_s(
            shape, device, batch=size, context=context, element_bytes=element_bytes
        )
        if bound is not None:
            found[name] = Rate(
                value=DECODE_SHARE * bound,
                source=f"{DECODE_SHARE:.0%} of {device.name}'s roofline for {size} sequences "
                f"({bound:,.0f}/s)",
                measured=False,
            )
    return found


def of_benchmark(path: Path, shape: Shape) -> tuple[Rates, Hardware]:
    """The rates for ``shape`` in a file of scripts/bench_gpu.py, and the device they are of.

    Of a device that isn't `recognised`, kind and memory are those that the file names.
    Raises UserError when the file isn't one or lacks the shape.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: not a readable rates file: {e}") from e
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UserError(f"{path}: not a file that scripts/bench_gpu.py wrote (format {FORMAT})")
    by_shape: Mapping[str, Mapping[str, Any]] = found.get("rates", {})
    device = _device(path, found.get("device"))
    if shape.name not in by_shape:
        raise UserError(
            f"{path}: holds rates of {', '.join(sorted(by_shape)) or 'no shape'}, not of {shape.name}: "
            f"run scripts/bench_gpu.py --shape {shape.name}"
        )
    rates: Rates = {}
    source = f"{path.name}, {found['device']['name']}"
    for name, value in by_shape[shape.name].items():
        if name not in NAMES or not isinstance(value, int | float) or value < 0:
            raise UserError(f"{path}: rates.{shape.name}.{name}: not a rate")
        rates[name] = Rate(value=float(value), source=source, measured=True)
    return rates, device


def _device(path: Path, found: object) -> Hardware:
    match found:
        case {"name": str(name)} if known := recognised(name):
            return known
        case {
            "name": str(name),
            "kind": "cuda" | "npu" | "cpu" as kind,
            "memory_gib": int() | float() | None as memory_gib,
        }:
            return Hardware(
                name=name,
                kind=cast(Kind, kind),
                memory_gib=memory_gib,
                peak_flops=None,
                bandwidth=None,
                source=path.name,
            )
        case _:
            raise UserError(f"{path}: its device is neither known nor described: measure again")


def merged(*groups: Rates) -> Rates:
    """The first group that has a rate gives it."""
    found: Rates = {}
    for group in reversed(groups):
        found |= group
    return found
