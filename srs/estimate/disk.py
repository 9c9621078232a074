"""What a run leaves on disk, in bytes."""

from __future__ import annotations

from collections.abc import Mapping

from srs.estimate.rates import Rate
from srs.estimate.shape import Shape
from srs.estimate.workload import Workload

CHARACTERS_PER_TOKEN = 3.5
RECORD_BYTES = 500
"""A candidate's and its verdict's fields without prompt, completion and code."""
MEMORY_BYTES_PER_TASK = 110
"""docs/memory.md: 1,112 MiB for 10 million tasks, 30% of them reviewed one to three times."""
MEMORY_BYTES_PER_REVIEW = 40
"""Assumed: the log's row and its share of the index."""


def candidate_bytes(rates: Mapping[str, Rate]) -> Rate:
    """A candidate and its verdict as JSON: measured, or from its tokens (its code is stored twice)."""
    if "candidate_bytes" in rates:
        return rates["candidate_bytes"]
    prompt, answer = rates["prompt_tokens"].value, rates["completion_tokens"].value
    return Rate(
        value=RECORD_BYTES + CHARACTERS_PER_TOKEN * (prompt + 2 * answer),
        source=f"{CHARACTERS_PER_TOKEN} characters a token",
        measured=False,
    )


def disk(
    work: Workload,
    shape: Shape,
    rates: Mapping[str, Rate],
    *,
    rank: int,
    targets: tuple[str, ...],
    element_bytes: int,
    reviews: int,
) -> dict[str, float]:
    """Bytes by what takes them. Adapters are float32, one a round and DPO's; none is deleted."""
    pair = CHARACTERS_PER_TOKEN * (
        rates["prompt_tokens"].value + 2 * rates["completion_tokens"].value
    )
    return {
        "the base model's weights": shape.n_parameters * element_bytes,
        "adapters": 4.0 * shape.lora_parameters(rank, targets) * (work.rounds + (work.pairs > 0)),
        "candidates and verdicts": work.candidates * candidate_bytes(rates).value,
        "preference pairs": work.distinct_pairs * (RECORD_BYTES + pair),
        "memory.sqlite": float(
            work.tasks * MEMORY_BYTES_PER_TASK + reviews * MEMORY_BYTES_PER_REVIEW
        ),
    }
