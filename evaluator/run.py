"""Benchmarks through the hard grader: HumanEval(+), MBPP(+) and any file with KodCode's schema.

    read ─► verify references ─► generate (greedy, sampled) ─► grade ─► summary.json
                                  or --grade-only FILE

Every phase leaves files in --out (`evaluator.results`); the same command again does what is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluator import answers, options
from evaluator.benchmarks import Benchmark, parse_name, read_benchmark
from evaluator.generations import candidates
from evaluator.options import Adapter
from evaluator.reference import Dropped, Expectation
from evaluator.results import Results, Row
from evaluator.scoring import (
    dropped_name,
    dropped_tasks,
    grade_answers,
    lines,
    read_verdicts,
    score,
    task_rows,
    ungraded,
    verify_references,
)
from sandbox.runner import Sandbox
from srs.types import Candidate, Task, UserError, to_json

if TYPE_CHECKING:
    from srs.config import Config
    from srs.generate import Generator, Policy, Sampling
    from srs.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What one command does. ``samplings``: by set of answers; empty where they come from files."""

    results: Results
    benchmarks: Sequence[Benchmark]
    config: Config
    policy: Policy
    samplings: Mapping[str, Sampling]
    given: Mapping[str, Mapping[str, Sequence[str]]]
    ks: Sequence[int]
    progress: Progress

    @property
    def sets(self) -> list[tuple[Benchmark, str]]:
        return [(b, name) for b in self.benchmarks for name in self.samplings or ["given"]]

    def answers(self, benchmark: Benchmark, name: str) -> dict[str, Row]:
        """Task → its answers, those that exist."""
        if name == "given":
            return {t: {"completions": texts} for t, texts in self.given[benchmark.name].items()}
        return answers.read_log(self.results, benchmark, name)

    def candidates(self, benchmark: Benchmark, name: str) -> list[Candidate]:
        """The answers of the tasks that count. Raises UserError before references were verified."""
        gone = dropped_tasks(self.results, benchmark)
        texts = {
            task: row["completions"]
            for task, row in self.answers(benchmark, name).items()
            if task not in gone
        }
        return candidates(benchmark, texts, self.policy.name)

    def is_generated(self) -> bool:
        return not self.samplings or all(
            answers.is_complete(self.results, b, name) for b, name in self.sets
        )

    def is_graded(self) -> bool:
        return (
            self.is_generated()
            and all(self.results.has(dropped_name(b)) for b in self.benchmarks)
            and not any(
                ungraded(self.results.read_log(verdicts_log(b, name)), self.candidates(b, name))
                for b, name in self.sets
            )
        )

    def keep(self, described: Mapping[str, Any]) -> None:
        """Add what a phase ran on to ``environment.json``."""
        file = "environment.json"
        before = self.results.read_json(file) if self.results.has(file) else {}
        self.results.write_json(file, {**before, **described})


def evaluate(work: Work, *, grade: bool) -> None:
    """Every phase that is not done; the model loads while the references are verified."""
    from sandbox.pool import open_sandbox
    from srs.environment import environment
    from srs.generate import open_generator

    with contextlib.ExitStack() as stack:
        generator, sandbox = None, None
        expectations: dict[str, dict[str, Expectation]] = {}
        if not work.is_generated():
            log = work.results.path / "logs" / "generate.log"
            generator = stack.enter_context(open_generator(work.config, log))
        if grade and not work.is_graded():
            sandbox = stack.enter_context(open_sandbox(work.config.sandbox))
            described = {"identity": sandbox.identity, "not_covered": list(sandbox.not_covered)}
            work.keep(environment(sandbox=described))
            expectations = verify_all(work, sandbox)
        if generator is not None:
            with work.progress.phase("load model"):
                generator.ready()
            work.keep(environment(generator=generator.describe()))
            for benchmark, name in work.sets:
                generate(work, generator, benchmark, name)
        for benchmark, name in work.sets if work.samplings else ():
            answers.export(work.results, benchmark, name)
        if sandbox is not None:
            for benchmark, name in work.sets:
                found = work.candidates(benchmark, name)
                phase = f"{benchmark.name} {name}: grade"
                with work.progress.phase(phase, len(found), unit="answers") as advance:
                    grade_answers(
                        work.results,
                        verdicts_log(benchmark, name),
                        benchmark,
                        found,
                        sandbox,
                        expectations=expectations[benchmark.name],
                        limits=work.config.sandbox.limits,
                        advance=advance,
                    )


def verify_all(work: Work, sandbox: Sandbox) -> dict[str, dict[str, Expectation]]:
    """By benchmark, what the references do."""
    from srs.environment import cache_dir
    from srs.tasks import VACUOUS, is_vacuous

    found = {}
    for b in work.benchmarks:
        with work.progress.phase(f"{b.name}: verify references", len(b.tasks)) as advance:
            found[b.name] = verify_references(
                work.results,
                b,
                sandbox,
                cache_path=cache_dir() / "references.sqlite",
                limits=work.config.sandbox.limits,
                unusable=[Dropped(task=t.id, reason=VACUOUS) for t in b.tasks if is_vacuous(t)],
                advance=advance,
            )
    return found


