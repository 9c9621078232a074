"""Times whole rounds of the tiny lab: ``python scripts/bench_round.py [--json FILE]``.

A round's wall time, in the real loop, beside the least it could take: max(generate, grade) + train. After
each round the same candidates are generated alone and graded alone; training is the round's own. Medians
over the rounds, without the first (new engines) and the last (whose wall time holds an evaluation).
Also the engine's start-up, which a run pays once, and what a new adapter costs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluator.grade import grade_batch
from srs import config as configs
from srs.config import Config
from srs.ending import exit_code
from srs.environment import environment
from srs.generate import Generator, Policy, Request, open_generator
from srs.lab import Lab, open_lab
from srs.rundir import RunDir
from srs.train import DEFAULT_CONFIG, train
from srs.types import Candidate, UserError

TARGET_RATIO, TARGET_SWAP_S = 1.15, 1.0
SETTINGS = (
    "dpo.enabled=false",
    # One greedy answer, before the first round and after the last: neither is counted.
    "eval.limit=1",
    "eval.n=0",
    "eval.every=1000000",
)
SWAPS = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Seconds of one round. ``report_s``: of ``wall_s``, writing ``report.html``.

    ``same``: the candidates generated alone were those of the round.
    """

    number: int
    wall_s: float
    generate_s: float
    grade_s: float
    train_s: float
    report_s: float
    same: bool

    @property
    def bound_s(self) -> float:
        return max(self.generate_s, self.grade_s) + self.train_s

    @property
    def ratio(self) -> float:
        return self.wall_s / self.bound_s


class Stopwatch:
    """Takes a round's time when the loop closes it, and measures its phases alone before the next."""

    def __init__(self, lab: Lab, scratch: Path, rounds: int) -> None:
        self.lab = lab
        self.scratch = scratch
        self.rounds = rounds
        self.found: list[Round] = []
        self.children: list[set[int]] = []
        self._began = time.perf_counter()

    def round_closed(self, report_s: float) -> None:
        wall_s = time.perf_counter() - self._began
        number = self.lab.run.metrics()[-1].round
        self.children.append(model_processes())
        if 1 < number < self.rounds:
            self.found.append(self._measured(number, wall_s, report_s))
            r = self.found[-1]
            print(
                f"round {number - 1} of {self.rounds - 2}: {r.wall_s:.2f} s, ratio {r.ratio:.2f}",
                file=sys.stderr,
            )
        self._began = time.perf_counter()

    def _measured(self, number: int, wall_s: float, report_s: float) -> Round:
        lab = self.lab
        graded = lab.run.read_rollout(number).graded
        written = [candidate for candidate, _ in graded]
        start = time.perf_counter()
        again = generate_again(lab, written, number, self.scratch)
        generate_s = time.perf_counter() - start
        return Round(
            number=number,
            wall_s=wall_s,
            generate_s=generate_s,
            grade_s=grade_again(lab, written),
            train_s=lab.run.seconds(number)["train"],
            report_s=report_s,
            same={_text(c) for c in again} == {_text(c) for c in written},
        )


def generate_again(
    lab: Lab, written: Sequence[Candidate], number: int, scratch: Path
) -> list[Candidate]:
    """The round's candidates once more, nothing beside it.

    From a copy of the adapter: under its own name the engine would answer from its cached prefixes.
    """
    policy = lab.policy(before=number)
    if policy.adapter is not None:
        policy = Policy(name=policy.name, adapter=copy_of(policy.adapter, scratch))
    first = {c.task: c for c in reversed(written)}  # index 0 has the request's seed
    requests = [
        Request(task=lab.tasks[task], seed=first[task].seed)
        for task in dict.fromkeys(c.task for c in written)
    ]
    return list(
        lab.generator.generate(requests, policy=policy, sampling=lab.sampling, round=number)
    )


def grade_again(lab: Lab, written: Sequence[Candidate]) -> float:
    """Seconds to grade the candidates, equal programs once, as a rollout does."""
    distinct = list({(c.task, c.code or ""): c for c in reversed(written)}.values())
    tasks = [lab.tasks[task] for task in dict.fromkeys(c.task for c in distinct)]
    start = time.perf_counter()
    verdicts = list(
        grade_batch(
            tasks,
            distinct,
            lab.roller.sandbox,
            expectations=lab.roller.expectations,
            limits=lab.roller.limits,
        )
    )
    took_s = time.perf_counter() - start
    if len(verdicts) != len(distinct):
        raise RuntimeError(f"{len(verdicts)} verdicts for {len(distinct)} candidates")
    return took_s


