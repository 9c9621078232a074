"""How an assistant's suggestions are used: ``python -m evaluator.telemetry events.jsonl``.

Acceptance rate, auto-generated share, characters per opportunity and its factors, retained share and
accepted lines of an imported event log, each with its denominator and a 95% interval that resamples users
(or sessions). docs/metrics.md has the log's schema and every formula.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluator.acceptance import METRICS, Cluster, Estimate, GroupBy, Metric, estimate, tally
from evaluator.event_log import BadLine, Log, read_log
from evaluator.events import Key
from srs.types import UserError

BAD_LINES_SHOWN = 20
FEW_CLUSTERS = 20
"""Below this, 95% intervals hold the true value in clearly fewer than 95% of cases (docs/metrics.md)."""
WINDOW_S = 600.0
EVERY_LINES = 10_000


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit 0 when the metrics are printed, 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.telemetry", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("events", type=Path, help="the log, one JSON object per line")
    parser.add_argument("--by", choices=("user", "language", "model"), help="one table for each")
    parser.add_argument(
        "--cluster",
        choices=("user", "session"),
        help="what intervals resample (default user; with --by user, session where all lines say it)",
    )
    parser.add_argument(
        "--window-s",
        type=float,
        default=WINDOW_S,
        metavar="S",
        help=f"retained: at the first look at or after S seconds (default {WINDOW_S:g})",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave unusable lines out, instead of exit 2")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    try:
        if not (math.isfinite(args.window_s) and args.window_s >= 0):
            raise UserError("--window-s must be 0 or more seconds")
        log = _read(args.events, args.by, args.cluster)
        if log.bad:
            told = _told(args.events, log)
            if not args.skip_bad:
                raise UserError(f"{told}\n  mend them, or leave them out with --skip-bad")
            print(f"left out: {told}", file=sys.stderr)
        if not log.records:
            raise UserError(f"{args.events}: none of its {log.n_lines:,} lines can be used")
        cluster = args.cluster or _cluster(log, args.by)
        report = measure(log, window_s=args.window_s, by=args.by, cluster=cluster)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    report = {"file": str(args.events)} | report
    print(json.dumps(report, indent=1) if args.json else page(report))
    return 0


def measure(log: Log, *, window_s: float, by: GroupBy | None, cluster: Cluster) -> dict[str, Any]:
    """All metrics of a log, by group, ready for JSON. Pure.

    ``groups``: name → ``clusters`` (how many) and ``metrics``: name → numerator, denominator, value, low,
    high, of (what the denominator counts). Where the log lacks an event that a metric needs,
    ``not_measured`` names it instead.
    """
    groups = tally(log.records, window_s=window_s, by=by, cluster=cluster)
    return {
        "lines": log.n_lines,
        "bad_lines": [dataclasses.asdict(bad) for bad in log.bad],
        "window_s": window_s,
        "by": by,
        "cluster": cluster,
        "groups": {
            name: {
                "clusters": len(groups[name]),
                "rejected": sum(counts.rejected for counts in groups[name]),
                "metrics": {
                    metric.name: _json(metric, log, estimate(groups[name], metric))
                    for metric in METRICS
                },
            }
            for name in groups
        },
    }


def page(report: Mapping[str, Any]) -> str:
    """A report of `measure` as text: a table for each group."""
    n = report["lines"] - len(report["bad_lines"])
    lines = [
        f"{report['file']}: {n:,} events; 95% intervals resample {report['cluster']}s;"
        f" retained after {report['window_s']:g} s"
    ]
    for name, group in report["groups"].items():
        clusters = f"{group['clusters']:,} {report['cluster']}{'s' * (group['clusters'] != 1)}"
        if group["clusters"] < FEW_CLUSTERS:
            clusters += ": so few give no interval, or one that is too narrow"
        lines += ["", f"{name} ({clusters})"]
        for metric in METRICS:
            lines.append(_row(metric, group["metrics"][metric.name]))
    return "\n".join(lines)


def _row(metric: Metric, found: Mapping[str, Any]) -> str:
    label = f"  {metric.name.replace('_', ' '):<22}"
    if "not_measured" in found:
        return f"{label}{'-':>8}  {found['not_measured']}"
    value, low, high = (_figure(metric, found[key]) for key in ("value", "low", "high"))
    interval = f"[{low.rstrip('%')}, {high.rstrip('%')}]" if found["low"] is not None else ""
    return f"{label}{value:>8}  {interval:<16}{found['numerator']:,} of {found['denominator']:,} {metric.of}"


def _figure(metric: Metric, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}%" if metric.is_share else f"{value:.2f}"


def _json(metric: Metric, log: Log, found: Estimate) -> dict[str, Any]:
    if missing := sorted(metric.needs - log.kinds):
        return {"not_measured": f"the log has no {' and no '.join(missing)} events"}
    return dataclasses.asdict(found) | {"of": metric.of}


def _read(path: Path, by: GroupBy | None, cluster: Cluster | None) -> Log:
    from rich.console import Console

    from srs.progress import Progress

    required: list[Key] = [key for key in (by, cluster) if key is not None]
    pending = 0

    with (
        Progress(0, Console(stderr=True)) as progress,
        progress.phase("reading", unit="lines") as add,
    ):

        def advance(count: int) -> None:
            nonlocal pending
            pending += count
            if pending >= EVERY_LINES:
                add(pending)
                pending = 0

        return read_log(path, required=list(dict.fromkeys(required)), advance=advance)


def _cluster(log: Log, by: GroupBy | None) -> Cluster:
    sessions = all(record.origin.session is not None for record in log.records)
    return "session" if by == "user" and sessions else "user"


def _told(path: Path, log: Log) -> str:
    shown: Sequence[BadLine] = log.bad[:BAD_LINES_SHOWN]
    lines = [f"{path}:{bad.line}: {bad.why}" for bad in shown]
    if len(log.bad) > len(shown):
        lines.append(f"and {len(log.bad) - len(shown):,} more")
    head = f"{len(log.bad):,} of {log.n_lines:,} lines can't be used:"
    return "\n  ".join([head, *lines])


if __name__ == "__main__":
    sys.exit(main())
