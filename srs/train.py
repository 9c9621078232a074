"""Train a code model by execution feedback, on a spaced-repetition schedule.

    tasks ─► plan ─► roll out (generate ∥ grade) ─► remember ─► LoRA round ─► evaluate ─┐
              ▲                                                                         │
              └─────────────────────────────── next round ◄─────────────────────────────┘
    after the last round:  all graded candidates ─► preference pairs ─► DPO ─► evaluate ─► report

With ``devices.async_rounds`` the next rollout goes on during the LoRA round, one adapter behind.
Each phase leaves a file in the run directory (`srs.rundir`); a resumed run does only what is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from srs import config as configs
from srs import ending
from srs.child import ChildError
from srs.config import Config
from srs.rundir import DiskFullError, RunDir, as_stored
from srs.types import RoundPlan, UserError, to_json

if TYPE_CHECKING:
    from srs.evaluation import Evaluation
    from srs.lab import Lab
    from srs.rollout import Rollout

DEFAULT_CONFIG = Path(__file__).parents[1] / "configs" / "tiny.toml"
RUNS = Path("runs")


def train(lab: Lab) -> None:
    """Rounds until there are ``run.rounds`` of them or every task has retired; then DPO."""
    measure_base(lab)
    while (number := next_round(lab)) is not None:
        lab.run.clear_final_stage()  # there is one where a finished run is extended
        plan = plan_round(lab, number)
        rollout = roll_out(lab, plan)
        lab.memory.record(number, rollout.reviews(plan), lab.planner.policy.update)
        with rolling_out_ahead(lab, number):
            finetune(lab, number, rollout.of(plan.practised))
        close_round(lab, plan, rollout)
    prefer(lab)
    conclude(lab)


def measure_base(lab: Lab) -> None:
    """Round 0: the held-out tasks before any training."""
    from srs.rollout import Rollout

    if not lab.run.metrics():
        close_round(lab, RoundPlan(round=0, new=(), review=()), Rollout(graded=()))


def next_round(lab: Lab) -> int | None:
    """The round to run or to continue; None after the last, or when every task has retired."""
    done = lab.run.metrics()
    if len(done) > lab.config.run.rounds:
        return None
    number = round_after(lab, done[-1].round)
    if number is None:
        lab.progress.note("no task is left to practise: no more rounds to run")
    return number


def round_after(lab: Lab, number: int) -> int | None:
    """The round that follows; None when nothing is left to practise."""
    if (started := lab.run.started_after(number)) is not None:
        return started
    return number + 1 if lab.planner.has_work(number + 1) else None


def plan_round(lab: Lab, number: int) -> RoundPlan:
    """Which tasks: never tried ones and those due, by quota; audits and probes, which only measure."""
    name = f"{lab.run.round(number)}/plan.json"
    if not lab.run.has(name):
        with lab.run.timed(number, "plan"):
            lab.run.write_records(name, [lab.planner.plan(number)])
    return lab.run.read_plan(number)


def roll_out(lab: Lab, plan: RoundPlan) -> Rollout:
    """k graded candidates per task from the adapter; grading starts with the first of them."""
    number = plan.round
    if not lab.run.has_rollout(number):
        tasks = [lab.tasks[task] for task in plan.task_ids]
        total = len(tasks) * lab.sampling.n
        with lab.progress.phase("generate, grade", total, unit="candidates") as advance:
            rollout = lab.roller.roll_out(
                tasks,
                policy=lab.rollout_policy(number),
                sampling=lab.sampling,
                round=number,
                phase="rollout",
                advance=advance,
            )
        lab.run.add_seconds(number, {"generate": rollout.generate_s, "grade": rollout.grade_s})
        lab.run.write_rollout(number, rollout)
    return lab.run.read_rollout(number)


@contextlib.contextmanager
def rolling_out_ahead(lab: Lab, number: int) -> Iterator[None]:
    """With ``devices.async_rounds``, the next round's rollout while this one trains; else nothing.

    Its plan knows this round's reviews; its candidates are from before this round's training.
    """
    ahead = lab.config.devices.async_rounds and not is_last_round(lab)
    following = round_after(lab, number) if ahead else None
    if following is None:
        yield
        return
    rollout = lab.ahead.submit(roll_out, lab, plan_round(lab, following))
    yield
    rollout.result()


def finetune(lab: Lab, number: int, rollout: Rollout) -> None:
    """One LoRA round on what passed (or the references); none when nothing did."""
    from srs.examples import sft_examples

    marker = f"{lab.run.round(number)}/train.json"
    if lab.run.has(marker):
        return
    config = lab.config.finetune
    examples = sft_examples(
        lab.tasks,
        rollout.graded,
        target=config.target,
        max_per_task=config.max_per_task,
        chat=lab.generator.chat,
    )
    result = None
    if examples:
        out = lab.run.adapter(number)
        lab.run.remove(out)  # whole, but from an interrupted phase
        with lab.progress.phase("train", total=1) as advance, lab.run.timed(number, "train"):
            result = lab.tuner.sft(
                examples,
                start=lab.policy(before=number).adapter,
                out=out,
                seed=lab.seed(number, "train"),
            )
            advance(1)
    else:
        lab.progress.note(f"round {number}: nothing to train on; the adapter stays as it was")
    lab.run.write_json(marker, {"n_examples": len(examples), "result": result and to_json(result)})


def close_round(lab: Lab, plan: RoundPlan, rollout: Rollout) -> None:
    """Evaluate if it is time, then write the round's line: the marker that it is complete."""
    from srs.rounds import round_record

    number = plan.round
    evaluation = None
    if is_last_round(lab) or lab.config.eval.due(number):
        evaluation = evaluate_after(lab, number)
    elif number in lab.config.eval.panel_rounds:
        measure_panel_after(lab, number)
    record = round_record(lab.run, lab.planner, plan, rollout, evaluation)
    lab.run.add_metrics(record)
    lab.progress.round_done(record)
    lab.refresh_report()