def swap_s(generator: Generator, lab: Lab, scratch: Path) -> list[float]:
    """What a new adapter adds to a request of one token, `SWAPS` times.

    New is a copy under a new path, as in a new round; the second request under it is the comparison.
    """
    newest = lab.policy(before=lab.config.run.rounds + 1)
    if newest.adapter is None:
        raise UserError("no round trained an adapter: nothing to swap; take more rounds")
    task = next(iter(lab.tasks.values()))
    sampling = dataclasses.replace(lab.sampling, n=1, max_tokens=1)

    def ask(adapter: Path, seed: int) -> float:
        policy = Policy(name="swap", adapter=adapter)
        start = time.perf_counter()
        list(generator.generate([Request(task=task, seed=seed)], policy=policy, sampling=sampling, round=0))  # fmt: skip
        return time.perf_counter() - start

    found = []
    for number in range(SWAPS):
        adapter = copy_of(newest.adapter, scratch)
        first, second = ask(adapter, number), ask(adapter, number)
        found.append(max(0.0, first - second))
    return found


def copy_of(adapter: Path, scratch: Path) -> Path:
    target = scratch / f"adapter-{len(list(scratch.iterdir()))}"
    shutil.copytree(adapter, target)
    return target


def model_processes() -> set[int]:
    """Our children that hold a model: one that was started again has another number."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (OSError, IndexError):  # it ended meanwhile
            continue
        if int(parent) == os.getpid() and b"srs.child" in words:
            found.add(int(folder.name))
    return found


def measure(config: Config, folder: Path) -> dict[str, Any]:
    """Start-up, then a run. Raises UserError, SandboxError, ChildError."""
    start = time.perf_counter()
    with open_generator(config, folder / "start-up.log") as generator:
        generator.ready()
        start_up_s = time.perf_counter() - start
    scratch = folder / "adapters"
    scratch.mkdir()
    with RunDir.create(folder / "run", config) as run, open_lab(run) as lab:
        watch = Stopwatch(lab, scratch, config.run.rounds)
        train(timed(lab, watch))
        swaps = swap_s(lab.generator, lab, scratch)
        described = lab.generator.describe()
    if not watch.found:
        raise UserError(f"the run ended after {len(watch.children) - 1} rounds: none to count")
    return {
        **summary(watch.found, start_up_s, swaps),
        "model_processes_started_again": sum(
            len(now - before)
            for before, now in zip(watch.children, watch.children[1:], strict=False)
        ),
        "engine": described["engine"],
        "environment": {
            key: value for key, value in environment().items() if key != "command"
        },
    }  # fmt: skip


def timed(lab: Lab, watch: Stopwatch) -> Lab:
    """The same lab, except that closing a round tells ``watch``."""

    class TimedLab(Lab):
        def refresh_report(self) -> None:
            start = time.perf_counter()
            super().refresh_report()
            watch.round_closed(time.perf_counter() - start)

    return TimedLab(**{field.name: getattr(lab, field.name) for field in dataclasses.fields(lab)})


def summary(rounds: Sequence[Round], start_up_s: float, swaps: Sequence[float]) -> dict[str, Any]:
    """Medians, each over its own column: ``ratio`` is the median of the rounds' ratios."""
    columns = ("wall_s", "generate_s", "grade_s", "train_s", "report_s", "bound_s", "ratio")
    return {
        "median": {name: statistics.median(getattr(r, name) for r in rounds) for name in columns},
        "rounds": [{**dataclasses.asdict(r), "ratio": r.ratio} for r in rounds],
        "start_up_s": start_up_s,
        "swap_s": statistics.median(swaps),
        "swaps_s": list(swaps),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_1m": os.getloadavg()[0],
    }


def show(found: dict[str, Any]) -> None:
    m = found["median"]
    n, same = len(found["rounds"]), sum(r["same"] for r in found["rounds"])
    print(
        f"{n} rounds, medians, seconds; {found['engine']}, {found['cores']} cores, "
        f"load {found['load_1m']:.1f}"
    )
    for label, key in (
        ("round, wall time", "wall_s"),
        ("generate alone", "generate_s"),
        ("grade alone", "grade_s"),
        ("train", "train_s"),
        ("report, part of the wall time", "report_s"),
        ("max(generate, grade) + train", "bound_s"),
    ):
        print(f"  {label:<30} {m[key]:>8.2f}")
    print(f"  {'ratio':<30} {m['ratio']:>8.2f}   (aim: at most {TARGET_RATIO})")
    print(f"engine start-up {found['start_up_s']:.1f} s; model processes started again in the rounds: {found['model_processes_started_again']}")  # fmt: skip
    print(f"adapter swap {found['swap_s']:.3f} s   (aim: at most {TARGET_SWAP_S:g} s)")
    print(f"candidates generated alone were the round's own in {same} of {n} rounds")


def _text(candidate: Candidate) -> tuple[str, int, str]:
    return candidate.task, candidate.index, candidate.completion


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 with figures, else as `srs.ending.exit_code` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count; default 7")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="F.toml")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    logging.basicConfig(format="%(message)s")

    def work() -> None:
        overrides = [*SETTINGS, *args.set, f"run.rounds={args.rounds + 2}"]
        config = configs.load(args.config, overrides)
        if config.devices.async_rounds:
            raise UserError("devices.async_rounds: rounds that overlap have no wall time of their own")  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="srs-bench-round-") as folder:
            found = measure(config, Path(folder))
        show(found)
        if args.json:
            args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
