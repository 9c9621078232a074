"""A run's parts, composed: the one place where implementations are chosen."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evaluator.reference import Dropped, Expectation, verify
from memory.store import Store
from sandbox.modules import importable_modules
from sandbox.pool import open_sandbox
from sandbox.runner import Sandbox
from scheduler.frozen import is_marked
from scheduler.policies import policy as scheduling_policy
from srs import report
from srs import tasks as tasks_module
from srs.config import Config
from srs.device import detect
from srs.environment import cache_dir, environment
from srs.evaluation import Evaluation, Panel, evaluate, measure_panel
from srs.finetune import Tuner, open_tuner
from srs.generate import Generator, Policy, Sampling, open_generator
from srs.placement import place
from srs.planning import Planner
from srs.preferences import load_pairs
from srs.progress import Progress
from srs.replicas import Replicas
from srs.rollout import Known, Roller
from srs.rundir import RunDir
from srs.splits import draw
from srs.streams import derive_seed
from srs.tasks import TaskSet
from srs.tuning import methods
from srs.turns import Turns
from srs.types import PreferencePair, Task, UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lab:
    """Everything a training run works with. Made by `open_lab`."""

    run: RunDir
    tasks: Mapping[str, Task]
    """The training tasks whose references pass, by id."""
    held_out: Sequence[Task]
    memory: Store
    planner: Planner
    roller: Roller
    generator: Generator
    tuner: Tuner
    ahead: ThreadPoolExecutor
    """Where the next round's rollout runs while this one trains, with ``devices.async_rounds``."""
    progress: Progress
    extra_pairs: Sequence[PreferencePair]
    notice: str | None
    """The licence of the tasks."""
    known_verdicts: Known = dataclasses.field(default_factory=dict)
    reported: report.Refresh = dataclasses.field(default_factory=report.Refresh)

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def sampling(self) -> Sampling:
        g = self.config.generate
        return Sampling(n=g.n, temperature=g.temperature, top_p=g.top_p, max_tokens=g.max_tokens)

    @property
    def dpo_policy(self) -> Policy:
        return Policy(name="dpo", adapter=self.run.adapter("dpo"))

    def policy(self, *, before: int) -> Policy:
        """The newest weights from rounds < ``before``: an adapter, or the base model."""
        number = self.run.latest_adapter(before)
        if number is None:
            return Policy(name="base", adapter=None)
        return Policy(name=f"round-{number:04d}", adapter=self.run.adapter(number))

    def rollout_policy(self, number: int) -> Policy:
        """The weights that write round ``number``'s candidates: the newest, or with
        ``devices.async_rounds`` those from before the round before it, which trains meanwhile.
        """
        before = number
        if self.config.devices.async_rounds:
            plans = (self.run.path / "rounds").glob("*/plan.json")
            earlier = [int(plan.parent.name) for plan in plans]
            before = max((round for round in earlier if round < number), default=number)
        return self.policy(before=before)

    def seed(self, *parts: int | str) -> int:
        return derive_seed(self.config.run.seed, *parts)

    @functools.cached_property
    def panel(self) -> list[Task]:
        """Training tasks that evaluations measure as well: the first of those that the run's new tasks are
        drawn from, so that they are practised early on. The same under every policy of a seed, hence
        without groups that may be frozen. A run keeps the panel that it began with.
        """
        n, seed = self.config.eval.panel, self.config.run.seed
        chosen: Iterable[str] = ()
        if n and (begun := sorted(self.run.path.glob("rounds/*/evaluation.json"))):
            first = self.run.read_json(str(begun[0].relative_to(self.run.path)))
            chosen = first.get("panel", ())  # none was left that may not be frozen
        elif n:
            lot = self.memory.new_ids(len(self.tasks))
            free = (task for task in lot if not is_marked(self.tasks[task].group, seed))
            chosen = itertools.islice(free, n)
        kept = frozenset(chosen)
        return [task for task in self.tasks.values() if task.id in kept]

    def evaluate(self, policy: Policy, round: int) -> Evaluation:
        n = self.config.eval.n
        total = len(self.held_out) * (1 + n) + len(self.panel) * n
        with self.progress.phase("evaluate", total, unit="candidates") as advance:
            return evaluate(
                self.roller,
                self.held_out,
                policy=policy,
                round=round,
                eval_config=self.config.eval,
                generate_config=self.config.generate,
                advance=advance,
                known=self.known_verdicts,
                panel=self.panel,
            )

    def measure_panel(self, policy: Policy, round: int) -> Panel:
        total = len(self.panel) * self.config.eval.n
        with self.progress.phase("evaluate", total, unit="candidates") as advance:
            return measure_panel(
                self.roller,
                self.panel,
                policy=policy,
                round=round,
                eval_config=self.config.eval,
                generate_config=self.config.generate,
                advance=advance,
                known=self.known_verdicts,
            )

    def refresh_report(self) -> None:
        """Write the report, unless that took too much of the time since: it reads the whole history."""
        now = time.monotonic()
        if self.reported.is_stale(now):
            self.write_report()
            self.reported.took(now, time.monotonic())

    def write_report(self) -> Path:
        known = {**self.tasks, **{task.id: task for task in self.held_out}}
        return report.write(self.run.path, tasks=known, intervals=self.memory.intervals())


