"""A model's answers to a benchmark, kept as they come; as files that other harnesses read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evaluator.benchmarks import Benchmark
from evaluator.generations import generations_text, program, samples_text
from evaluator.results import Results, Row
from srs.types import Candidate, Task

CHUNK = 32
"""Tasks generated together; an interruption costs at most the answers of one chunk."""


def read_log(results: Results, benchmark: Benchmark, name: str) -> dict[str, Row]:
    """Task → ``task, prompt, seed, completions, n_tokens, truncated``, for those answered so far."""
    return {row["task"]: row for row in results.read_log(f"{benchmark.name}/{name}/answers.jsonl")}


def is_complete(results: Results, benchmark: Benchmark, name: str) -> bool:
    return len(read_log(results, benchmark, name)) == len(benchmark.tasks)


def generate(
    results: Results,
    benchmark: Benchmark,
    name: str,
    ask: Callable[[Sequence[Task]], Iterable[Candidate]],
    advance: Callable[[int], None],
) -> None:
    """Ask for the answers that the log lacks, a chunk of tasks at a time.

    Chunks don't depend on what is there already, as a batch's answers may depend on the batch: what an
    interruption leaves of a chunk is made once more and equals what it would have been. ``advance``
    hears of each answer.
    """
    done = read_log(results, benchmark, name)
    if done:
        advance(sum(len(row["completions"]) for row in done.values()))
    for start in range(0, len(benchmark.tasks), CHUNK):
        chunk = benchmark.tasks[start : start + CHUNK]
        if all(task.id in done for task in chunk):
            continue
        found: dict[str, list[Candidate]] = {task.id: [] for task in chunk}
        for candidate in ask(chunk):
            found[candidate.task].append(candidate)
            if candidate.task not in done:
                advance(1)
        rows = [_row(task, answers) for task, answers in found.items() if task not in done]
        results.append(f"{benchmark.name}/{name}/answers.jsonl", rows)


def export(results: Results, benchmark: Benchmark, name: str) -> None:
    """Write generations.json and samples.jsonl, unless they are there: the programs as they are graded,
    and an answer's text where no program was found in it."""
    folder = f"{benchmark.name}/{name}"
    if results.has(f"{folder}/samples.jsonl"):
        return
    answers = read_log(results, benchmark, name)
    programs = {
        task.id: [
            program(task, text, benchmark.opening(task.id)) or text
            for text in answers[task.id]["completions"]
        ]
        for task in benchmark.tasks
    }
    results.write_text(f"{folder}/generations.json", generations_text(benchmark.tasks, programs))
    results.write_text(f"{folder}/samples.jsonl", samples_text(benchmark.tasks, programs))


def _row(task: str, answers: Sequence[Candidate]) -> Row:
    return {
        "task": task,
        "prompt": answers[0].prompt,
        "seed": answers[0].seed,
        "completions": [c.completion for c in answers],
        "n_tokens": [c.n_tokens for c in answers],
        "truncated": [c.truncated for c in answers],
    }
