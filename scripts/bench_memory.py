"""Times the memory beside one JSON file of cards: ``python scripts/bench_memory.py [--json FILE]``.

For each size: plan and record of a round of 1,000 tasks (policy sm2), open time, file size and peak RSS;
each in a process of its own. The memory is a real one: 30% of its tasks have histories that sm2 made, so
that `Store.rebuild` would change nothing. The JSON design is the published one, done as fast as Python
can: all cards loaded, scanned and rewritten every round, by the C encoder, without a log or an fsync.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import platform
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filled_memory import LAST_ROUND, N_GRADED, build

from memory.ledger import CHANGING, VALUES
from memory.store import Store
from scheduler import sm2
from scheduler.config import SchedulerConfig
from scheduler.plan import allocate, draw_plan
from srs.types import Card, DueOrder, Review, RoundPlan

SIZES = (10_000, 500_000, 10_000_000)
JSON_SIZES = 500_000
"""The largest that the JSON design is run at."""
TASKS_PER_ROUND = 1_000
ORDERS: tuple[DueOrder, ...] = ("overdue", "ease", "priority", "random")


def time_store(path: Path, rounds: int) -> dict[str, Any]:
    """Open, then ``rounds`` durable rounds, then as many without waiting for the disk."""
    config = SchedulerConfig(policy="sm2", tasks_per_round=TASKS_PER_ROUND)
    start = time.perf_counter()
    memory = Store.open(path)
    open_s = time.perf_counter() - start
    with memory:
        numbers = itertools.count((memory.last_round() or 0) + 1)
        memory.due(1, 1, "overdue")  # makes the order's index, once in a file's life
        plan_s, record_s = _time_rounds(memory, config, itertools.islice(numbers, rounds))
        rss_mib = peak_rss_mib()
        memory._db.execute("PRAGMA synchronous = OFF")
        fast = _time_rounds(memory, config, itertools.islice(numbers, rounds))
    return {
        "open_ms": [1000 * open_s],
        "plan_ms": [1000 * s for s in plan_s],
        "record_ms": [1000 * s for s in record_s],
        "round_ms": [1000 * sum(pair) for pair in zip(plan_s, record_s, strict=True)],
        "no_sync_ms": [1000 * sum(pair) for pair in zip(*fast, strict=True)],
        "rss_mib": [rss_mib],
    }


def _time_rounds(
    memory: Store, config: SchedulerConfig, numbers: Iterator[int]
) -> tuple[list[float], list[float]]:
    plan_s, record_s = [], []
    for number in numbers:
        start = time.perf_counter()
        plan = draw_plan(memory, number, sm2, config)
        plan_s.append(time.perf_counter() - start)
        reviews = graded(plan)
        start = time.perf_counter()
        memory.record(number, reviews, sm2.update)
        record_s.append(time.perf_counter() - start)
    return plan_s, record_s


def time_draws(path: Path, times: int) -> list[dict[str, Any]]:
    """Single draws of 1,000: the first, which may make an index, and the median of ``times`` more."""
    with Store.open(path) as memory:
        return _time_draws(memory, LAST_ROUND + 100, times)


def _time_draws(memory: Store, round: int, times: int) -> list[dict[str, Any]]:
    n = TASKS_PER_ROUND
    calls: dict[str, Callable[[int], object]] = {
        order: functools.partial(_due, memory, n, order) for order in ORDERS
    }
    calls["new_ids"] = lambda _: memory.new_ids(n)
    calls["anywhere"] = lambda r: memory.anywhere(r, n)
    calls["retired"] = lambda r: memory.retired(r, n)
    found = []
    for name, call in calls.items():
        first, *later = [
            _seconds(functools.partial(call, number)) for number in range(round, round + times + 1)
        ]
        found.append(
            {"draw": name, "first_ms": 1000 * first, "ms": 1000 * statistics.median(later)}
        )
    return found


def _due(memory: Store, limit: int, order: DueOrder, round: int) -> object:
    return memory.due(round, limit, order)


def graded(plan: RoundPlan) -> list[Review]:
    """Results that don't depend on what is timed."""
    rng = random.Random(plan.round)
    return [
        Review(
            task=task,
            round=plan.round,
            n_passed=rng.randint(0, N_GRADED),
            n_graded=N_GRADED,
            kind="audit" if task in plan.audit else "practice",
        )
        for task in plan.task_ids
    ]


def build_json(path: Path, memory_file: Path) -> None:
    """The same cards as the memory's, in one JSON object: task → card, null while it is new."""
    with Store.open(memory_file, read_only=True) as memory:
        tasks = [task for (task,) in memory._db.execute("SELECT task FROM cards ORDER BY id")]
        cards = {task: card for task, (_, card) in memory._cards(tasks).items()}
    rows = {task: None if card is None else _json_card(card) for task, card in cards.items()}
    path.write_text(json.dumps(rows), encoding="utf-8")