def is_last_round(lab: Lab) -> bool:
    """Whether the round that is not complete yet is the last."""
    return len(lab.run.metrics()) == lab.config.run.rounds


def evaluate_after(lab: Lab, number: int) -> Evaluation:
    """The held-out evaluation of the policy as round ``number`` left it."""
    name = f"{lab.run.round(number)}/evaluation.json"
    if not lab.run.has(name):
        with lab.run.timed(number, "eval"):
            evaluation = lab.evaluate(lab.policy(before=number + 1), number)
        lab.run.write_json(name, evaluation)
    result: Evaluation = lab.run.read_json(name)
    return result


def measure_panel_after(lab: Lab, number: int) -> None:
    """The panel alone, between two evaluations."""
    name = f"{lab.run.round(number)}/panel.json"
    if not lab.run.has(name):
        with lab.run.timed(number, "eval"):
            measured = lab.measure_panel(lab.policy(before=number + 1), number)
        lab.run.write_json(name, measured)


def prefer(lab: Lab) -> None:
    """DPO on pairs of passing and failing candidates from all rounds, starting from the last adapter."""
    from srs.examples import preference_pairs

    config, last = lab.config.dpo, lab.run.metrics()[-1].round
    if not config.enabled or lab.run.final_stage_is_of(last):
        return
    lab.run.clear_final_stage()
    pairs = preference_pairs(
        lab.run.history(),
        round=last,
        max_per_task=config.max_pairs_per_task,
        max_age_rounds=config.max_age_rounds,
        max_pairs=config.max_pairs,
        seed=lab.seed(last, "pairs"),
        chat=lab.generator.chat,
    )
    pairs += lab.extra_pairs
    lab.run.write_records("pairs.jsonl", pairs)
    result = None
    if pairs:
        with lab.progress.phase("DPO", total=1) as advance:
            result = lab.tuner.dpo(
                pairs,
                start=lab.policy(before=last + 1).adapter,
                out=lab.run.adapter("dpo"),
                seed=lab.seed(last, "dpo"),
            )
            advance(1)
        if result.collapsed:
            lab.progress.note("DPO stopped early: the chosen answers were becoming less likely")
    else:
        lab.progress.note("no preference pairs: no task had both a passing and a failing candidate")
    lab.run.write_json(
        "dpo.json", {"round": last, "n_pairs": len(pairs), "result": result and to_json(result)}
    )


