"""The ``[scheduler]`` section."""

import dataclasses
from typing import Literal

PolicyName = Literal[
    "sm2",
    "seed",
    "leitner",
    "fsrs",
    "adaptive",
    "uniform",
    "onepass",
    "random_review",
    "hardest",
    "learnability",
    "pools",
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """How many tasks a round takes, and which policy decides when a task returns."""

    policy: PolicyName = "sm2"
    """See docs/policies.md."""
    tasks_per_round: int = 40
    new_share: float = 0.7
    """Share of a round meant for tasks never tried; either side's shortfall is filled by the other."""
    audit_every: int = 5
    """After so many rounds some graduated and skipped tasks are graded again; 0 = never."""
    audit_size: int = 8
    """How many; they are not trained on. A failure is a lapse and brings the task back."""
    frozen_tasks: int = 0
    """Tasks set aside once every candidate passed, to measure forgetting 1, 2, 4 and 8 rounds later."""
    fsrs_parameters: tuple[float, ...] = ()
    """The 21 weights of FSRS-6, e.g. fitted to a review log; empty = py-fsrs's defaults."""
    fsrs_retention: float = 0.9
    """Policy ``fsrs`` lets the predicted recall fall to this before a review."""
    hold_share: float = 0.1
    """Policy ``adaptive`` gives this share of the reviews, between 0 and 0.9, to tasks that it holds, as long
    as any is due."""
