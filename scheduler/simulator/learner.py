"""The learner: a shared skill, a memory of each task, and what practice and forgetting do to them.

    answer (skill, memory, difficulty) ─► pass probability ─► k samples ─► review
                 ▲                                                  │
                 └────────────────── practise ◄─────────────────────┘

The equations stand once, as functions on arrays, and serve the simulation and the calibration alike.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scheduler.simulator.parameters import Parameters

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]


def logistic(x: ArrayLike) -> Floats:
    """1 / (1 + e^-x), without overflow."""
    half: Floats = np.tanh(np.asarray(x, dtype=np.float64) / 2)
    return (1 + half) / 2


def retention(elapsed: ArrayLike, half_life: ArrayLike, shape: float) -> Floats:
    """What is left of a memory, 0…1, after ``elapsed`` rounds of training on other things.

    (1 + f·elapsed/half_life)^-shape with f such that half is left after one half-life. A power law, as
    human forgetting (Wixted and Ebbesen 1991) and as FSRS has it; an exponential for a large shape.
    """
    factor = 2.0 ** (1 / shape) - 1
    kept: Floats = (1 + factor * np.asarray(elapsed) / np.asarray(half_life)) ** -shape
    return kept


def lesson(q: Floats, reach: float) -> Floats:
    """What practising a task teaches, 0…1, when the model would solve it with probability ``q``.

    1 - q is the gradient of -log q in the logit: what is known teaches nothing (Rescorla and Wagner 1972).
    The factor q^reach lets tasks out of reach teach less; reach 1 is the learnability p(1 - p).
    """
    taught: Floats = (1 - q) * q**reach
    return taught


def grown(half_life: Floats, kept: Floats, growth: float) -> Floats:
    """The half-life after practice: it grows by more the more had been forgotten, the spacing effect."""
    return half_life * (1 + growth * (1 - kept))


def persistence(elapsed: ArrayLike, half_life: float) -> Floats:
    """The correlation, 0…1, of a task's drift with what it was ``elapsed`` rounds ago."""
    kept: Floats = np.asarray(0.5 ** (np.asarray(elapsed, dtype=np.float64) / half_life))
    return kept


def since(clock: float, practised_at: Floats) -> Floats:
    """Rounds since each task's last practice; 0 for one that had none (inf), which has nothing to lose."""
    return np.maximum(clock - practised_at, 0.0)


class Learner:
    """A simulated model and its tasks, numbered 0…n_tasks-1. All randomness comes from the generator.

    A round costs as much as the tasks it touches: what a task holds is stored as of its last practice, and
    forgetting since then is worked out when somebody looks.
    """

    def __init__(
        self,
        parameters: Parameters,
        n_tasks: int,
        n_held_out: int,
        tasks_per_round: int,
        rng: np.random.Generator,
    ) -> None:
        self.parameters = p = parameters
        self._round_size = tasks_per_round
        self._rng = rng
        # A held-out task drifts as well; their mean, all that is asked of them, does not notice.
        spread = np.hypot(p.difficulty_sd, p.drift_sd)
        self._held_out = spread * rng.standard_normal(n_held_out)
        self._held_out += p.difficulty_mean + p.held_out_shift
        self._difficulty = p.difficulty_mean + p.difficulty_sd * rng.standard_normal(n_tasks)
        self._drift = p.drift_sd * rng.standard_normal(n_tasks)
        self._drawn_at = np.zeros(n_tasks)
        self._memory = np.zeros(n_tasks)
        self._half_life = np.full(n_tasks, p.half_life_rounds)
        self._practised_at = np.full(n_tasks, np.inf)
        self.skill = 0.0
        """Logits above the untrained model's."""
        self.clock = 0.0
        """Rounds of training so far; a half-full round counts half."""

    def pass_probability(self, tasks: Integers) -> Floats:
        """The true pass probability of each task now, 0…1."""
        _, q = self._now(tasks)
        return self.parameters.ceiling * q

    def held_out(self) -> float:
        """The true mean pass probability over tasks that are never practised."""
        return self.parameters.ceiling * float(logistic(self.skill - self._held_out).mean())

    def sample(self, tasks: Integers, n: int, rng: np.random.Generator) -> Integers:
        """How many of ``n`` candidates pass, per task: a binomial draw, for candidates are independent."""
        return rng.binomial(n, self.pass_probability(tasks))

    def practise(self, tasks: Integers) -> None:
        """Train on the tasks, each of them once. The order within the round does not matter."""
        if not len(tasks):
            return
        p = self.parameters
        kept, q = self._now(tasks)
        taught = lesson(q, p.reach)
        full = len(tasks) / self._round_size
        self.skill = self.skill * (1 - p.skill_loss) ** full + p.skill_gain * (
            float(taught.sum()) / self._round_size
        )
        self.clock += full
        self._memory[tasks] = self._memory[tasks] * kept + p.own_gain * taught
        self._half_life[tasks] = grown(self._half_life[tasks], kept, p.stability_growth)
        self._practised_at[tasks] = self.clock

    def _now(self, tasks: Integers) -> tuple[Floats, Floats]:
        """Per task: the share of its memory that is left, and the chance of knowing the answer.

        Draws the tasks' drift as of now. It is a Markov process, so looking more often changes no law.
        """
        p = self.parameters
        same = persistence(self.clock - self._drawn_at[tasks], p.drift_half_life_rounds)
        moved = p.drift_sd * np.sqrt(1 - same**2) * self._rng.standard_normal(len(tasks))
        self._drift[tasks] = drift = same * self._drift[tasks] + moved
        self._drawn_at[tasks] = self.clock
        elapsed = since(self.clock, self._practised_at[tasks])
        kept = retention(elapsed, self._half_life[tasks], p.forgetting_shape)
        logit = self.skill + self._memory[tasks] * kept + drift - self._difficulty[tasks]
        return kept, logistic(logit)
