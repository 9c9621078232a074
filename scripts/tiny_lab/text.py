"""What the tiny model is pretrained on: questions and answers, with doubt about some steps."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

from scripts.tiny_lab.compositions import Composition, Style, draw
from scripts.tiny_lab.primitives import Primitive
from srs.types import Task

RIGHT_SHARES = (0.25, 0.35, 0.45, 0.55, 0.65)
"""How often a doubtful step is shown right; each such step has one of these shares."""
DEPTHS = {1: 3, 2: 7, 3: 7, 4: 3}
"""Relative frequency of each number of steps."""
STYLES: tuple[Style, Style] = ("instruct", "complete")


def right_share(primitive: Primitive) -> float:
    if primitive.wrong is None:
        return 1.0
    return RIGHT_SHARES[zlib.crc32(primitive.key.encode()) % len(RIGHT_SHARES)]


def as_task(composition: Composition, style: Style) -> Task:
    """The task as `srs.tasks` reads it from its row, as far as a prompt shows it."""
    return Task(
        id=composition.name,
        group=composition.name,
        kind="pytest",
        style=style,
        subset=composition.subset,
        question=composition.question(style),
        declaration=composition.declaration,
        entry_point=composition.name,
        test="",
        reference=composition.program(),
    )


def held_out_keys(path: Path) -> frozenset[tuple[str, ...]]:
    """The compositions that pretraining must never show."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return frozenset(tuple(row["metadata"]["composition"]) for row in rows)


def samples(rng: random.Random, held_out: frozenset[tuple[str, ...]]) -> Iterator[tuple[Task, str]]:
    """Endless (task, program) pairs; no composition in ``held_out``, doubtful steps at their share."""
    while True:
        (depth,) = rng.choices(list(DEPTHS), weights=list(DEPTHS.values()))
        composition = draw(rng, depth)
        if composition.key in held_out:
            continue
        wrong = frozenset(
            i
            for i, step in enumerate(composition.steps)
            if rng.random() >= right_share(step.primitive)
        )
        yield as_task(composition, rng.choice(STYLES)), composition.program(wrong)