def generate(work: Work, generator: Generator, benchmark: Benchmark, name: str) -> None:
    """The answers that are missing, seeded as `srs.evaluation` seeds its own."""
    from srs.generate import Request
    from srs.streams import derive_seed

    sampling, seed = work.samplings[name], work.config.run.seed

    def ask(tasks: Sequence[Task]) -> Iterator[Candidate]:
        requests = [
            Request(task=task, seed=derive_seed(seed, 0, f"evaluate-{name}", task.id))
            for task in tasks
        ]
        return generator.generate(requests, policy=work.policy, sampling=sampling, round=0)

    total = len(benchmark.tasks) * sampling.n
    with work.progress.phase(f"{benchmark.name} {name}", total, unit="answers") as advance:
        answers.generate(work.results, benchmark, name, ask, advance)


def verdicts_log(benchmark: Benchmark, name: str) -> str:
    return f"{benchmark.name}/{name}/verdicts.jsonl"


def summarise(work: Work) -> dict[str, Any]:
    """Per-task rows and the summary, written; the summary returned."""
    entries: dict[str, Any] = {}
    for benchmark, name in work.sets:
        gone = dropped_tasks(work.results, benchmark)
        kept = [task.id for task in benchmark.tasks if task.id not in gone]
        cut = None
        if work.samplings:
            log = answers.read_log(work.results, benchmark, name)
            cut = {task: sum(row["truncated"]) for task, row in log.items()}
        rows = task_rows(kept, read_verdicts(work.results, verdicts_log(benchmark, name)), cut)
        work.results.write_lines(f"{benchmark.name}/{name}/tasks.jsonl", rows)
        entry = entries.setdefault(
            benchmark.name,
            {"schema": benchmark.schema, "tasks": len(benchmark.tasks), "dropped": sorted(gone), "sets": {}},
        )  # fmt: skip
        entry["sets"][name] = score(rows, [1] if name == "greedy" else work.ks)
    summary = {"policy": work.policy.name, "benchmarks": entries}
    work.results.write_json("summary.json", summary)
    return summary


def run(args: argparse.Namespace) -> None:
    """Raises UserError, SandboxError, `srs.child.ChildError`."""
    from srs.generate import Policy, Sampling
    from srs.kodcode import to_task
    from srs.progress import Progress
    from srs.rows import read_file

    options.check(args)
    adapter = options.read_adapter(args.adapter) if args.adapter else None
    config = config_of(args, adapter)
    benchmarks: dict[str, Benchmark] = {}
    for text in args.benchmark:
        name, path = parse_name(text)
        if name in benchmarks:
            raise UserError(f"--benchmark {name}: given twice; give each its own name")
        benchmarks[name] = read_benchmark(
            name,
            path,
            read_file(path),
            to_task,
            limit=args.limit,
            challenge_tests=args.challenge_tests,
        )
    given, hashes = options.given_answers(args.grade_only, benchmarks)
    samplings: dict[str, Sampling] = {}
    if not given:
        g = config.generate
        samplings["greedy"] = Sampling(n=1, temperature=0.0, top_p=1.0, max_tokens=g.max_tokens)
        if args.n:
            samplings["sampled"] = Sampling(
                n=args.n, temperature=args.temperature, top_p=g.top_p, max_tokens=g.max_tokens
            )
    n_given = {name: len(next(iter(texts.values()))) for name, texts in given.items()}
    ks = options.ks_of(args.k, min(n_given.values(), default=args.n))
    settings = options.settings_of(
        args,
        adapter,
        benchmarks,
        limits=dataclasses.asdict(config.sandbox.limits),
        sampling={} if given else _sampling_settings(config, samplings),
        answers={name: {"n": n_given[name], "sha256": hashes[name]} for name in given},
    )
    with Results.open(args.out, settings) as results, Progress(0) as progress:
        work = Work(
            results=results,
            benchmarks=list(benchmarks.values()),
            config=config,
            policy=Policy(
                name=adapter.path.name if adapter else "base",
                adapter=adapter.path if adapter else None,
            ),
            samplings=samplings,
            given=given,
            ks=ks,
            progress=progress,
        )
        evaluate(work, grade=not args.generate_only)
        if args.generate_only:
            progress.note(f"answers: {args.out}; without --generate-only they are graded")
        else:
            for line in lines(summarise(work)):
                progress.note(line)
            progress.note(f"results: {args.out}")


def config_of(args: argparse.Namespace, adapter: Adapter | None) -> Config:
    """The config file and ``--set``, with the flags on top. Raises UserError naming the key."""
    from srs import config as configs

    data = configs.to_dict(configs.load(args.config, args.set))
    for section, key, value in (
        ("model", "path", args.model),
        ("generate", "engine", args.engine),
        ("sandbox", "backend", args.sandbox),
        ("sandbox", "timeout_s", args.timeout_s),
        ("finetune", "lora_r", adapter.rank if adapter else None),  # what vLLM makes room for
    ):
        if value is not None:
            data[section][key] = value
    return configs.from_dict(data, "the command line")


def _sampling_settings(config: Config, samplings: Mapping[str, Sampling]) -> dict[str, Any]:
    model = dataclasses.asdict(config.model)
    return {
        "engine": config.generate.engine,
        "seed": config.run.seed,
        **{key: model[key] for key in ("template", "dtype", "max_length")},
        "sets": {name: to_json(sampling) for name, sampling in samplings.items()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 done, 1 the engine died, 2 unusable input, 3 broken sandbox, 130 interrupted."""
    args = options.parser().parse_args(argv)
    from srs.ending import exit_code

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(format="%(message)s")
    for package in ("srs", "sandbox", "evaluator"):
        logging.getLogger(package).setLevel(logging.INFO)
    return exit_code(lambda: run(args), again="give the same command again to continue")


if __name__ == "__main__":
    sys.exit(main())
