"""Runs with known pass rates, as `srs.compare.results.read` would give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from scheduler.config import SchedulerConfig
from srs.compare.arms import Arm
from srs.compare.results import Measurement, RunResult, Spent
from srs.types import Review

PER_ROUND = 100
Rate = Callable[[str, int, int, int], float]
"""(arm, seed, task, round) → the chance that a sample passes."""


def arm(name: str) -> Arm:
    return Arm(name=name, policy=name)


def run(
    name: str,
    seed: int,
    rate: Rate,
    *,
    rounds: Sequence[int] = (0, 4, 8),
    n_tasks: int = 20,
    n_panel: int = 0,
    n: int = 10,
    draw: bool = False,
    reviews: Sequence[Review] = (),
    tokens: int = 1000,
    pairs: int = 0,
) -> RunResult:
    """Counts are ``n`` times the rate, or drawn from it, independently each time, with ``draw``."""
    stream = Random(f"{name} {seed}")

    def passed(task: int, round: int, size: int) -> tuple[int, int]:
        p = rate(name, seed, task, round)
        return sum(stream.random() < p for _ in range(size)) if draw else round_half(p * size), size

    def measurement(round: int) -> Measurement:
        half = n // 2
        return Measurement(
            round=round,
            candidates=PER_ROUND * round,
            held_out={f"t{i}": passed(i, round, n) for i in range(n_tasks)},
            greedy=0.5,
            panel={f"p{i}": (passed(i, round, half), passed(i, round, n - half)) for i in range(n_panel)},
        )  # fmt: skip

    return RunResult(
        arm=name,
        seed=seed,
        scheduler=SchedulerConfig(policy="sm2"),
        measurements=tuple(measurement(round) for round in rounds),
        after_dpo=None,
        reviews=tuple(reviews),
        frozen={},
        spent=spent(candidates=PER_ROUND * rounds[-1], tokens=tokens, pairs=pairs),
    )


def spent(*, candidates: int, tokens: int = 1000, pairs: int = 0) -> Spent:
    return Spent(
        rounds=8, candidates=candidates, sft_tokens=tokens, sft_steps=24, dpo_pairs=pairs, least=100,
        most=100, sft_examples=80, measured=5, sandbox_s=1.0, measured_sandbox_s=0.1, eval_s=2.0,
    )  # fmt: skip


def round_half(value: float) -> int:
    return int(value + 0.5)
