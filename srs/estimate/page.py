"""The plan as text: the tables and what binds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from srs.estimate.plan import Plan

WORDS = {"generating": "generating devices", "training": "training devices", "cores": "grading cores"}  # fmt: skip


def text(plan: Plan) -> str:
    """Several lines, without the last newline."""
    parts = [_head(plan), _hours(plan), _memory(plan), _disk(plan), _conclusion(plan)]
    return "\n\n".join(parts)


def _head(plan: Plan) -> str:
    s, w, c = plan.shape, plan.work, plan.config
    device = f"{plan.n_devices} x {plan.device.name}" if plan.device else "this machine's CPU"
    return (
        f"{w.rounds} rounds x {w.drawn} tasks x {c.generate.n} "
        f"candidates; {w.tasks:,} training tasks, {w.seen:,} of them seen; {s.name} "
        f"({s.n_parameters / 1e6:,.1f} M weights, {s.source}); {device}, {plan.capacity.cores} cores that grade"
    )


def _hours(plan: Plan) -> str:
    rows = []
    for phase in plan.hours.phases:
        hours = _number(phase.hours)
        if phase.waits != phase.hours:
            hours += f" ({_number(phase.waits)})"
        rows.append(
            (
                phase.name,
                phase.work,
                phase.rate,
                hours,
                "; ".join(phase.sources),
            )
        )
    rows.append(("total", "", "", _number(plan.hours.total), ""))
    table = _table(("phase", "work", "rate", "hours", "rates from"), rows, right=(3,))
    return table + "\n(in brackets: what the run waits for, where one phase hides behind another)"


def _memory(plan: Plan) -> str:
    m = plan.memory
    rows = [("generation", name, _number(gib)) for name, gib in m.generation.items()]
    rows.append(("generation", "sum", _number(math.fsum(m.generation.values()))))
    if m.engine is not None:
        share = plan.config.generate.gpu_memory_utilization
        rows.append(("generation", f"the engine takes {share:.0%}: room for {m.room} full sequences", _number(m.engine)))  # fmt: skip
    rows += [("training", name, _number(gib)) for name, gib in m.training.items()]
    rows.append(("training", "sum", _number(math.fsum(m.training.values()))))
    if m.host:
        rows.append(("main memory", "the generators' weights, asleep while training", _number(m.host)))  # fmt: skip
    has = "" if m.has is None else f" of {m.has:.1f} GiB: " + ("fits" if m.fits else "does not fit")
    return (
        _table(("device memory", "each device", "GiB"), rows, right=(2,))
        + f"\nneeds {_number(m.needs)} GiB{has}; with examples of average length training needs "
        + f"{_number(m.training_average)} GiB"
    )


def _disk(plan: Plan) -> str:
    rows = [(name, _number(size / 2**30)) for name, size in plan.disk_bytes.items()]
    rows.append(("total", _number(plan.disk_needed_gib)))
    return _table(("disk", "GiB"), rows, right=(1,))


def _conclusion(plan: Plan) -> str:
    total = plan.hours.total
    lines = [f"binding: {plan.binding}"]
    if total:
        shares = ", ".join(
            f"{name} {hours / total:.0%}"
            for name, hours in plan.hours.by_resource.items()
            if name != "none"
        )
        twice = "; ".join(f"{WORDS[name]} {_number(hours)} h" for name, hours in plan.more.items())
        lines += [f"the run waits for: {shares}", f"with twice the: {twice}"]
    lines.append(f"cores with which grading keeps up with generation: {plan.cores_needed}")
    w, s = plan.work, plan.config.scheduler
    if w.rounds and w.seen < w.tasks:
        wanted = math.ceil(w.tasks / max(w.rounds * s.new_share, 1e-9)) if s.new_share else None
        how = f": scheduler.tasks_per_round = {wanted:,} would see all" if wanted else ""
        lines.append(f"{w.seen:,} of {w.tasks:,} training tasks are ever seen{how}")
    unmeasured = sorted(name for name, rate in plan.rates.items() if not rate.measured)
    if unmeasured:
        lines.append(f"assumed, not measured: {', '.join(unmeasured)}")
    lines.append(
        "one device's and one core's speed times their number; examples and pairs are upper bounds"
    )
    return "\n".join(lines)


def _number(value: float) -> str:
    """Two digits at least of what is small, no more than one decimal of what is large."""
    decimals = 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:,.{decimals}f}" if value else "0"


def _table(
    head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, right: tuple[int, ...] = ()
) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
