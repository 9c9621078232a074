"""The arms of a comparison: a policy each, and what else of the schedule it changes."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from scheduler.policies import policy
from srs import config as configs
from srs.config import Config
from srs.types import UserError

SPACED: Final = ("adaptive", "fsrs", "leitner", "sm2")
"""Policies whose intervals grow with success: the ones that the claim is about. ``seed`` is none of them:
a streak that would earn a long interval graduates the task for good, so a run soon lacks tasks."""
CONTROLS: Final = ("random_review", "learnability")
"""What a spaced arm must beat: replay without spacing, and choice by difficulty without time."""
TARGET: Final = "uniform"
"""The arm whose final pass@1 the others' candidates are counted up to."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SAME_FOR_ALL: Final = ("policy", "tasks_per_round")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """``overrides`` are ``scheduler.key=value`` texts, without the policy."""

    name: str
    policy: str
    overrides: tuple[str, ...] = ()

    @property
    def is_spaced(self) -> bool:
        return self.policy in SPACED

    def config(self, common: Config, *, seed: int, rounds: int) -> Config:
        """The config of one of its runs. Raises UserError for an override that can't be used."""
        texts = [*self.overrides, f"scheduler.policy={self.policy}", f"run.seed={seed}"]
        return configs.override(common, [*texts, f"run.rounds={rounds}"])


def parse(text: str) -> tuple[Arm, ...]:
    """Read ``a,b,label=policy+scheduler.key=value+…``.

    Arms differ in their schedule only, so that data, model, evaluation and budgets are the same for all.
    Raises UserError for an unknown policy, a name that stands twice, or a key outside ``[scheduler]``.
    """
    arms = tuple(_arm(part.strip()) for part in text.split(","))
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--arms: {name} stands twice; label one of them: other={name}+…")
    return arms


def _arm(text: str) -> Arm:
    first, *overrides = text.split("+")
    label, equals, name = first.partition("=")
    name = name if equals else label
    if not NAME.fullmatch(label):
        raise UserError(f"--arms {text!r}: write a policy, or label=policy+scheduler.key=value+…")
    policy(name)
    if label in (*CONTROLS, TARGET) and (name != label or overrides):
        raise UserError(f"--arms {text}: {label} is a control; label this arm otherwise")
    for override in overrides:
        section, _, rest = override.partition(".")
        key = rest.partition("=")[0]
        if section != "scheduler" or key in SAME_FOR_ALL:
            raise UserError(
                f"--arms {text}: {section}.{key} must be the same for all arms; "
                "set it with --set, or change another key of [scheduler]"
            )
    return Arm(name=label, policy=name, overrides=tuple(overrides))
