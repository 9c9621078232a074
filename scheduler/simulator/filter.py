"""What a learner expects of a recorded run, result by result, and how likely the results were.

A walk through the run holds a distribution over difficulty and drift for every task, on a grid. It
predicts each result before it sees it, learns from it by Bayes' rule, and practises what the run
practised. So a task's own results decide what is expected of its next ones, and a policy that picked
tasks by their results doesn't mislead.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, Literal

import numpy as np

from scheduler.simulator.learner import (
    Floats,
    Integers,
    grown,
    lesson,
    logistic,
    persistence,
    retention,
    since,
)
from scheduler.simulator.parameters import Parameters
from scheduler.simulator.recorded import RecordedRun
from srs.types import Review

Group = Literal["new", "review", "held out"]

N_DIFFICULTIES: Final = 21
N_DRIFTS: Final = 3
LEAST: Final = 1e-9
"""Probabilities are kept so far from 0 and 1."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """One group of one round: arrays over its tasks. ``variance`` is of the pass rate of n samples."""

    group: Group
    mean: Floats
    variance: Floats
    passed: Floats
    graded: Floats


class Filter:
    """Call `walk` once; ``predictions`` then holds what was expected, round by round."""

    def __init__(self, run: RecordedRun, parameters: Parameters) -> None:
        self.predictions: list[Prediction] = []
        self._run = run
        self._p = p = parameters
        names = {r.task: None for part in run.rounds for r in (*part.reviews, *part.evaluations)}
        self._number = {task: i for i, task in enumerate(names)}
        n = len(names)
        aside = np.array([task in run.held_out for task in names], dtype=np.float64)
        self._shift = p.held_out_shift * aside
        self._difficulty = p.difficulty_mean + p.difficulty_sd * _normal_quantiles(N_DIFFICULTIES)
        self._drift, start = _drift_states(p.drift_sd)
        # Axes: task, difficulty, drift.
        self._weight = np.broadcast_to(start / N_DIFFICULTIES, (n, N_DIFFICULTIES, N_DRIFTS)).copy()
        self._memory = np.zeros((n, N_DIFFICULTIES, N_DRIFTS))
        self._drawn_at = np.zeros(n)
        self._half_life = np.full(n, p.half_life_rounds)
        self._practised_at = np.full(n, np.inf)
        self._tried = np.zeros(n, dtype=bool)
        self._skill = 0.0
        self._clock = 0.0

    def walk(self) -> float:
        """The log-probability of all results, in nats, without the binomial coefficients."""
        total = 0.0
        for part in self._run.rounds:
            tasks = self._numbers(part.reviews)
            total += self._observe(tasks, part.reviews, held_out=False)
            practised = self._numbers([r for r in part.reviews if r.kind == "practice"])
            self._practise(practised)
            self._tried[tasks] = True
            total += self._observe(self._numbers(part.evaluations), part.evaluations, held_out=True)
        return total

    def _numbers(self, reviews: Sequence[Review]) -> Integers:
        return np.array([self._number[review.task] for review in reviews], dtype=np.int64)

    def _observe(self, tasks: Integers, reviews: Sequence[Review], *, held_out: bool) -> float:
        """Predict, compare, learn. Returns the log-probability of the results."""
        if not len(tasks):
            return 0.0
        self._let_drift(tasks)
        q = self._p.ceiling * self._known(tasks)
        np.clip(q, LEAST, 1 - LEAST, out=q)
        passed = np.array([review.n_passed for review in reviews], dtype=np.float64)
        graded = np.array([review.n_graded for review in reviews], dtype=np.float64)
        weight = self._weight[tasks]
        self._note(tasks, weight, q, passed, graded, held_out=held_out)
        logs = passed[:, None, None] * np.log(q)
        logs += (graded - passed)[:, None, None] * np.log1p(-q)
        joint = weight * np.exp(logs)
        likelihood = joint.sum(axis=(1, 2), keepdims=True)
        self._weight[tasks] = joint / likelihood
        return float(np.log(likelihood).sum())

    def _practise(self, tasks: Integers) -> None:
        """`Learner.practise`, expected over the grid."""
        if not len(tasks):
            return
        p, size = self._p, self._run.tasks_per_round
        kept = self._kept(tasks)
        taught = lesson(self._known(tasks), p.reach)
        full = len(tasks) / size
        gained = float((self._weight[tasks] * taught).sum()) / size
        self._skill = self._skill * (1 - p.skill_loss) ** full + p.skill_gain * gained
        self._clock += full
        self._memory[tasks] = self._memory[tasks] * kept[:, None, None] + p.own_gain * taught
        self._half_life[tasks] = grown(self._half_life[tasks], kept, p.stability_growth)
        self._practised_at[tasks] = self._clock

    def _let_drift(self, tasks: Integers) -> None:
        """Bring the tasks' distribution over drift up to now."""
        elapsed = self._clock - self._drawn_at[tasks]
        self._drawn_at[tasks] = self._clock
        for rounds in np.unique(elapsed[elapsed > 0]):
            which = tasks[elapsed == rounds]
            moves = _transition(float(persistence(rounds, self._p.drift_half_life_rounds)))
            weight = self._weight[which]
            after = weight @ moves
            # What a task holds goes with its past drift; where pasts meet it is averaged.
            held = (weight * self._memory[which]) @ moves
            self._memory[which] = held / np.maximum(after, 1e-300)
            self._weight[which] = after

    def _kept(self, tasks: Integers) -> Floats:
        elapsed = since(self._clock, self._practised_at[tasks])
        return retention(elapsed, self._half_life[tasks], self._p.forgetting_shape)

    def _known(self, tasks: Integers) -> Floats:
        """The chance of knowing the answer, on each task's grid."""
        held = self._memory[tasks] * self._kept(tasks)[:, None, None]
        harder = self._shift[tasks][:, None, None] + self._difficulty[:, None]
        return logistic(self._skill + held + self._drift - harder)

    def _note(
        self,
        tasks: Integers,
        weight: Floats,
        q: Floats,
        passed: Floats,
        graded: Floats,
        *,
        held_out: bool,
    ) -> None:
        mean = (weight * q).sum(axis=(1, 2))
        unsure = (weight * q**2).sum(axis=(1, 2)) - mean**2
        variance = unsure + (mean - mean**2 - unsure) / graded
        again = self._tried[tasks]
        masks: tuple[tuple[Group, Floats], ...] = (
            (("held out", np.ones(len(tasks), dtype=bool)),)
            if held_out
            else (("new", ~again), ("review", again))
        )
        for group, mask in masks:
            if mask.any():
                self.predictions.append(
                    Prediction(group, mean[mask], variance[mask], passed[mask], graded[mask])
                )


def _normal_quantiles(n: int) -> Floats:
    """The middles of n equally likely parts of a standard normal, scaled to variance 1."""
    middles = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
    return np.asarray(middles / middles.std())


def _drift_states(sd: float) -> tuple[Floats, Floats]:
    """(values, probabilities) of the stationary drift: a scaled binomial with the same variance."""
    n = N_DRIFTS - 1
    ups = np.arange(n + 1)
    chances = np.array([math.comb(n, k) for k in ups]) / 2.0**n
    return np.asarray(sd * (2 * ups - n) / math.sqrt(n), dtype=np.float64), chances


def _transition(correlation: float) -> Floats:
    """Row: state before, column: after. A first-order autoregression by Rouwenhorst's method (1995).

    The state is a count of ups among independent two-state chains, each of that correlation.
    """
    stay, n = (1 + correlation) / 2, N_DRIFTS - 1
    rows = []
    for ups in range(n + 1):
        row: Floats = np.ones(1)
        for chain in range(n):
            up = stay if chain < ups else 1 - stay
            row = np.convolve(row, np.array([1 - up, up]))
        rows.append(row)
    return np.array(rows)