def time_json(path: Path, rounds: int, first: int) -> dict[str, Any]:
    """``rounds`` rounds from ``first`` on: load all, scan for what is due and new, update, write all."""
    seconds = []
    for number in range(first, first + rounds):
        start = time.perf_counter()
        cards = json.loads(path.read_text(encoding="utf-8"))
        new = [task for task, card in cards.items() if card is None][:TASKS_PER_ROUND]
        due = [
            (card["due_round"], card["ease"], task)
            for task, card in cards.items()
            if card is not None and card["status"] == "active" and card["due_round"] <= number
        ]
        due.sort()
        n_new, n_review = allocate(TASKS_PER_ROUND, 0.7, len(new), len(due))
        review = tuple(task for _, _, task in due[:n_review])
        plan = RoundPlan(round=number, new=tuple(new[:n_new]), review=review)
        planned = time.perf_counter()
        reviews = graded(plan)
        resumed = time.perf_counter()
        for result in reviews:
            row = cards[result.task]
            before = None if row is None else Card(task=result.task, **row)
            cards[result.task] = _json_card(sm2.update(before, result))
        path.write_text(json.dumps(cards), encoding="utf-8")
        seconds.append(time.perf_counter() - resumed + planned - start)
    return {"round_ms": [1000 * s for s in seconds], "rss_mib": [peak_rss_mib()]}


def _json_card(card: Card) -> dict[str, Any]:
    return dict(zip(CHANGING, VALUES(card), strict=True))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_rss_mib() -> float:
    """Of this process since it was started, not of the one that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status: Linux only")


def measure(folder: Path, n_tasks: int, rounds: int, visits: int) -> dict[str, Any]:
    """Everything about one size. Visits to the two designs alternate: what else the machine does meanwhile
    falls on both. ``ratio``: a round of the JSON design over one of ours.
    """
    memory, cards = folder / f"{n_tasks}.sqlite", folder / f"{n_tasks}.json"
    build_s = _seconds(lambda: _child("build", memory, n_tasks))
    found: dict[str, Any] = {
        "n_tasks": n_tasks,
        "build_s": build_s,
        "file_mib": memory.stat().st_size / 2**20,
    }
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    if n_tasks <= JSON_SIZES:
        _child("build_json", cards, memory)
    for visit in range(visits):
        _add(ours, _child("time_store", memory, rounds))
        if n_tasks <= JSON_SIZES:
            _add(theirs, _child("time_json", cards, rounds, LAST_ROUND + 1 + visit * rounds))
    found |= ours
    if theirs:
        found["json"] = theirs
        found["ratio"] = statistics.median(theirs["round_ms"]) / statistics.median(ours["round_ms"])
    found["draws"] = _child("time_draws", memory, rounds * visits)
    for file in (memory, cards):
        file.unlink(missing_ok=True)
    return found


def _add(to: dict[str, list[float]], more: dict[str, list[float]]) -> None:
    for key, values in more.items():
        to.setdefault(key, []).extend(values)


def _child(function: str, *arguments: object) -> Any:
    """Call a function of this file in a fresh interpreter; what it returns, by JSON."""
    call = [function, *(str(a) if isinstance(a, Path) else a for a in arguments)]
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(call)],
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def _run_child(call: str) -> None:
    name, *arguments = json.loads(call)
    made: tuple[Callable[..., Any], ...] = (build, build_json, time_store, time_draws, time_json)
    functions = {f.__name__: f for f in made}
    values = [Path(a) if isinstance(a, str) else a for a in arguments]
    print(json.dumps(functions[name](*values)))


def show(found: dict[str, Any]) -> None:
    machine = found["machine"]
    print(f"{machine['cores']} cores, Python {machine['python']}, SQLite {machine['sqlite']}; load {machine['load'][0]:.1f} before, {machine['load'][1]:.1f} after")  # fmt: skip
    print(f"rounds of {TASKS_PER_ROUND:,} tasks, ms: medians of {found['visits']} x {found['rounds']}\n")  # fmt: skip
    print(f"{'cards':>10} {'plan':>6} {'record':>7} {'round':>7} {'least':>6} {'worst':>7} {'no sync':>8} {'open':>6} {'MiB':>6} {'RSS MiB':>8} {'JSON':>8} {'ratio':>6}")  # fmt: skip
    for size in found["sizes"]:
        middle = {k: statistics.median(size[k]) for k in ("plan_ms", "record_ms", "round_ms", "no_sync_ms", "open_ms")}  # fmt: skip
        line = f"{size['n_tasks']:>10,} {middle['plan_ms']:>6.1f} {middle['record_ms']:>7.1f} {middle['round_ms']:>7.1f} {min(size['round_ms']):>6.1f} {max(size['round_ms']):>7.1f} {middle['no_sync_ms']:>8.1f} {middle['open_ms']:>6.1f} {size['file_mib']:>6.0f} {max(size['rss_mib']):>8.0f}"  # fmt: skip
        if "json" in size:
            line += f" {statistics.median(size['json']['round_ms']):>8.1f} {size['ratio']:>6.0f}"
        print(line)
    print(f"\na draw of {TASKS_PER_ROUND:,}, ms (in brackets: the first, which may make an index)")
    for size in found["sizes"]:
        words = [f"{d['draw']} {d['ms']:.1f} ({d['first_ms']:.0f})" for d in size["draws"]]
        print(f"{size['n_tasks']:>10,} " + ", ".join(words))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of a visit")
    parser.add_argument("--visits", type=int, default=3, help="visits to each size and design")
    parser.add_argument("--folder", type=Path, help="where the files are made (3 GiB at 10M)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        _run_child(args.child)
        return 0
    if min(args.rounds, args.visits, *args.sizes) < 1:
        parser.error("--rounds, --visits and --sizes must be 1 or more")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        sizes = [measure(Path(folder), n, args.rounds, args.visits) for n in args.sizes]
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": [load, os.getloadavg()[0]],
    }
    found = {"machine": machine, "rounds": args.rounds, "visits": args.visits, "sizes": sizes}
    show(found)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
