"""A minimiser for a handful of smooth parameters: BFGS with numeric gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from scheduler.simulator.learner import Floats

STEP: Final = 1e-3
"""Of the central difference, in units in which the parameters are of order one."""
HALVINGS: Final = 20
SUFFICIENT: Final = 1e-4
"""Armijo's constant: the share of the promised decrease that a step must bring."""


def minimise(
    function: Callable[[Floats], float],
    start: Floats,
    *,
    tolerance: float,
    iterations: int = 100,
) -> tuple[Floats, float, bool]:
    """(where, value, converged) of a local minimum of ``function`` near ``start``.

    Broyden, Fletcher, Goldfarb and Shanno's update of the inverse Hessian, with backtracking (J. Nocedal
    and S. Wright, Numerical Optimization, 2006, ch. 6), which starts from a multiple of the identity that
    fits the first step's curvature (their 6.20). Has
    converged when a step gains less than ``tolerance``, or none gains anything.
    """
    x, value = start, function(start)
    slope = gradient(function, x)
    inverse = np.eye(len(x)) / max(1.0, float(np.abs(slope).max()))
    first = True
    for _ in range(iterations):
        step = -inverse @ slope
        promised = float(step @ slope)
        for halving in range(HALVINGS):
            moved = step / 2**halving
            reached = function(x + moved)
            if reached <= value + SUFFICIENT * promised / 2**halving:
                break
        else:
            return x, value, True
        gained, x, value = value - reached, x + moved, reached
        if gained < tolerance:
            return x, value, True
        before, slope = slope, gradient(function, x)
        change = slope - before
        curvature = float(change @ moved)
        if curvature > 0:  # else the update would lose positive definiteness
            if first:
                inverse = np.eye(len(x)) * (curvature / float(change @ change))
                first = False
            side = np.eye(len(x)) - np.outer(moved, change) / curvature
            inverse = side @ inverse @ side.T + np.outer(moved, moved) / curvature
    return x, value, False


def gradient(function: Callable[[Floats], float], x: Floats) -> Floats:
    """By central differences: two calls per parameter."""
    steps = STEP * np.eye(len(x))
    return np.array([(function(x + s) - function(x - s)) / (2 * STEP) for s in steps])


def spread(
    function: Callable[[Floats], float], x: Floats, *, wide: float = 0.1, least: float = 0.0
) -> Floats:
    """Each parameter's standard deviation at a minimum of a negative log-density, the others free.

    The square roots of the diagonal of the inverse Hessian, by differences over ``wide``. A direction
    that curves by less than ``least`` counts as curving so much; inf where that is 0.
    """
    n, middle = len(x), function(x)
    steps = wide * np.eye(n)
    single = np.array([[function(x + sign * s) for s in steps] for sign in (1, -1)])
    hessian = np.diag((single.sum(axis=0) - 2 * middle) / wide**2)
    for i in range(n):
        for j in range(i):
            both = steps[i] + steps[j]
            around = function(x + both) + function(x - both) + 2 * middle
            around -= float(single[:, i].sum() + single[:, j].sum())
            hessian[i, j] = hessian[j, i] = around / (2 * wide**2)
    curvatures, directions = np.linalg.eigh(hessian)
    with np.errstate(divide="ignore"):
        variances = 1 / np.maximum(curvatures, least)
    # A direction that a parameter has no part in says nothing of it, however flat it is.
    parts = np.where(np.abs(directions) > 1e-9, directions**2, 0.0)
    spreads = [math.sqrt(float(variances[row > 0] @ row[row > 0])) for row in parts]
    return np.array(spreads)
