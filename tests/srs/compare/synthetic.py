"""Runs with known pass rates, as `srs.compare.results.read` would give them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random

from scheduler.config import SchedulerConfig
from srs.compare.analysis import Results, analyse
from srs.compare.arms import Arm
from srs.compare.protocol import Protocol
from srs.compare.results import Halves, Measurement, RunResult, Spent
from srs.config import Config
from srs.types import Review, ReviewKind

PER_ROUND = 100
SEEDS = range(5)
NAMES = ("uniform", "random_review", "learnability", "leitner")
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
    panel_rounds: Sequence[int] = (),
    n_tasks: int = 20,
    n_panel: int = 0,
    n: int = 10,
    draw: bool = False,
    reviews: Sequence[Review] = (),
    tokens: int = 1000,
    pairs: int = 0,
    commit: str = "abc",
) -> RunResult:
    """Counts are ``n`` times the rate, or drawn from it, independently each time, with ``draw``.

    The panel's tasks were practised in round 1.
    """
    stream = Random(f"{name} {seed}")

    def passed(task: int, round: int, size: int) -> tuple[int, int]:
        p = rate(name, seed, task, round)
        return sum(stream.random() < p for _ in range(size)) if draw else round_half(p * size), size

    def measurement(round: int) -> Measurement:
        return Measurement(
            round=round,
            candidates=PER_ROUND * round,
            held_out={f"t{i}": passed(i, round, n) for i in range(n_tasks)},
            greedy=0.5,
        )

    def panel(round: int) -> Halves:
        half = n // 2
        return {
            f"p{i}": (passed(i, round, half), passed(i, round, n - half)) for i in range(n_panel)
        }

    practised = [review(f"p{i}", 1) for i in range(n_panel)]
    return RunResult(
        arm=name,
        seed=seed,
        scheduler=SchedulerConfig(policy="sm2"),
        commit=commit,
        measurements=tuple(measurement(round) for round in rounds),
        panels={round: panel(round) for round in sorted({*rounds, *panel_rounds}) if n_panel},
        after_dpo=None,
        reviews=(*practised, *reviews),
        spent=spent(candidates=PER_ROUND * rounds[-1], tokens=tokens, pairs=pairs),
    )


def review(task: str, round: int, kind: ReviewKind = "practice", *, passed: int = 4) -> Review:
    return Review(task=task, round=round, n_passed=passed, n_graded=4, kind=kind)


def protocol(
    arms: Sequence[str], *batches: Sequence[int], codes: Sequence[str] = ("abc",)
) -> Protocol:
    return Protocol(
        arms=tuple(arm(name) for name in arms),
        rounds=8,
        seed_batches=tuple(tuple(batch) for batch in batches),
        config=Config(),
        codes=tuple(codes),
    )


def linear(name: str, _seed: int, _task: int, round: int) -> float:
    """Everyone starts at 0.2; after 8 rounds uniform is at 0.6, leitner at 0.8, the rest at 0.5."""
    final = {"uniform": 0.6, "leitner": 0.8}.get(name, 0.5)
    return 0.2 + (final - 0.2) * round / 8


def analysed(runs: list[RunResult], names: Sequence[str] = NAMES, *, averaged: int = 1) -> Results:
    """What a comparison makes of them: by the last evaluation alone, unless ``averaged`` says otherwise."""
    arms = [arm(name) for name in names]
    found = analyse(runs, arms, level=0.95, resamples=2000, lags=(1, 2, 4, 8), averaged=averaged)
    json.dumps(found, allow_nan=False)
    return found


def spent(*, candidates: int, tokens: int = 1000, pairs: int = 0) -> Spent:
    return Spent(
        rounds=8, candidates=candidates, sft_tokens=tokens, sft_steps=24, dpo_pairs=pairs, least=100,
        most=100, sft_examples=80, measured=5, sandbox_s=1.0, measured_sandbox_s=0.1, eval_s=2.0,
    )  # fmt: skip


def round_half(value: float) -> int:
    return int(value + 0.5)
