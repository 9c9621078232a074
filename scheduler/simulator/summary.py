"""What simulated runs amount to: scores of each run, and a table of means over seeds."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Final

from scheduler.frozen import LAGS
from scheduler.simulator.simulate import Simulation

T975: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t, 97.5%, for 1 to 10 degrees of freedom."""
Z975: Final = 1.95996
Curve = list[tuple[float, float]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One run against the runs of its seed. Rates are 0…1; None = it could not be measured.

    ``area`` is the mean of the held-out curve over candidates from 0 to ``budget``, the most that any
    policy of the seed spent; a run that ended early keeps its last value. ``share`` is the candidates until
    the curve first reaches uniform's final value, as a part of those that uniform spent. ``falls``: lag →
    true fall of mastered tasks under the policy's own reviews, mean over rounds; ``frozen``: lag → fall of
    tasks that were not practised any more.
    """

    final: float
    seen: float
    area: float
    share: float | None
    falls: dict[int, float]
    frozen: dict[int, float]
    log_loss: float | None
    log_loss_constant: float | None
    candidates: int
    measured: int
    """Tasks graded without being practised: audits and probes."""


def curve(run: Simulation) -> Curve:
    """(candidates so far, held-out mean), from before training on."""
    points: Curve = [(0, run.base)]
    for part in run.rounds:
        points.append((points[-1][0] + part.n_candidates, part.held_out))
    return points


def area(points: Curve, budget: float) -> float:
    """The curve's mean from 0 to ``budget`` candidates, by trapezoids; its last value holds to the end."""
    if not budget:
        return points[-1][1]
    ends = [*points, (max(budget, points[-1][0]), points[-1][1])]
    total = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(ends))
    return total / ends[-1][0]


def reached(points: Curve, target: float) -> float | None:
    """Candidates until the curve first reaches ``target``, interpolated; None when it never does."""
    if points[0][1] >= target:
        return 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if y1 >= target:
            return x0 + (x1 - x0) * (target - y0) / (y1 - y0)
    return None


def scores(runs: Sequence[Simulation]) -> dict[tuple[str, int], Score]:
    """(policy, seed) → score. Without a run of ``uniform`` for a seed, ``share`` is None."""
    curves = {(run.policy, run.seed): curve(run) for run in runs}
    found: dict[tuple[str, int], Score] = {}
    for run in runs:
        points = curves[run.policy, run.seed]
        budget = max(c[-1][0] for (_, seed), c in curves.items() if seed == run.seed)
        uniform = curves.get(("uniform", run.seed))
        spent = None if uniform is None else reached(points, uniform[-1][1])
        n_predicted = sum(part.n_predicted for part in run.rounds)
        found[run.policy, run.seed] = Score(
            final=points[-1][1],
            seen=run.rounds[-1].seen if run.rounds else math.nan,
            area=area(points, budget),
            share=None if spent is None or uniform is None else spent / uniform[-1][0],
            falls={
                lag: statistics.fmean(falls)
                for lag in LAGS
                if (falls := [part.falls[lag] for part in run.rounds if lag in part.falls])
            },
            frozen={lag: fall for lag, (fall, _) in run.frozen.items()},
            log_loss=_weighted([(p.n_predicted, p.log_loss) for p in run.rounds], n_predicted),
            log_loss_constant=_weighted(
                [(p.n_predicted, p.log_loss_constant) for p in run.rounds], n_predicted
            ),
            candidates=int(points[-1][0]),
            measured=sum(part.n_audit + part.n_probe for part in run.rounds),
        )
    return found


def _weighted(losses: Sequence[tuple[int, float | None]], n: int) -> float | None:
    return sum(k * loss for k, loss in losses if loss is not None) / n if n else None


def interval(values: Sequence[float]) -> float:
    """Half the width of the mean's 95% interval, by Student's t; nan for a single value."""
    if len(values) < 2:
        return math.nan
    return student(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def student(freedom: int) -> float:
    """Student's t, 97.5%. Above 10 degrees of freedom by the expansion of Cornish and Fisher."""
    if freedom <= len(T975):
        return T975[freedom - 1]
    z = Z975
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


HEADER: Final = (
    f"{'policy':<14} {'held-out, final':>16} {'- uniform':>14} {'area':>14} {'candidates':>13}   "
    f"{'fall after 1, 2, 4, 8 rounds':<28} {'frozen, 8':>9}  {'log-loss (constant)':>19}"
)


def table(found: dict[tuple[str, int], Score]) -> str:
    """A line per policy: means over seeds ± 95%, in percent and points; the log-loss in nats.

    ``- uniform``: the final held-out mean less that of uniform, paired by seed. ``candidates``: see
    `Score.share`, with the number of seeds that got there when not all did.
    """
    lines = [HEADER]
    for policy in dict.fromkeys(policy for policy, _ in found):
        mine = [score for (name, _), score in found.items() if name == policy]
        lines.append(
            f"{policy:<14} {_mean([s.final for s in mine]):>16} "
            f"{_mean(_ahead(found, policy), sign=True):>14} {_mean([s.area for s in mine]):>14} "
            f"{_shares([s.share for s in mine]):>13}   {_falls(mine):<28} "
            f"{_mean([s.frozen[8] for s in mine if 8 in s.frozen], sign=True, narrow=True):>9}  "
            f"{_losses(mine):>19}".rstrip()
        )
    return "\n".join(lines)


def _ahead(found: dict[tuple[str, int], Score], policy: str) -> list[float]:
    """By how much the policy ends above uniform, paired by seed."""
    return [
        score.final - found["uniform", seed].final
        for (name, seed), score in found.items()
        if name == policy != "uniform" and ("uniform", seed) in found
    ]


def _mean(values: Sequence[float], *, sign: bool = False, narrow: bool = False) -> str:
    if not values:
        return "-"
    text = f"{100 * statistics.fmean(values):{'+' if sign else ''}.{1 if narrow else 2}f}"
    half = interval(values)
    return text if narrow or math.isnan(half) else f"{text} ± {100 * half:.2f}"


def _shares(shares: Sequence[float | None]) -> str:
    known = [share for share in shares if share is not None]
    if not known:
        return "-"
    text = f"{100 * statistics.fmean(known):.0f}%"
    return text if len(known) == len(shares) else f"{text} ({len(known)} of {len(shares)})"


def _falls(mine: Sequence[Score]) -> str:
    found = ([s.falls[lag] for s in mine if lag in s.falls] for lag in LAGS)
    return " ".join(f"{_mean(values, sign=True, narrow=True):>6}" for values in found)


def _losses(mine: Sequence[Score]) -> str:
    pairs = [
        (s.log_loss, s.log_loss_constant)
        for s in mine
        if s.log_loss is not None and s.log_loss_constant is not None
    ]
    if not pairs:
        return "-"
    ours, constant = (statistics.fmean(column) for column in zip(*pairs, strict=True))
    return f"{ours:.3f} ({constant:.3f})"
