"""What one finished run measured, read from its directory."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from scheduler.config import SchedulerConfig
from srs import config as configs
from srs.compare.protocol import UNKNOWN
from srs.rollout import Rollout
from srs.runview import records, rows
from srs.types import Candidate, Review, RoundPlan, RoundRecord, UserError, Verdict

Counts = Mapping[str, tuple[int, int]]
"""Task → (passed, samples)."""
Halves = Mapping[str, tuple[tuple[int, int], tuple[int, int]]]
"""Task → (passed, samples) of the first half of its samples and of the rest."""
LATE: Final = 0.2
"""Share of a run's rounds."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The held-out tasks after ``candidates`` practised ones. ``greedy`` is the greedy pass@1."""

    round: int
    candidates: int
    held_out: Counts
    greedy: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a run used. The first line is meant to be equal in all arms, the rest is reported.

    ``candidates`` were practised, ``least``/``most`` of them in one round; ``measured`` ones belong to
    audits and probes. ``sandbox_s``: wall time of the programs that ran, each once, of practised
    candidates and (``measured_sandbox_s``) of measured ones; ``eval_s``: whole evaluations.
    """

    rounds: int
    candidates: int
    sft_tokens: int
    sft_steps: int
    dpo_pairs: int
    least: int
    most: int
    sft_examples: int
    measured: int
    sandbox_s: float
    measured_sandbox_s: float
    eval_s: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """``measurements`` come by round; ``panels``: round → the panel after it, at evaluations and between.

    ``after_dpo``: the held-out tasks after DPO, None when there was none. ``commit``: of the code that
    ran it last (`srs.environment`).
    """

    arm: str
    seed: int
    scheduler: SchedulerConfig
    commit: str
    measurements: tuple[Measurement, ...]
    panels: Mapping[int, Halves]
    after_dpo: Counts | None
    reviews: tuple[Review, ...]
    spent: Spent

    @property
    def final(self) -> Measurement:
        return self.measurements[-1]

    def last(self, n: int) -> tuple[Measurement, ...]:
        """The last ``n`` in the last fifth of its rounds, or as many as there are.

        An arm that ended early isn't to be judged by what it was long before its end.
        """
        late = (1 - LATE) * self.final.round
        return tuple(m for m in self.measurements if m.round >= late)[-n:]


def is_complete(run: Path) -> bool:
    """Whether `srs.train` has concluded this run."""
    return (run / "evaluation" / "comparison.json").is_file()


def read(run: Path, *, arm: str, seed: int) -> RunResult:
    """Read a complete run. Raises UserError naming the file that can't be used."""
    file = run / "config.json"
    config = configs.from_dict(_json(file), str(file))
    lines = list(records(run / "metrics.jsonl", RoundRecord))
    trained = [record for record in lines if record.round > 0]
    reviews: list[Review] = []
    seconds = {True: 0.0, False: 0.0}
    for record in trained:
        folder = run / "rounds" / f"{record.round:04d}"
        (plan,) = records(folder / "plan.json", RoundPlan)
        candidates = records(folder / "candidates.jsonl", Candidate)
        verdicts = records(folder / "verdicts.jsonl", Verdict)
        rollout = Rollout(graded=tuple(zip(candidates, verdicts, strict=True)))
        reviews += rollout.reviews(plan)
        for practised, wall_s in _programs(plan, rollout):
            seconds[practised] += wall_s
    training = [_training(run, record.round) for record in trained]
    dpo = run / "evaluation" / "dpo.json"
    pairs = run / "pairs.jsonl"
    about = run / "environment.json"
    return RunResult(
        arm=arm,
        seed=seed,
        scheduler=config.scheduler,
        commit=(_json(about).get("commit") if about.exists() else None) or UNKNOWN,
        measurements=tuple(_measurements(run, lines)),
        panels=dict(_panels(run, lines)),
        after_dpo=_held_out(_json(dpo)) if dpo.exists() else None,
        reviews=tuple(reviews),
        spent=Spent(
            rounds=len(trained),
            candidates=sum(record.n_candidates for record in trained),
            sft_tokens=sum(result.get("n_tokens", 0) for result in training),
            sft_steps=sum(result.get("n_steps", 0) for result in training),
            dpo_pairs=sum(1 for _ in rows(pairs)) if pairs.exists() else 0,
            least=min((record.n_candidates for record in trained), default=0),
            most=max((record.n_candidates for record in trained), default=0),
            sft_examples=sum(record.sft_examples for record in trained),
            measured=sum(record.n_measured for record in trained),
            sandbox_s=round(seconds[True], 3),
            measured_sandbox_s=round(seconds[False], 3),
            eval_s=round(sum(record.seconds.get("eval", 0.0) for record in lines), 3),
        ),
    )


def _programs(plan: RoundPlan, rollout: Rollout) -> Iterable[tuple[bool, float]]:
    """(was it practised, seconds) of each program that ran: equal ones for a task ran once."""
    practised = frozenset(plan.practised)
    seen: dict[tuple[str, str | None], float] = {}
    for candidate, verdict in rollout.graded:
        seen.setdefault((candidate.task, candidate.code), verdict.wall_s)
    return [(task in practised, wall_s) for (task, _), wall_s in seen.items()]


def _measurements(run: Path, lines: Iterable[RoundRecord]) -> Iterable[Measurement]:
    candidates = 0
    for record in lines:
        candidates += record.n_candidates
        file = run / "rounds" / f"{record.round:04d}" / "evaluation.json"
        if not file.exists():
            continue
        evaluation = _json(file)
        try:
            yield Measurement(
                round=record.round,
                candidates=candidates,
                held_out=_held_out(evaluation),
                greedy=evaluation["pass_at_1"]["value"],
            )
        except (KeyError, TypeError, ValueError) as e:
            raise UserError(f"{file}: damaged: not an evaluation: {e!r}") from e


def _panels(run: Path, lines: Iterable[RoundRecord]) -> Iterable[tuple[int, Halves]]:
    for record in lines:
        folder = run / "rounds" / f"{record.round:04d}"
        files = [folder / "evaluation.json", folder / "panel.json"]
        file = next((file for file in files if file.exists()), None)
        if file is None:
            continue
        try:
            panel = {
                task: ((first[0], first[1]), (rest[0], rest[1]))
                for task, (first, rest) in _json(file).get("panel", {}).items()
            }
        except (AttributeError, IndexError, TypeError, ValueError) as e:
            raise UserError(f"{file}: damaged: no panel: {e!r}") from e
        if panel:
            yield record.round, panel


def _held_out(evaluation: Mapping[str, Any]) -> Counts:
    """The samples of each held-out task; the greedy answer where there are none."""
    counts = evaluation["sampled_per_task"] or evaluation["per_task"]
    return {task: (passed, n) for task, (passed, n) in counts.items()}


def _training(run: Path, round: int) -> Mapping[str, Any]:
    result: Mapping[str, Any] = _json(run / "rounds" / f"{round:04d}" / "train.json")["result"]
    return result or {}


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read: {e}") from e
