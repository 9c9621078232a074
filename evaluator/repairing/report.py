"""What repair did: shares before and after, fixed and broken items, feedback against the control."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evaluator.metrics import difference_with_interval, mcnemar_exact
from evaluator.repairing.attempt import ARMS, Arm, Attempt
from evaluator.repairing.loop import State

MEASURES: dict[str, Callable[[Attempt], bool | None]] = {
    "passed": lambda a: a.passed,
    "clean": lambda a: a.clean,
    "ok": lambda a: a.ok,
}
"""``passed`` its tests, ``clean`` under the analyzers, ``ok`` = both; those that are None at the start
were not measured (no tests, no analyzers)."""


def report(
    start: State, finals: Mapping[Arm, State], spent: Mapping[Arm, Sequence[Attempt]]
) -> dict[str, Any]:
    """For each measure: the share at the start and under each arm, items fixed and broken, and feedback
    minus control with its 95% interval.

    Shares are means over tasks of the share of a task's items, so that with one item each ``passed`` is
    pass@1. The interval pairs tasks (`evaluator.metrics.difference_with_interval`);
    ``p`` is McNemar's exact test over items, given where a task has one item, as items of one task are
    not independent. ``spent``: all answers that an arm wrote.
    """
    n_tasks = len({task for task, _ in start})
    measures: dict[str, Any] = {}
    for name, measure in MEASURES.items():
        items = [key for key, first in start.items() if measure(first) is not None]
        if not items:
            continue
        before = {key: bool(measure(start[key])) for key in items}
        now = {arm: {key: bool(measure(finals[arm][key])) for key in items} for arm in ARMS}
        shares = {arm: _by_task(now[arm]) for arm in ARMS}
        first = _by_task(before)
        row: dict[str, Any] = {"n_items": len(items), "start": _mean(first)}
        for arm in ARMS:
            fixed = [key for key in items if now[arm][key] and not before[key]]
            broken = [key for key in items if before[key] and not now[arm][key]]
            row[arm] = {
                "share": _mean(shares[arm]),
                "fixed": len(fixed),
                "broken": len(broken),
                "fixed_items": sorted(fixed),
                "broken_items": sorted(broken),
            }
        difference = difference_with_interval(shares["feedback"], shares["control"])
        row["difference"] = {**difference, "level": 0.95}
        if len(items) == len(first):
            one = sum(now["feedback"][k] and not now["control"][k] for k in items)
            other = sum(now["control"][k] and not now["feedback"][k] for k in items)
            row["difference"]["p"] = mcnemar_exact(one, other)
        measures[name] = row
    return {
        "n_tasks": n_tasks,
        "n_items": len(start),
        "n_to_repair": sum(not first.ok for first in start.values()),
        "measures": measures,
        "spent": {arm: _spent(spent[arm]) for arm in ARMS},
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """The report for a terminal."""
    found = [
        f"{result['n_to_repair']} of {result['n_items']} items to repair, {result['n_tasks']} tasks",
        "",
        f"{'':8}{'start':>8}{'feedback':>10}{'fixed':>7}{'broken':>8}{'control':>10}{'fixed':>7}"
        f"{'broken':>8}   feedback - control (95%)",
    ]
    for name, row in result["measures"].items():
        feedback, control, d = row["feedback"], row["control"], row["difference"]
        low, value, high = (100 * d[key] for key in ("low", "value", "high"))
        found.append(
            f"{name:8}{row['start']:>8.1%}{feedback['share']:>10.1%}{feedback['fixed']:>7}"
            f"{feedback['broken']:>8}{control['share']:>10.1%}{control['fixed']:>7}"
            f"{control['broken']:>8}   {value:+.1f} points [{low:+.1f}, {high:+.1f}]"
        )
    found.append("")
    for arm in ARMS:
        s = result["spent"][arm]
        found.append(
            f"{arm}: {s['answers']} answers, {s['tokens']} tokens"
            + (f", {s['no_room']} prompts too long" if s["no_room"] else "")
        )
    return found


def _spent(attempts: Sequence[Attempt]) -> dict[str, int]:
    return {
        "answers": len(attempts),
        "tokens": sum(a.n_tokens for a in attempts),
        "no_room": sum(a.no_room for a in attempts),
    }


def _by_task(items: Mapping[tuple[str, int], bool]) -> list[float]:
    """Each task's share, tasks in order of first appearance."""
    tasks: dict[str, list[bool]] = {}
    for (task, _), value in items.items():
        tasks.setdefault(task, []).append(value)
    return [sum(values) / len(values) for values in tasks.values()]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
