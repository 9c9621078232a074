"""Which examples an optimiser step sees, and which of them each rank computes.

A step's examples don't depend on the number of ranks. Every rank takes its share in micro-batches, and all
ranks take equally many: collectives inside the model (FSDP, ZeRO-3) would otherwise wait for ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Rows of one forward pass, by index. ``counted`` is False for a filler that must change nothing."""

    rows: tuple[int, ...]
    counted: bool = True


def epochs_of_steps(n: int, *, epochs: int, batch_size: int, seed: int) -> list[list[int]]:
    """The rows of each step when every row is seen once per epoch, in a new order each time.

    The orders are those that transformers' Trainer draws through accelerate's SeedableRandomSampler: epoch
    e permutes with the seed + e. An epoch's last step takes what is left.
    """
    import torch

    steps = []
    for epoch in range(epochs):
        stream = torch.Generator().manual_seed(seed + epoch)
        order: list[int] = torch.randperm(n, generator=stream).tolist()
        steps += [order[start : start + batch_size] for start in range(0, n, batch_size)]
    return steps


def share(step: Sequence[int], *, rank: int, ranks: int, size: int) -> list[MicroBatch]:
    """The part of one step that ``rank`` of ``ranks`` computes, in micro-batches of at most ``size``."""
    mine = step[rank::ranks]
    largest = -(-len(step) // ranks)
    parts = [tuple(mine[start : start + size]) for start in range(0, largest, size)]
    return [
        MicroBatch(rows=part) if part else MicroBatch(rows=(step[0],), counted=False)
        for part in parts
    ]
