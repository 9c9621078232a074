"""Repair with feedback, beside a control that resamples without it on the same budget.

    answers ─► grade, analyze ─► epoch 1 … N:  what is not right ─► prompt = task + own answer + findings
                                               (control: the task alone) ─► generate ─► grade, analyze

Every finished step is a file in --out; the same command again continues, a larger --epochs goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from evaluator.analyzers.finding import ToolFailed
from evaluator.grade import grade_batch
from evaluator.options import Adapter, read_adapter
from evaluator.reference import Dropped, Expectation, verify
from evaluator.repairing import report as reports
from evaluator.repairing.attempt import ARMS, Arm, Attempt, attempt_from_json
from evaluator.repairing.inputs import Inputs, Readers, from_files, from_results, without
from evaluator.repairing.loop import Parts, State, Writer, after, examine, run_epoch
from evaluator.repairing.options import panel_of, parser, settings_of
from evaluator.repairing.pairs import repair_pairs
from evaluator.results import Results
from sandbox.pool import open_sandbox
from sandbox.runner import Sandbox
from srs.types import Candidate, Task, UserError, Verdict, to_json

if TYPE_CHECKING:
    from srs.config import Config
    from srs.progress import Progress

DROPPED = "tasks_dropped.jsonl"


def repair(
    inputs: Inputs, epochs: int, parts: Parts, results: Results, progress: Progress
) -> tuple[State, dict[Arm, State], dict[Arm, list[Attempt]]]:
    """The start, where each arm ended, and all answers that it wrote; what is done already is read.

    Raises UserError, SandboxError and ToolFailed; what was finished before stays.
    """

    def once(
        name: str, phase: str, total: int, make: Callable[[Parts], list[Attempt]]
    ) -> list[Attempt]:
        if not results.has(name):
            with progress.phase(phase, total, unit="answers") as advance:
                made = make(dataclasses.replace(parts, advance=advance))
            results.write_lines(name, map(to_json, made))
        return [attempt_from_json(row) for row in results.read_lines(name)]

    tasks = inputs.tasks

    def first_answers(parts: Parts) -> list[Attempt]:
        given = inputs.answers
        asked = given if given is not None else parts.write(list(tasks.values()), epoch=0)
        order = {task: place for place, task in enumerate(tasks)}
        found = examine(asked, tasks, parts, epoch=0)
        return sorted(found, key=lambda a: (order[a.task], a.index))

    total = len(tasks) if inputs.answers is None else len(inputs.answers)
    start = {a.key: a for a in once("epochs/0000.jsonl", "first answers", total, first_answers)}
    states: dict[Arm, State] = {arm: dict(start) for arm in ARMS}
    spent: dict[Arm, list[Attempt]] = {arm: [] for arm in ARMS}
    for epoch in range(1, epochs + 1):
        for arm in ARMS:
            state = states[arm]
            made = once(
                f"epochs/{epoch:04d}-{arm}.jsonl",
                f"epoch {epoch} {arm}",
                sum(not latest.ok for latest in state.values()),
                lambda parts, s=state, a=arm, e=epoch: run_epoch(s, tasks, parts, arm=a, epoch=e),  # type: ignore[misc]
            )
            spent[arm] += made
            states[arm] = after(state, made)
    return start, states, spent


def run(args: argparse.Namespace) -> None:
    """The command, from its arguments. Raises UserError, SandboxError, ToolFailed, ChildError."""
    from srs.config import to_dict
    from srs.kodcode import to_task
    from srs.progress import Progress
    from srs.rows import read_file

    adapter = read_adapter(args.adapter) if args.adapter else None
    config = read_config(args, adapter)
    panel = panel_of(args)
    readers = Readers(rows=read_file, to_task=to_task)
    if args.results is None:
        inputs = from_files(args.tasks, args.candidates, readers, limit=args.limit)
    else:
        inputs = from_results(args.tasks, args.results, args.answers, readers, limit=args.limit)
    if panel is None and not any(task.test for task in inputs.tasks.values()):
        raise UserError(f"{args.tasks}: has no tests: give an --analyzer")
    settings = settings_of(args, to_dict(config), adapter, inputs)
    with Results.open(args.out, settings) as results, Progress(0) as progress:
        for notice in inputs.notices:
            progress.note(notice)
        with contextlib.ExitStack() as stack:
            judge = Judge(stack, config, inputs.tasks, results, progress)
            inputs = without(inputs, judge.dropped())
            parts = Parts(
                write=_writer(stack, config, adapter, results, progress),
                grade=judge.grade,
                analyze=panel.analyze if panel is not None else None,
            )
            start, finals, spent = repair(inputs, args.epochs, parts, results, progress)
        result = reports.report(start, finals, spent)
        pairs = []
        if spent["feedback"]:
            chat = results.read_json("environment.json")["generator"]["chat"]
            pairs = repair_pairs(start, spent["feedback"], spent["control"], chat=chat)
        results.write_lines("pairs.jsonl", map(to_json, pairs))
        results.write_json("report.json", {"epochs": args.epochs, **result, "n_pairs": len(pairs)})
    print("\n".join(reports.lines(result)))
    print(f"{len(pairs)} pairs: {args.out / 'pairs.jsonl'}")


def _writer(
    stack: contextlib.ExitStack,
    config: Config,
    adapter: Adapter | None,
    results: Results,
    progress: Progress,
) -> Writer:
    from srs.environment import environment
    from srs.generate import Generator, Policy, Request, Sampling, open_generator
    from srs.streams import derive_seed

    g = config.generate
    sampling = Sampling(n=1, temperature=g.temperature, top_p=g.top_p, max_tokens=g.max_tokens)
    policy = Policy(
        name=adapter.path.name if adapter else "base", adapter=adapter.path if adapter else None
    )
    opened: list[Generator] = []

    def write(tasks: Sequence[Task], *, epoch: int) -> Iterable[Candidate]:
        if not opened:
            log = results.path / "logs" / "generate.log"
            opened.append(stack.enter_context(open_generator(config, log)))
            with progress.phase("load model"):
                opened[0].ready()
            results.write_json("environment.json", environment(generator=opened[0].describe()))
        requests = [
            Request(task=task, seed=derive_seed(config.run.seed, "repair", epoch, task.id))
            for task in tasks
        ]
        return opened[0].generate(requests, policy=policy, sampling=sampling, round=epoch)

    return write


class Judge:
    """The sandbox and what each task's reference does there, both when they are first needed."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        config: Config,
        tasks: Mapping[str, Task],
        results: Results,
        progress: Progress,
    ) -> None:
        self._stack = stack
        self._config = config
        self._tested = [task for task in tasks.values() if task.test]
        self._results = results
        self._progress = progress
        self._opened: tuple[Sandbox, Mapping[str, Expectation]] | None = None

    def dropped(self) -> set[str]:
        """Tasks that can't be judged, as in ``tasks_dropped.jsonl``: their reference fails, or their
        tests never meet the answer. Tasks without a reference are judged by their tests alone."""
        if not self._results.has(DROPPED):
            if self._tested:
                self._open()
            else:
                self._results.write_lines(DROPPED, ())
        return {row["task"] for row in self._results.read_lines(DROPPED)}

    def grade(self, candidates: Iterable[Candidate]) -> Iterator[Verdict]:
        sandbox, expectations = self._opened or self._open()
        yield from grade_batch(
            self._tested,
            candidates,
            sandbox,
            expectations=expectations,
            limits=self._config.sandbox.limits,
        )

    def _open(self) -> tuple[Sandbox, Mapping[str, Expectation]]:
        from srs.environment import cache_dir
        from srs.tasks import VACUOUS, is_vacuous

        sandbox = self._stack.enter_context(open_sandbox(self._config.sandbox))
        rows = self._results.read_lines(DROPPED) if self._results.has(DROPPED) else None
        gone = {row["task"] for row in rows or ()}
        vacuous = [Dropped(task=t.id, reason=VACUOUS) for t in self._tested if is_vacuous(t)]
        gone |= {one.task for one in vacuous}
        known = [t for t in self._tested if t.reference is not None and t.id not in gone]
        with self._progress.phase("verify references", len(known)) as advance:
            expectations, failing = verify(
                known,
                sandbox,
                cache_dir() / "references.sqlite",
                limits=self._config.sandbox.limits,
                advance=advance,
            )
        if rows is None:
            self._results.write_lines(DROPPED, map(to_json, [*vacuous, *failing]))
            if vacuous or failing:
                self._progress.note(
                    f"{len(vacuous) + len(failing)} of {len(self._tested)} tasks dropped:"
                    f" {self._results.path / DROPPED}"
                )
        elif failing:
            raise UserError(
                f"{failing[0].task}: its reference passed when this was begun and fails now "
                f"({failing[0].reason}); continue where the sandbox is the same"
            )
        self._opened = sandbox, expectations
        return self._opened


