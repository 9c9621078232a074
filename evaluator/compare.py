"""Two result folders of ``python -m evaluator.run``, task by task: what B fixed of A, and what it broke."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluator import metrics
from evaluator.results import Row, differences, read_json, read_lines, told_differences
from srs.types import UserError

MAY_DIFFER = ("model", "adapter", "answers")
SHOWN = 20
Comparison = dict[str, Any]
"""``benchmark, set, tasks, n, a, b, difference, wins, losses, ties, fixed, broken, p``; see `compare`."""


def compare(a: Sequence[Row], b: Sequence[Row]) -> Comparison:
    """Per-task rows (`evaluator.scoring.task_rows`) of the same tasks with the same n, paired.

    ``a``, ``b``: mean share of answers that pass, and ``difference`` b - a with its 95% interval over
    tasks (`evaluator.metrics.difference_with_interval`). ``wins``: tasks in which more of b's answers
    pass, ``losses`` fewer, ``ties`` as many. ``fixed``: tasks that no answer of a solves and one of b does; ``broken`` the reverse; ``p``:
    McNemar's exact two-sided p of the two (`evaluator.metrics.mcnemar_exact`). With one answer per task
    wins are the fixed tasks. Raises UserError naming the tasks when they or their n differ.
    """
    first, second = ({row["task"]: row for row in rows} for rows in (a, b))
    for one, other, which in ((first, second, "A"), (second, first, "B")):
        alone = [task for task in one if task not in other]
        if alone:
            raise UserError(f"only {which} has these tasks: {_ids(alone)}; score both on the same")
    uneven = [task for task in first if first[task]["n"] != second[task]["n"]]
    if uneven:
        raise UserError(f"another number of answers in A and B: {_ids(uneven)}; give both the same --n")  # fmt: skip
    passed = [(first[task]["passed"], second[task]["passed"]) for task in first]
    n = [row["n"] for row in first.values()]
    shares = [[c[i] / k for c, k in zip(passed, n, strict=True)] for i in (0, 1)]
    fixed = [task for task, (x, y) in zip(first, passed, strict=True) if y and not x]
    broken = [task for task, (x, y) in zip(first, passed, strict=True) if x and not y]
    means = [sum(values) / len(values) for values in shares]
    return {
        "tasks": len(first),
        "n": max(n),
        "a": means[0],
        "b": means[1],
        "difference": metrics.difference_with_interval(shares[1], shares[0]),
        "wins": sum(y > x for x, y in passed),
        "losses": sum(y < x for x, y in passed),
        "ties": sum(y == x for x, y in passed),
        "fixed": fixed,
        "broken": broken,
        "p": metrics.mcnemar_exact(len(fixed), len(broken)),
    }


def compare_folders(a: Path, b: Path, only: str | None = None) -> tuple[list[Comparison], list[str]]:  # fmt: skip
    """A comparison for each benchmark and set of answers, and notes on what else differs.

    Raises UserError when a folder is no finished result, or their tasks, n or settings differ.
    """
    settings = []
    for folder in (a, b):
        if not (folder / "summary.json").is_file():
            raise UserError(f"{folder}: no finished results there (no summary.json); run evaluator.run")  # fmt: skip
        settings.append(read_json(folder / "settings.json"))
    summaries = [read_json(folder / "summary.json")["benchmarks"] for folder in (a, b)]
    if only is not None:
        for folder, summary in zip((a, b), summaries, strict=True):
            if only not in summary:
                raise UserError(f"{folder}: has no benchmark {only}; it has {', '.join(summary)}")
        for part in settings:
            part["benchmarks"] = {only: part["benchmarks"][only]}
    for part in settings:
        # Of answers from files only their number must agree.
        part["sampling"]["n of given answers"] = {
            name: answers["n"]
            for name, answers in part["answers"].items()
            if name in part["benchmarks"]
        }
        for key in MAY_DIFFER:
            part.pop(key, None)
    found = differences(*settings)
    if found:
        raise UserError(
            f"{a} and {b} can't be compared: {told_differences(found, 'in B')}; score both alike"
        )
    comparisons = []
    for name in settings[0]["benchmarks"]:
        for answer_set in summaries[0][name]["sets"]:
            rows = [read_lines(folder / name / answer_set / "tasks.jsonl") for folder in (a, b)]
            try:
                result = compare(*rows)
            except UserError as e:
                raise UserError(f"{name}, {answer_set}: {e}") from e
            comparisons.append({"benchmark": name, "set": answer_set, **result})
    return comparisons, _notes(a, b)


def _notes(a: Path, b: Path) -> list[str]:
    """What the folders ran on, where it differs and may matter."""
    notes = []
    parts = [read_json(folder / "environment.json") for folder in (a, b)]
    for title, keys in (
        ("graded in another sandbox", ("sandbox", "identity")),
        ("generated by another engine", ("generator", "engine")),
        ("generated on another device", ("generator", "device")),
    ):
        x, y = (part.get(keys[0], {}).get(keys[1]) for part in parts)
        if x != y:
            notes.append(f"{title}: {x} and {y}")
    return notes


def lines(c: Comparison) -> list[str]:
    """A comparison for a terminal."""
    value, low, high = (100 * c["difference"][key] for key in ("value", "low", "high"))
    return [
        f"{c['benchmark']} {c['set']}, {c['tasks']} tasks, n={c['n']}: "
        f"A {100 * c['a']:.1f}%, B {100 * c['b']:.1f}%, "
        f"B - A {value:+.1f} points [{low:+.1f}, {high:+.1f}]",
        f"  {c['wins']} wins, {c['losses']} losses, {c['ties']} ties; {len(c['fixed'])} fixed and "
        f"{len(c['broken'])} broken, McNemar p = {c['p']:.2g}",
        f"  fixed:  {_ids(c['fixed'])}",
        f"  broken: {_ids(c['broken'])}",
    ]


def _ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return (", ".join(ids[:SHOWN]) or "none") + more


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0, or 2 when the folders can't be compared."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.compare", description=__doc__)
    parser.add_argument("a", type=Path, metavar="A", help="a result folder: what is compared with")
    parser.add_argument("b", type=Path, metavar="B", help="a result folder: what is judged")
    parser.add_argument("--benchmark", metavar="NAME", help="this one only")
    parser.add_argument("--json", action="store_true", help="one JSON object, with all ids")
    args = parser.parse_args(argv)
    try:
        comparisons, notes = compare_folders(args.a, args.b, args.benchmark)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({"comparisons": comparisons, "notes": notes}, indent=1))
        return 0
    print(f"A {args.a}\nB {args.b}")
    for note in notes:
        print(f"note: {note}")
    for comparison in comparisons:
        print("\n".join(lines(comparison)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
