"""The ``[scheduler]`` section."""

import dataclasses
from typing import Literal

PolicyName = Literal["sm2", "seed"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """How many tasks a round takes, and which policy decides when a task returns."""

    policy: PolicyName = "sm2"
    tasks_per_round: int = 40
    new_share: float = 0.7
    """Share of a round meant for tasks never tried; either side's shortfall is filled by the other."""
