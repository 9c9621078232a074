"""Compare scheduling policies on the real loop: same budgets, several seeds, paired intervals.

    arms x seeds ─► protocol.json ─► srs.train, several at once ─► run directories
                                                                        │
    verdict.md ◄─ the rule ◄─ results.json, table.md, *.svg ◄───────────┘

Ask again with the same arguments to go on after an interruption; finished runs are not run again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.policies import policy
from srs import config as configs
from srs.compare import arms, protocol
from srs.compare.protocol import Protocol
from srs.config import Config
from srs.types import UserError

if TYPE_CHECKING:
    from srs.compare.runner import Failure

DEFAULT_CONFIG = Path(__file__).parents[2] / "configs" / "compare_tiny.toml"
EXIT_FAILED, EXIT_UNUSABLE, EXIT_INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit 0 done, 1 a run failed, 2 unusable input, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    from srs.compare import runner

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failures: list[Failure] = []
    try:
        if arguments.analyze_only:
            agreed = protocol.read(arguments.out)
        else:
            config = configs.load(arguments.config or DEFAULT_CONFIG, arguments.set)
            asked = wanted(arguments, config)
            with runner.held(arguments.out):
                agreed = protocol.agree(
                    arguments.out, asked, allow_other_code=arguments.allow_other_code
                )
                failures = run(agreed, config, arguments.out, arguments.jobs)
        conclude(agreed, arguments.out)
    except UserError as e:
        _complain(failures)
        print(f"srs.compare: {e}", file=sys.stderr)
        return EXIT_FAILED if failures else EXIT_UNUSABLE
    except KeyboardInterrupt:
        again = sys.argv[1:] if argv is None else argv
        print("srs.compare: interrupted; the runs stopped after their last complete phase", file=sys.stderr)  # fmt: skip
        print(f"continue with: python -m srs.compare {shlex.join(again)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    _complain(failures)
    return EXIT_FAILED if failures else 0


def wanted(arguments: argparse.Namespace, config: Config) -> Protocol:
    """The protocol that the command line asks for. Raises UserError."""
    if not arguments.arms:
        raise UserError("--arms: name the policies to compare, such as uniform,random_review,sm2")
    if arguments.seeds < 1 or arguments.rounds < 1:
        raise UserError("--seeds and --rounds: must be 1 or more")
    if arguments.jobs < 0:
        raise UserError("--jobs: must be 1 or more, or 0 for what the machine carries")
    first, late = config.run.seed, _late_evaluations(config, arguments.rounds)
    averaged = arguments.final_evaluations
    if averaged is None:
        averaged = min(protocol.AVERAGED, late)
    if averaged > late:
        raise UserError(
            f"--final-evaluations: {late} fall in the last fifth of {arguments.rounds} rounds, not "
            f"{averaged}; see eval.rounds and eval.every"
        )
    found = Protocol(
        arms=arms.parse(arguments.arms),
        rounds=arguments.rounds,
        seed_batches=(tuple(range(first, first + arguments.seeds)),),
        config=config,
        codes=(protocol.this_code(),),
        analysis=protocol.analysis(averaged),
    )
    for arm in found.arms:
        # Every override, before any run.
        policy(arm.config(config, seed=first, rounds=arguments.rounds).scheduler)
    return found


def _late_evaluations(config: Config, rounds: int) -> int:
    """How many evaluations of a whole run can make up its final pass@1."""
    from srs.compare.results import LATE

    late = [r for r in range(1, rounds + 1) if r >= (1 - LATE) * rounds]
    return sum(config.eval.due(r) or r == rounds for r in late)


def run(agreed: Protocol, config: Config, out: Path, jobs: int) -> list[Failure]:
    """Run what isn't finished, in a folder that is held."""
    from srs.compare import runner
    from srs.compare.board import Board
    from srs.compare.results import is_complete

    jobs = jobs or runner.default_jobs()
    runs = runner.planned(agreed, config, out)
    board = Board(
        {one.cell: one.path for one in runs},
        done=[one.cell for one in runs if is_complete(one.path)],
        rounds=agreed.rounds,
        jobs=jobs,
    )
    with board:
        return runner.execute(runs, board, jobs=jobs)


def conclude(agreed: Protocol, out: Path) -> None:
    """Analyse the finished runs; write and print the tables and the verdict. Raises UserError."""
    from srs.compare import page, plots, results, runner, verdict, words
    from srs.compare.analysis import analyse

    finished = [
        results.read(path, arm=arm.name, seed=seed)
        for seed in agreed.seeds
        for arm in agreed.arms
        if results.is_complete(path := runner.run_path(out, arm, seed))
    ]
    found = analyse(
        finished,
        agreed.arms,
        level=protocol.LEVEL,
        resamples=protocol.RESAMPLES,
        lags=protocol.LAGS,
        averaged=agreed.analysis["averaged"],
    )
    judged = verdict.judge(found)
    table = page.table_md(found)
    text = words.verdict_md(found, judged, agreed)
    protocol.write_whole(out / "results.json", json.dumps({**found, "verdict": judged}, indent=1) + "\n")  # fmt: skip
    protocol.write_whole(out / "table.md", table)
    protocol.write_whole(out / "verdict.md", text)
    files = [out / "results.json", out / "table.md", out / "verdict.md", *plots.write(found, out)]
    print(f"\n{table}\n{text}")
    print(f"written: {', '.join(map(str, files))}")


def _complain(failures: Sequence[Failure]) -> None:
    for failure in failures:
        print(f"srs.compare: {failure}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m srs.compare",
        description="Compare scheduling policies on the real loop, at equal budgets.",
    )
    parser.add_argument(
        "--arms",
        metavar="a,b,c",
        help="policies; or label=policy+scheduler.key=value+… for one with other settings",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        metavar="N",
        help="run.seed and the N - 1 after it; default 5",
    )
    parser.add_argument(
        "--rounds", type=int, default=40, metavar="N", help="of each run; default 40"
    )
    parser.add_argument(
        "--final-evaluations",
        type=int,
        metavar="N",
        help="the last ones, of which a final pass@1 is the mean; "
        f"default {protocol.AVERAGED}, or as many as the last fifth of the rounds has",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="new, or one to go on with"
    )
    parser.add_argument(
        "--config", type=Path, metavar="F.toml", help=f"default: configs/{DEFAULT_CONFIG.name}"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="runs at once; default: what the machine carries",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="section.key=value",
        help="override one config key for all arms; may be repeated",
    )
    parser.add_argument(
        "--analyze-only", action="store_true", help="run nothing: judge what is finished in --out"
    )
    parser.add_argument(
        "--allow-other-code",
        action="store_true",
        help="go on although another commit began the comparison; the verdict says so",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
