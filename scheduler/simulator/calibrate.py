"""The learner's parameters out of recorded runs: those under which the runs' results were likeliest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import numpy as np

from scheduler.simulator.filter import Filter, Group, Prediction
from scheduler.simulator.learner import Floats
from scheduler.simulator.minimise import minimise, spread
from scheduler.simulator.parameters import Parameters
from scheduler.simulator.recorded import RecordedRun

Link = Literal["identity", "log", "logit"]

PRIORS: Final[Mapping[str, tuple[Link, float, float]]] = {
    "difficulty_mean": ("identity", 0.0, 2.0),
    "held_out_shift": ("identity", 0.0, 1.0),
    "difficulty_sd": ("log", 1.5, 0.5),
    "ceiling": ("logit", 0.97, 1.0),
    "skill_gain": ("log", 0.3, 1.0),
    "skill_loss": ("logit", 0.01, 1.0),
    "reach": ("log", 0.5, 1.0),
    "own_gain": ("log", 1.0, 1.0),
    "half_life_rounds": ("log", 8.0, 1.0),
    "stability_growth": ("log", 0.5, 1.0),
    "drift_sd": ("log", 0.5, 0.7),
    "drift_half_life_rounds": ("log", 4.0, 0.7),
}
"""Name → (link, centre, standard deviation on the link's scale). Wide: data decide where they can.

``forgetting_shape`` isn't fitted: within a few tens of rounds it can't be told from the half-life.
"""

TOLERANCE: Final = 0.05
"""Nats: a step that gains less ends the fit. A parameter at its posterior width from the optimum costs 0.5."""
EDGE: Final = 1e-4
"""A parameter that starts at the end of its link's range starts so far inside it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fit:
    """Predictions beside results, one group. ``n`` candidates; log-losses are nats per candidate.

    ``constant`` is the log-loss of the group's own mean pass rate. ``rmse`` is over the rounds' mean pass
    rates; ``expected`` is what it would be if the learner were the truth.
    """

    group: Group
    n: int
    log_loss: float
    constant: float
    rmse: float
    expected: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """``converged``: the last step gained less than `TOLERANCE`.

    ``told`` (name → 0…1): how much narrower the data made each prior; near 0 the value is the prior's.

    Widths are marginal: a parameter that the data tie to another, and no more than that, isn't told.
    """

    parameters: Parameters
    converged: bool
    fits: tuple[Fit, ...]
    told: dict[str, float]


def calibrate(
    runs: Sequence[RecordedRun],
    watch: Callable[[int, float, Parameters], None] | None = None,
    start: Parameters | None = None,
) -> Calibration:
    """Fit the parameters in `PRIORS`: a maximum of the posterior.

    ``watch`` gets, after each evaluation of the cost, how many there were, the lowest cost (nats) and its
    parameters. The search begins at ``start``, without it at the priors' centres; what isn't fitted keeps
    its value there. The cost is minus the log of results' probability times the priors, in nats.
    """
    fixed = start or Parameters()
    links = [link for link, _, _ in PRIORS.values()]
    centres = np.array([_linked(link, centre) for link, centre, _ in PRIORS.values()])
    widths = np.array([width for _, _, width in PRIORS.values()])
    evaluations, lowest, best = 0, math.inf, fixed

    def at(z: Floats) -> Parameters:
        values = map(_unlinked, links, (centres + widths * z).tolist())
        return dataclasses.replace(fixed, **dict(zip(PRIORS, values, strict=True)))

    def cost(z: Floats) -> float:
        nonlocal evaluations, lowest, best
        parameters = at(z)
        value = float(z @ z) / 2 - sum(Filter(run, parameters).walk() for run in runs)
        evaluations += 1
        if value < lowest:
            lowest, best = value, parameters
        if watch is not None:
            watch(evaluations, lowest, best)
        return value

    z = np.zeros(len(PRIORS))
    if start is not None:
        begun = [_linked(link, getattr(start, key)) for key, (link, _, _) in PRIORS.items()]
        z = (np.array(begun) - centres) / widths
    z, _, converged = minimise(cost, z, tolerance=TOLERANCE)
    # In units of the priors' widths, and the priors alone curve by 1.
    told = (1 - spread(cost, z, least=1.0)).tolist()
    return Calibration(
        parameters=at(z),
        converged=converged,
        fits=fits(runs, at(z)),
        told=dict(zip(PRIORS, told, strict=True)),
    )


def fits(runs: Sequence[RecordedRun], parameters: Parameters) -> tuple[Fit, ...]:
    """How well the parameters predict each group of results, one step ahead."""
    groups: dict[Group, list[Prediction]] = {"new": [], "review": [], "held out": []}
    for run in runs:
        walk = Filter(run, parameters)
        walk.walk()
        for prediction in walk.predictions:
            groups[prediction.group].append(prediction)
    return tuple(_fit(group, found) for group, found in groups.items() if found)


def _fit(group: Group, found: Sequence[Prediction]) -> Fit:
    mean = np.concatenate([p.mean for p in found])
    passed = np.concatenate([p.passed for p in found])
    graded = np.concatenate([p.graded for p in found])
    n = float(graded.sum())
    overall = np.full(len(mean), np.clip(passed.sum() / n, 1e-9, 1 - 1e-9))
    off = np.array([(p.passed / p.graded - p.mean).mean() for p in found])
    expected = np.array([p.variance.sum() / len(p.variance) ** 2 for p in found])
    return Fit(
        group=group,
        n=int(n),
        log_loss=_log_loss(mean, passed, graded),
        constant=_log_loss(overall, passed, graded),
        rmse=math.sqrt(float((off**2).mean())),
        expected=math.sqrt(float(expected.mean())),
    )


def _log_loss(mean: Floats, passed: Floats, graded: Floats) -> float:
    nats = passed * np.log(mean) + (graded - passed) * np.log1p(-mean)
    return -float(nats.sum() / graded.sum())


def _linked(link: Link, value: float) -> float:
    match link:
        case "identity":
            return value
        case "log":
            return math.log(min(max(value, EDGE), 1 / EDGE))
        case "logit":
            inside = min(max(value, EDGE), 1 - EDGE)
            return math.log(inside / (1 - inside))


def _unlinked(link: Link, value: float) -> float:
    match link:
        case "identity":
            return value
        case "log":
            return math.exp(value)
        case "logit":
            return 1 / (1 + math.exp(-value))
