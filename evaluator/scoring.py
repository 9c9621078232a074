"""Verdicts on a benchmark's answers, kept as they come, and the numbers made of them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluator import metrics
from evaluator.benchmarks import Benchmark
from evaluator.grade import grade_batch
from evaluator.reference import Dropped, Expectation, verify
from evaluator.results import Results, Row
from sandbox.runner import Limits, Sandbox
from srs.types import Candidate, UserError, Verdict, from_json, to_json

Scores = dict[str, Any]
"""``tasks, n, answers, pass_at_k, format_error_rate, parse_rate, outcomes, truncated``; see `score`."""


def verify_references(
    results: Results,
    benchmark: Benchmark,
    sandbox: Sandbox,
    *,
    cache_path: Path | None,
    limits: Limits,
    unusable: Sequence[Dropped],
    advance: Callable[[int], None],
) -> dict[str, Expectation]:
    """What the references do, for the tasks that count; the others are written down with the reason.

    ``unusable``: tasks that can't count whatever their reference does. A folder that was begun keeps its
    list. Raises UserError when nothing is left, or when a reference fails that passed before;
    SandboxError for a broken sandbox.
    """
    name = dropped_name(benchmark)
    begun = results.has(name)
    gone = dropped_tasks(results, benchmark) if begun else {d.task for d in unusable}
    expectations, dropped = verify(
        [task for task in benchmark.tasks if task.id not in gone],
        sandbox,
        cache_path,
        limits=limits,
        advance=advance,
    )
    if not expectations:
        reason = f"; {dropped[0].task}: {dropped[0].reason}" if dropped else ""
        raise UserError(f"{benchmark.path}: no task is left whose reference passes{reason}")
    if not begun:
        results.write_lines(name, map(to_json, [*unusable, *dropped]))
    elif dropped:
        raise UserError(
            f"{benchmark.name}: {dropped[0].task}: its reference passed when this was begun and fails "
            f"now ({dropped[0].reason}); continue where the sandbox is the same"
        )
    return expectations


def dropped_name(benchmark: Benchmark) -> str:
    return f"{benchmark.name}/tasks_dropped.jsonl"


def dropped_tasks(results: Results, benchmark: Benchmark) -> set[str]:
    """The tasks that don't count. Raises UserError before `verify_references` wrote them down."""
    return {row["task"] for row in results.read_lines(dropped_name(benchmark))}


def ungraded(log: Iterable[Row], candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those without a verdict in the log."""
    done = {(row["task"], row["index"]) for row in log}
    return [c for c in candidates if (c.task, c.index) not in done]


def grade_answers(
    results: Results,
    log: str,
    benchmark: Benchmark,
    candidates: Sequence[Candidate],
    sandbox: Sandbox,
    *,
    expectations: Mapping[str, Expectation],
    limits: Limits,
    advance: Callable[[int], None],
) -> None:
    """Append the verdicts that the log lacks; equal programs of a task run once.

    Raises SandboxError for a broken sandbox; what was graded before stays.
    """
    waiting = ungraded(results.read_log(log), candidates)
    if len(waiting) < len(candidates):
        advance(len(candidates) - len(waiting))
    same: dict[tuple[str, str | None], list[Candidate]] = {}
    for candidate in waiting:
        same.setdefault((candidate.task, candidate.code), []).append(candidate)
    distinct = [group[0] for group in same.values()]
    tasks = [task for task in benchmark.tasks if task.id in expectations]
    verdicts = grade_batch(tasks, distinct, sandbox, expectations=expectations, limits=limits)
    for group, verdict in zip(same.values(), verdicts, strict=True):
        results.append(log, [to_json(dataclasses.replace(verdict, index=c.index)) for c in group])
        advance(len(group))


def read_verdicts(results: Results, log: str) -> list[Verdict]:
    return [from_json(Verdict, row) for row in results.read_log(log)]


def task_rows(
    tasks: Sequence[str], verdicts: Iterable[Verdict], truncated: Mapping[str, int] | None
) -> list[Row]:
    """One row per task: ``task, n, passed, outcomes, truncated, detail``.

    ``outcomes`` counts the answers by outcome; ``truncated`` those that ran into a limit of tokens, None where nobody counted;
    ``detail``: index, outcome and reason of the first answer that didn't pass, or an empty text.
    """
    by_task: dict[str, list[Verdict]] = {task: [] for task in tasks}
    for verdict in verdicts:
        by_task[verdict.task].append(verdict)
    rows = []
    for task, found in by_task.items():
        found.sort(key=lambda v: v.index)
        failing = next((v for v in found if not v.passed), None)
        rows.append(
            {
                "task": task,
                "n": len(found),
                "passed": sum(v.passed for v in found),
                "outcomes": dict(collections.Counter(v.outcome for v in found)),
                "truncated": None if truncated is None else truncated.get(task, 0),
                "detail": f"[{failing.index}] {failing.outcome}: {failing.detail}"
                if failing
                else "",
            }
        )
    return rows


def score(rows: Sequence[Row], ks: Sequence[int]) -> Scores:
    """The numbers of one set of answers, from `task_rows`.

    ``pass_at_k``: for each k that the number of answers allows, the unbiased estimate averaged over
    tasks with its 95% interval over tasks (`evaluator.metrics.mean_with_interval`). ``format_error_rate``: share
    of the answers in which no program that parses was found; ``parse_rate`` the rest. Raises ValueError
    when there are no rows.
    """
    n = min(row["n"] for row in rows)
    cut = [row["truncated"] for row in rows]
    outcomes: collections.Counter[str] = collections.Counter()
    for row in rows:
        outcomes.update(row["outcomes"])
    answers = outcomes.total()
    format_errors = outcomes["no_code"] / answers
    return {
        "tasks": len(rows),
        "n": n,
        "answers": answers,
        "pass_at_k": {
            str(k): metrics.mean_with_interval(
                [metrics.pass_at_k(row["n"], row["passed"], k) for row in rows]
            )
            for k in sorted({1, *ks})
            if k <= n
        },
        "format_error_rate": format_errors,
        "parse_rate": 1 - format_errors,
        "outcomes": dict(outcomes.most_common()),
        "truncated": None if None in cut else sum(cut),
    }


def told(estimate: Mapping[str, Any]) -> str:
    """A share and its interval as ``12.5% [2.5, 22.5]``."""
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"


def lines(summary: Mapping[str, Any]) -> list[str]:
    """A summary (`evaluator.run.summarise`) in lines for a terminal."""
    found = []
    for name, entry in summary["benchmarks"].items():
        n = len(entry["dropped"])
        why = " because their reference fails" if n else ""
        found.append(f"{name}: {entry['tasks'] - n} tasks scored, {n} dropped{why}")
        for answer_set, s in entry["sets"].items():
            at_k = "  ".join(f"pass@{k} {told(v)}" for k, v in s["pass_at_k"].items())
            outcomes = ", ".join(f"{count} {outcome}" for outcome, count in s["outcomes"].items())
            cut = "" if s["truncated"] is None else f"; {s['truncated']} cut off"
            parse, missing = 100 * s["parse_rate"], 100 * s["format_error_rate"]
            found.append(f"  {answer_set:<8} n={s['n']:<3} {at_k}")
            found.append(f"{'':<17}parse {parse:.1f}%, no code {missing:.1f}%; {outcomes}{cut}")  # fmt: skip
    return found