def read_config(args: argparse.Namespace, adapter: Adapter | None) -> Config:
    """The config file and ``--set``, with the flags on top. Raises UserError."""
    from srs import config as configs

    data = configs.to_dict(configs.load(args.config, args.set))
    for section, key, value in (
        ("model", "path", args.model),
        ("generate", "engine", args.engine),
        ("sandbox", "backend", args.sandbox),
        ("finetune", "lora_r", adapter.rank if adapter else None),  # what vLLM makes room for
    ):
        if value is not None:
            data[section][key] = value
    config = configs.from_dict(data, "the command line")
    if config.generate.temperature == 0:
        raise UserError(
            "generate.temperature: 0 writes the same answer again, and the control needs another one:"
            " give more than 0"
        )
    if args.epochs < 1 or args.limit < 0:
        raise UserError("--epochs must be 1 or more, --limit 0 or more")
    return config


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 done, 1 an engine died, 2 unusable input, 3 a broken sandbox or analyzer, 130 interrupted."""
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(format="%(message)s")
    from srs import ending

    again = f"the same command again continues in {args.out}"
    try:
        return ending.exit_code(lambda: run(args), again=again)
    except ToolFailed as e:
        return ending.failed(f"an analyzer failed: {e}; {again}", ending.SANDBOX)


if __name__ == "__main__":
    sys.exit(main())
