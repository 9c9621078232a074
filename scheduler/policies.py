"""The choice of a policy by its name."""

from __future__ import annotations

import difflib
from typing import get_args

from scheduler import (
    hardest,
    learnability,
    leitner,
    onepass,
    pools,
    random_review,
    seed,
    sm2,
    uniform,
)
from scheduler.adaptive import Adaptive
from scheduler.config import PolicyName, SchedulerConfig
from scheduler.fsrs import Fsrs
from scheduler.plan import Policy
from srs.types import UserError


def policy(config: SchedulerConfig | str) -> Policy:
    """The policy of a config, or of a name with the defaults of its keys.

    Raises UserError for an unknown name, with the nearest one, and for parameters out of bounds.
    """
    name = config if isinstance(config, str) else config.policy
    keys = SchedulerConfig() if isinstance(config, str) else config
    match name:
        case "sm2":
            return sm2
        case "seed":
            return seed
        case "leitner":
            return leitner
        case "fsrs":
            return Fsrs(parameters=keys.fsrs_parameters, retention=keys.fsrs_retention).checked()
        case "adaptive":
            return Adaptive(hold_share=keys.hold_share).checked()
        case "uniform":
            return uniform
        case "onepass":
            return onepass
        case "random_review":
            return random_review
        case "hardest":
            return hardest
        case "learnability":
            return learnability
        case "pools":
            return pools
        case _:
            near = difflib.get_close_matches(name, get_args(PolicyName), n=1, cutoff=0.0)[0]
            raise UserError(f"scheduler.policy: unknown policy {name!r}; did you mean {near!r}?")