@contextlib.contextmanager
def open_lab(run: RunDir) -> Iterator[Lab]:
    """Start every part, verify the tasks meanwhile, and end every part on the way out.

    Raises UserError for input that can't be used and SandboxError for a broken sandbox.
    """
    config = run.config
    # Read before anything starts: a bad file is no news for the end of a long run.
    extra_pairs = [pair for file in config.dpo.extra_pairs for pair in load_pairs(Path(file))]
    with contextlib.ExitStack() as stack:
        rounds_done = max(len(run.metrics()) - 1, 0)
        progress = stack.enter_context(Progress(config.run.rounds, rounds_done=rounds_done))
        task_set = _load_tasks(run)
        if task_set.notice:
            progress.note(task_set.notice)
        scheduling = scheduling_policy(config.scheduler)
        memory = stack.enter_context(Store.open(run.path / "memory.sqlite", seed=config.run.seed))
        ahead = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="ahead"))
        # The engines load in their own processes while the references are graded.
        generator, tuner, sandbox = _parts(config, run.path / "logs", stack)
        stack.enter_context(generator)
        stack.enter_context(tuner)
        stack.enter_context(sandbox)

        expectations = _verify(run, task_set, sandbox, progress)
        train = {task.id: task for task in task_set.train if task.id in expectations}
        held_out = [task for task in task_set.held_out if task.id in expectations]
        if not train or not held_out:
            raise UserError(
                f"{config.tasks.source}: no {'held-out' if train else 'training'} task is left whose "
                f"reference passes; see {run.path / 'tasks_dropped.jsonl'}"
            )
        memory.add_tasks(train)
        with progress.phase("load model", total=2) as advance:
            # In this order: where they take turns, generation keeps the devices for the first round.
            tuner.ready()
            advance(1)
            generator.ready()
            advance(1)
        run.keep_config()
        run.write_json(
            "environment.json",
            environment(
                generator=generator.describe(),
                tuner=tuner.describe(),
                sandbox={"backend": sandbox.name, "not_covered": list(sandbox.not_covered)},
            ),
        )
        yield Lab(
            run=run,
            tasks=train,
            held_out=held_out,
            memory=memory,
            planner=Planner.over(
                train.values(),
                memory=memory,
                policy=scheduling,
                config=config.scheduler,
                seed=config.run.seed,
            ),
            roller=Roller(
                generator=generator,
                sandbox=sandbox,
                expectations=expectations,
                limits=config.sandbox.limits,
                seed=config.run.seed,
            ),
            generator=generator,
            tuner=tuner,
            ahead=ahead,
            progress=progress,
            extra_pairs=extra_pairs,
            notice=task_set.notice,
        )


