"""``python -m scheduler.simulator``: compare policies on the simulated learner, or fit it to real runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from scheduler.config import PolicyName, SchedulerConfig
from scheduler.policies import policy
from scheduler.simulator import summary
from scheduler.simulator.calibrate import Calibration, calibrate
from scheduler.simulator.parameters import Parameters, from_toml, to_toml
from scheduler.simulator.recorded import RecordedRound, RecordedRun, evaluations_of, reviews_of
from scheduler.simulator.simulate import Simulation, run
from srs.types import Review, RoundPlan, UserError, from_json, to_json

UNUSABLE, INTERRUPTED = 2, 130
EVERY_S = 1.0
"""Between two progress lines."""
KEEP_S = 10.0
"""Between two times that a fit under way is written down."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0; 2 for unusable input; 130 interrupted."""
    options = _parser().parse_args(argv)
    try:
        if options.calibrate:
            _calibrate(options.calibrate, options.out or Path("learner.toml"), options.learner)
        else:
            _compare(options)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scheduler.simulator",
        description="Policies on a simulated learner; docs/simulator.md says what that can't tell.",
    )
    add = parser.add_argument
    add("--policies", default=",".join(get_args(PolicyName)), help="names, with commas")
    add("--tasks", type=int, default=447_000)
    add("--rounds", type=int, default=300)
    add("--tasks-per-round", type=int, default=1_000)
    add("--n", type=int, default=5, help="candidates a task")
    add("--seeds", type=int, default=5)
    add("--new-share", type=float, default=SchedulerConfig().new_share)
    add("--hold-share", type=float, default=SchedulerConfig().hold_share, help="of `adaptive`")
    add("--frozen", type=int, default=100, help="tasks set aside once mastered")
    add(
        "--learner",
        type=Path,
        metavar="FILE.toml",
        help="parameters, without it the defaults; with --calibrate, where the fit begins",
    )
    add("--calibrate", nargs="+", type=Path, metavar="RUN_DIR", help="fit parameters to real runs")
    add(
        "--out", type=Path, help="folder for results.json; with --calibrate, the TOML file to write"
    )
    return parser


