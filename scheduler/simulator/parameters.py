"""The learner's parameters, and the TOML file that holds them."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping
from typing import Any

from srs.types import UserError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What `scheduler.simulator.learner` needs; docs/simulator.md has the equations.

    The defaults are a fit to a recorded run of the tiny lab. A *round* is a full round of practice, however
    many tasks the config gives it; logits are natural.
    """

    difficulty_mean: float = 1.35
    """Logits by which the mean task exceeds the skill of the untrained model."""
    held_out_shift: float = 0.0
    """Logits by which the mean held-out task is harder than the mean training task."""
    difficulty_sd: float = 2.34
    """Spread of the tasks' difficulties, in logits."""
    ceiling: float = 0.989
    """Pass rate of a task that is mastered: sampling and formatting go wrong in the rest."""
    skill_gain: float = 0.888
    """Logits that a round adds to the shared skill when its tasks teach 1 each (see ``reach``)."""
    skill_loss: float = 0.011
    """Share of the gained skill that a round overwrites."""
    reach: float = 0.0886
    """A task with pass probability q teaches (1 - q)·q^reach: 0 = the harder the more, 1 = the middle."""
    own_gain: float = 1.8
    """Logits that practice adds to the task itself when it teaches 1."""
    half_life_rounds: float = 12.8
    """Rounds of training on other tasks that halve what first practice added; inf = no forgetting."""
    stability_growth: float = 0.495
    """The half-life is multiplied by 1 + growth·(1 - retention) when the task is practised again."""
    forgetting_shape: float = 0.5
    """Exponent of the power law; large values approach an exponential."""
    drift_sd: float = 1.84
    """Logits by which training on other tasks has moved a task, up or down, at any one time."""
    drift_half_life_rounds: float = 9.76
    """Rounds after which half of such a move is left, and others have come."""


BOUNDS: Mapping[str, tuple[float, float]] = {
    "difficulty_mean": (-20.0, 20.0),
    "held_out_shift": (-20.0, 20.0),
    "difficulty_sd": (0.0, 20.0),
    "ceiling": (0.01, 1.0),
    "skill_gain": (0.0, 100.0),
    "skill_loss": (0.0, 1.0),
    "reach": (0.0, 10.0),
    "own_gain": (0.0, 100.0),
    "half_life_rounds": (0.01, math.inf),
    "stability_growth": (0.0, 1000.0),
    "forgetting_shape": (0.01, 100.0),
    "drift_sd": (0.0, 20.0),
    "drift_half_life_rounds": (0.01, math.inf),
}
"""Lowest and highest value of each, both allowed."""


def from_toml(text: str, where: str) -> Parameters:
    """Parameters out of a TOML file's text; a key that is left out keeps its default.

    Raises UserError naming ``where`` and the key when one is unknown, not a number or out of bounds.
    """
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise UserError(f"{where}: not valid TOML: {e}") from e
    values: dict[str, float] = {}
    for key, value in data.items():
        if key not in BOUNDS:
            near = difflib.get_close_matches(key, BOUNDS, n=1, cutoff=0.0)[0]
            raise UserError(f"{where}: unknown key {key}; did you mean {near}?")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{where}: {key} must be a number, got {value!r}")
        low, high = BOUNDS[key]
        if not low <= value <= high:
            raise UserError(f"{where}: {key} must be from {low:g} to {high:g}, got {value!r}")
        values[key] = float(value)
    return Parameters(**values)


def to_toml(parameters: Parameters, comment: str = "") -> str:
    """The text that `from_toml` reads back to the same values; ``comment`` comes first, line by line."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [f"{key} = {value!r}" for key, value in dataclasses.asdict(parameters).items()]
    return "\n".join(lines) + "\n"