def _parts(
    config: Config, logs: Path, stack: contextlib.ExitStack
) -> tuple[Generator, Tuner, Sandbox]:
    """On this machine, or on the hosts of a cluster. Raises UserError, SandboxError."""
    match config.devices.cluster:
        case "local":
            generator, tuner = _models(config, logs)
            return generator, tuner, open_sandbox(config.sandbox)
        case "ray":
            from srs.cluster.cluster import open_cluster

            cluster = stack.enter_context(open_cluster(config))
            return Replicas(cluster.replicas()), cluster.tuner(), cluster.sandbox()


def _models(config: Config, logs: Path) -> tuple[Generator, Tuner]:
    """The generator and the tuner, on the devices that ``devices`` gives each. Raises UserError."""
    placement = place(config.devices, detect())
    methods.check_run(config, placement)
    replicas = open_generator(config, logs / "generate.log", placement)
    open_here = functools.partial(open_tuner, config, logs / "finetune.log", placement)
    if not placement.takes_turns:
        return replicas, open_here()
    turns = Turns(replicas, open_here, sleeping=placement.training.sleeps)
    return turns.generator, turns.tuner


def _load_tasks(run: RunDir) -> TaskSet:
    """The tasks that the run began with. Raises UserError when the source has changed since.

    Which modules the sandbox had is remembered, so that one with others chooses no other tasks.
    """
    config, name = run.config, "tasks.json"
    begun = run.read_json(name) if run.has(name) else None
    modules = begun and begun["modules"]
    if config.tasks.importable_only and modules is None:
        with open_sandbox(config.sandbox) as sandbox:
            modules = sorted(importable_modules(sandbox))
    found = tasks_module.load(config.tasks, tasks_module.SANDBOX_MODULES if modules is None else modules)  # fmt: skip
    now = {
        "modules": modules,
        "train": len(found.train),
        "held_out": len(found.held_out),
        "digest": tasks_module.digest(found),
    }
    if begun is None:
        run.write_json(name, now)
    elif begun != now:
        raise UserError(
            f"{config.tasks.source}: these are not the tasks that this run began with: "
            f"{begun['train']} to train on and {begun['held_out']} held out then, "
            f"{now['train']} and {now['held_out']} now, or other texts; bring them back, or start "
            "another run"
        )
    return found


def _verify(
    run: RunDir, task_set: TaskSet, sandbox: Sandbox, progress: Progress
) -> Mapping[str, Expectation]:
    """What each task's reference does, for those that pass; the others are recorded once per run."""
    held_out = draw(task_set.held_out, run.config.eval.limit, run.config.tasks.split_seed)
    tasks = [*task_set.train, *held_out]
    untested = [Dropped(task=task, reason=reason) for task, reason in task_set.dropped.items()]
    name = "tasks_dropped.jsonl"
    gone = {dropped.task for dropped in run.read_records(name, Dropped)} if run.has(name) else set()
    kept = [task for task in tasks if task.id not in gone]
    with progress.phase("verify references", total=len(kept)) as advance:
        expectations, dropped = verify(
            kept,
            sandbox,
            cache_dir() / "references.sqlite",
            limits=run.config.sandbox.limits,
            advance=advance,
        )
    if run.has(name):
        if dropped:
            raise UserError(
                f"{dropped[0].task}: its reference passed when this run began and fails now "
                f"({dropped[0].reason}); resume where the tasks and the sandbox are the same"
            )
        return expectations
    run.write_records(name, [*untested, *dropped])
    progress.note(f"{len(dropped)} of {len(tasks)} tasks dropped because their reference fails")
    if untested:
        progress.note(f"{len(untested)} more dropped because their tests never meet the answer")
    return expectations