def _compare(options: argparse.Namespace) -> None:
    names = [name.strip() for name in options.policies.split(",") if name.strip()]
    for key in ("tasks", "rounds", "tasks_per_round", "n", "seeds"):
        if getattr(options, key) < 1:
            raise UserError(f"--{key.replace('_', '-')}: must be 1 or more")
    if not 0 <= options.new_share <= 1:
        raise UserError("--new-share: must be from 0 to 1")
    if options.frozen < 0:
        raise UserError("--frozen: must be 0 or more")
    parameters = Parameters() if options.learner is None else read_learner(options.learner)
    config = SchedulerConfig(
        tasks_per_round=options.tasks_per_round,
        new_share=options.new_share,
        frozen_tasks=options.frozen,
        hold_share=options.hold_share,
    )
    policies = {name: policy(dataclasses.replace(config, policy=name)) for name in names}
    runs: list[Simulation] = []
    for seed in range(options.seeds):
        for name, chosen in policies.items():
            started = said = time.monotonic()
            worked = time.process_time()

            def watch(*done: Any, name: str = name, seed: int = seed) -> None:
                nonlocal said
                if sys.stderr.isatty() and time.monotonic() - said > EVERY_S:
                    said = time.monotonic()
                    line = f"{name}, seed {seed}: round {done[0].round} of {options.rounds}"
                    print(f"\r{line:<60}", end="", file=sys.stderr, flush=True)

            runs.append(
                run(
                    chosen,
                    config,
                    parameters,
                    n_tasks=options.tasks,
                    rounds=options.rounds,
                    n=options.n,
                    seed=seed,
                    watch=watch,
                )
            )
            line = f"{name}, seed {seed}: {time.monotonic() - started:.1f} s, "
            line += f"{time.process_time() - worked:.1f} s of a core"
            line += f" ({len(runs)} of {len(policies) * options.seeds})"
            print(f"\r{line:<60}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)
    scores = summary.scores(runs)
    print(summary.table(scores))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        results = {
            "command": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
            "parameters": to_json(parameters),
            "scores": [
                {"policy": name, "seed": seed, **to_json(score)}
                for (name, seed), score in scores.items()
            ],
            "runs": [to_json(simulation) for simulation in runs],
        }
        _write(options.out / "results.json", json.dumps(results))
        print(f"written: {options.out / 'results.json'}")


def _calibrate(folders: Sequence[Path], out: Path, learner: Path | None) -> None:
    """Fit, print, write ``out``. Until then the best parameters so far are in ``OUT.unfinished``."""
    start = None if learner is None else read_learner(learner)
    runs = [read_run(folder) for folder in folders]
    of = f"{sum(len(run.rounds) - 1 for run in runs)} rounds of {len(runs)} runs"
    unfinished = out.with_name(f"{out.name}.unfinished")
    said = kept = -math.inf
    evaluations, lowest, best = 0, math.inf, Parameters()

    def keep() -> None:
        comment = f"The best of {evaluations} evaluations on {of}: {lowest:.2f} nats.\n"
        comment += "The fit has not ended; give this file as --learner to go on from here."
        _write(unfinished, to_toml(best, comment))

    def watch(*so_far: Any) -> None:
        nonlocal said, kept, evaluations, lowest, best
        evaluations, lowest, best = so_far
        now = time.monotonic()
        if now - kept > KEEP_S:
            keep()
            kept = now
        if now - said > EVERY_S:
            said = now
            print(f"evaluation {evaluations}: {lowest:.2f} nats", file=sys.stderr, flush=True)

    try:
        result = calibrate(runs, watch, start)
    except KeyboardInterrupt:
        if evaluations:
            keep()
            print(f"the best so far: --learner {unfinished} goes on from it", file=sys.stderr)
        raise
    print("\n".join(_fit_lines(result)))
    if not result.converged:
        print(f"not converged: --learner {out} goes on from here", file=sys.stderr)
    comment = f"Fitted by `python -m scheduler.simulator --calibrate`: {of}."
    comment += "" if result.converged else "\nNot converged."
    _write(out, to_toml(result.parameters, comment))
    unfinished.unlink(missing_ok=True)
    print(f"written: {out}")


def _fit_lines(result: Calibration) -> list[str]:
    lines = ["group      candidates  log-loss  constant    rmse  if the model were right"]
    lines += [
        f"{fit.group:<10} {fit.n:>10} {fit.log_loss:>9.3f} {fit.constant:>9.3f} "
        f"{fit.rmse:>7.3f} {fit.expected:>8.3f}"
        for fit in result.fits
    ]
    lines += ["", "parameter                  value  told by the data"]
    for key, value in dataclasses.asdict(result.parameters).items():
        told = result.told.get(key)
        lines.append(f"{key:<24} {value:>7.3g}  {'not fitted' if told is None else f'{told:.0%}'}")
    return lines


def read_learner(path: Path) -> Parameters:
    """Parameters out of a TOML file. Raises UserError, naming the file, for one that can't be used."""
    return from_toml(_text(path), str(path))


def read_run(folder: Path) -> RecordedRun:
    """A run directory's plans, verdicts and evaluations; a round that was not finished is left out.

    Raises UserError, naming the file, for what isn't a run directory or can't be read.
    """
    scheduler = _json(folder / "config.json").get("scheduler", {})
    size = scheduler.get("tasks_per_round", SchedulerConfig().tasks_per_round)
    rounds: list[RecordedRound] = []
    held_out: set[str] = set()
    for part in sorted((folder / "rounds").glob("[0-9]*")):
        number = int(part.name)
        if number and not (part / "verdicts.jsonl").exists():
            break
        reviews: tuple[Review, ...] = ()
        if number:
            verdicts = part / "verdicts.jsonl"
            try:
                plan = from_json(RoundPlan, _json(part / "plan.json"))
                reviews = reviews_of(plan, map(json.loads, _text(verdicts).splitlines()))
            except (json.JSONDecodeError, TypeError, KeyError) as e:
                raise UserError(
                    f"{verdicts}: not the verdicts of {part / 'plan.json'}: {e!r}"
                ) from e
        files = [f for name in ("evaluation.json", "panel.json") if (f := part / name).exists()]
        measured = [_json(file) for file in files]
        held_out.update(task for found in measured for task in found.get("sampled_per_task", ()))
        seen = [review for found in measured for review in evaluations_of(found, number)]
        rounds.append(RecordedRound(reviews=reviews, evaluations=tuple(seen)))
    if not any(part.reviews for part in rounds):
        raise UserError(f"{folder}: no finished round: give a run directory of srs.train")
    return RecordedRun(
        name=folder.name,
        tasks_per_round=size,
        rounds=tuple(rounds),
        held_out=frozenset(held_out),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(_text(path))
    except json.JSONDecodeError as e:
        raise UserError(f"{path}: not valid JSON: {e}") from e
    return data


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot read it: {e}") from e


def _write(path: Path, text: str) -> None:
    """All of the text or, when it can't be written, what was there before."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as e:
        raise UserError(f"{path}: cannot write it: {e.strerror}") from e


if __name__ == "__main__":
    sys.exit(main())