def conclude(lab: Lab) -> None:
    """Base, last LoRA round and DPO on the held-out tasks; the comparison; the report."""
    from srs.evaluation import compare
    from srs.rounds import with_evaluation

    record = lab.run.metrics()[-1]
    last = record.round
    evaluations = {"base": evaluate_after(lab, 0), "sft": evaluate_after(lab, last)}
    if record.val_pass_at_1 is None:  # nobody knew that it would be the last
        seconds = lab.run.seconds(last)
        lab.run.replace_last_metrics(with_evaluation(record, evaluations["sft"], seconds))
    if lab.run.adapter("dpo").exists():
        evaluations["dpo"] = lab.run.once(
            "evaluation/dpo.json", lambda: lab.evaluate(lab.dpo_policy, last)
        )
    for name, evaluation in evaluations.items():
        lab.run.write_json(f"evaluation/{name}.json", evaluation)
    comparison = compare(evaluations["base"], list(evaluations.values())[-1])
    lab.run.write_json("evaluation/comparison.json", comparison)
    report = lab.write_report()
    lab.progress.conclude(evaluations, comparison, report)
    export(lab)


def export(lab: Lab) -> None:
    """The evaluation as a job for Ianvs; `evaluator.export` makes others of the same run."""
    from evaluator.ianvs_job import write_job
    from evaluator.ianvs_run import job_of_run

    job = job_of_run(
        lab.run.path,
        config=configs.to_dict(lab.config),
        held_out=lab.held_out,
        train=lab.tasks.values(),
        licence=lab.notice,
    )
    write_job(job, lab.run.path / "export" / "ianvs")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit 0 done, 1 an engine died, 2 unusable input, 3 broken sandbox, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(format="%(message)s")
    for package in ("srs", "sandbox", "evaluator", "memory", "scheduler"):
        logging.getLogger(package).setLevel(logging.INFO)
    run: RunDir | None = None
    try:
        run = open_run(arguments)
        from sandbox.runner import SandboxError
        from srs.lab import open_lab

        try:
            with run, open_lab(run) as lab:
                train(lab)
        except SandboxError as e:
            return _fail(
                f"the sandbox is broken: {e}; nothing was recorded for it", ending.SANDBOX, run
            )
    except UserError as e:
        if run is not None and not isinstance(e, DiskFullError) and run.discard_unstarted():
            run = None
        return _fail(str(e), ending.UNUSABLE, run)
    except ChildError as e:
        return _fail(str(e), ending.CRASHED, run)
    except KeyboardInterrupt:
        return _fail("interrupted", ending.INTERRUPTED, run)
    return 0


def open_run(arguments: argparse.Namespace) -> RunDir:
    """Create or resume the run directory that the command line names. Raises UserError."""
    overrides = list(arguments.set)
    if arguments.rounds is not None:
        overrides.append(f"run.rounds={arguments.rounds}")
    if arguments.tasks is not None:
        overrides.append(f"tasks.source={arguments.tasks}")

    if not arguments.resume:
        config = configs.load(arguments.config or DEFAULT_CONFIG, overrides)
        return RunDir.create(arguments.run_dir or RUNS / f"{datetime.now():%Y%m%d-%H%M%S}", config)

    def wanted(stored: Config) -> Config:
        if arguments.config is None:
            return configs.override(stored, overrides)
        named = {text.partition("=")[0].strip() for text in overrides}
        return as_stored(configs.load(arguments.config, overrides), stored, named)

    return RunDir.resume(arguments.run_dir or _latest_run(), wanted)


def _latest_run() -> Path:
    runs = sorted(RUNS.glob("*/config.json"), key=lambda file: file.stat().st_mtime)
    if not runs:
        raise UserError(f"{RUNS}: no run to resume; name one with --run-dir")
    return runs[-1].parent


def _fail(message: str, code: int, run: RunDir | None) -> int:
    print(f"srs.train: {message}", file=sys.stderr)
    if run is not None:
        command = f"python -m srs.train --resume --run-dir {shlex.quote(str(run.path))}"
        print(f"continue with: {command}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m srs.train",
        description="Train a code model by execution feedback, on a spaced-repetition schedule.",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds in all (run.rounds)")
    parser.add_argument(
        "--config", type=Path, metavar="F.toml", help=f"default: configs/{DEFAULT_CONFIG.name}"
    )
    parser.add_argument(
        "--tasks",
        metavar="FILE_OR_HUB_ID",
        help="KodCode rows: .jsonl, .json, .parquet or a hub id (tasks.source)",
    )
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="default: a new folder in runs/"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue --run-dir, or the latest run in runs/"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        help="override one config key; may be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
