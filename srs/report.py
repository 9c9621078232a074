"""``report.html``: one self-contained page about a run, from what its directory holds so far.

    python -m srs.report --run DIR [--plot FILE.svg|FILE.png]

Whatever a model wrote is hostile: every text is escaped by the template engine, made visible where it
would hide (`srs.taskview.visible`), and the page's own policy lets only its own script run and nothing
load.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srs import plots, runview, taskview
from srs.progress import duration
from srs.runview import Estimate, RunView
from srs.taskview import TaskPage, visible
from srs.types import RoundRecord, Task, UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ROUND_ROWS = 400
MAX_DROPPED_ROWS = 200
MAX_CHANGED_IDS = 300
OUTCOME_LABELS = {
    "failed": "wrong answer",
    "error": "import or collection error",
    "timeout": "timeout",
    "memory": "out of memory",
    "output_limit": "too much output",
    "no_code": "no code",
    "tampered": "tampered with its tests",
}


def write(
    run_dir: Path,
    *,
    tasks: Mapping[str, Task],
    intervals: Mapping[int, int],
    budget: int = taskview.BUDGET_BYTES,
) -> Path:
    """Write ``report.html``, whole or not at all, and return its path.

    ``intervals``: how many cards have each interval, in rounds. Tasks missing from ``tasks`` appear by
    id only. Works at any point of a run. Raises UserError when the run directory is damaged or full.
    """
    run = runview.load(run_dir)
    page = taskview.load(run_dir, tasks, budget)
    html = _render(run, page, intervals)
    target = run_dir / "report.html"
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as e:
        partial.unlink(missing_ok=True)
        raise UserError(f"{target}: cannot be written: {e.strerror}") from e
    return target


def save_plot(run_dir: Path, path: Path) -> None:
    """Save the plot of held-out pass@1 per round as ``path``, .svg or .png.

    Raises UserError for another suffix, or when the run has no held-out evaluation yet.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in ("svg", "png"):
        raise UserError(f"{path}: name a .svg or a .png file")
    figure = plots.held_out(runview.load(run_dir).records)
    if figure is None:
        raise UserError(f"{run_dir}: no held-out evaluation to plot yet")
    try:
        with path.open("wb") as file:
            plots.save(figure, file, kind)
    except OSError as e:
        raise UserError(f"{path}: cannot be written: {e.strerror}") from e


def _render(run: RunView, page: TaskPage, intervals: Mapping[int, int]) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("srs", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "interval": _interval}
    environment.globals["labels"] = OUTCOME_LABELS
    script = environment.get_template("report.js.j2").render()
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template("report.html.j2").render(
        name=visible(run.name, 200).shown,
        progress=_progress(run, page),
        css=Markup(environment.get_template("report.css.j2").render()),
        script=Markup(script),
        script_hash=base64.b64encode(digest).decode(),
        run=run,
        ks=_some_ks(run),
        headline=_headline(run),
        changes=_changes(run),
        plots=_plots(run, page, intervals),
        rounds=[_row(r) for r in run.records[-MAX_ROUND_ROWS:][::-1]],
        rounds_left_out=max(0, len(run.records) - MAX_ROUND_ROWS),
        page=page,
        settings=_settings(run.config or {}),
        environment=_sections(run.environment or {}, "machine"),
        dropped=[
            {key: visible(str(row.get(key, "")), 300) for key in ("task", "reason")}
            for row in (run.dropped or ())[:MAX_DROPPED_ROWS]
        ],
    )


def _progress(run: RunView, page: TaskPage) -> str:
    parts = [f"{run.rounds_done} of {run.rounds_wanted} rounds"]
    if run.records and run.records[-1].round > run.rounds_done:
        parts[0] += f" (numbered to {run.records[-1].round}: rounds with nothing due are skipped)"
    parts.append(f"{page.n_tasks:,} tasks tried")
    parts.append(f"{sum(r.n_candidates for r in run.records):,} candidates graded")
    if run.n_pairs is not None:
        parts.append(f"{run.n_pairs:,} preference pairs")
    parts.append(f"{duration(sum(sum(r.seconds.values()) for r in run.records))} of rounds")
    if run.comparison is None:
        parts.append("not finished yet")
    return " · ".join(parts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Headline:
    term: str
    value: str
    note: str


def _headline(run: RunView) -> list[_Headline]:
    """Base, final, their difference, and which tasks changed sides."""
    measured = [r for r in run.records if r.val_pass_at_1 is not None]
    comparison = run.comparison
    if comparison is None:
        first = _measured("Held-out pass@1 before training", measured[0] if measured else None)
        latest = measured[-1] if len(measured) > 1 else None
        now = f"after round {latest.round}" if latest else "now"
        return [
            first,
            _measured(f"Held-out pass@1 {now}", latest),
            _Headline(term="Difference", value="Not yet", note="compared after the last round"),
            _Headline(
                term="Tasks fixed / broken", value="Not yet", note="McNemar's test, at the end"
            ),
        ]
    shown = []
    for title, policy in (("base", comparison.base), ("final", comparison.final)):
        evaluation = run.evaluation(policy)
        term = f"Held-out pass@1, {title}" + (f" ({policy})" if policy != title else "")
        value = _percent(evaluation.pass_at_1.value) if evaluation else "-"
        note = f"95% interval {_interval(evaluation.pass_at_1)}" if evaluation else ""
        shown.append(_Headline(term=term, value=value, note=note))
    d = comparison.difference
    clear = "excludes" if d.low > 0 or d.high < 0 else "includes"
    return [
        *shown,
        _Headline(
            term="Difference",
            value=f"{100 * d.value:+.1f} points",
            note=f"95% interval [{100 * d.low:+.1f}, {100 * d.high:+.1f}], {clear} 0",
        ),
        _Headline(
            term="Tasks fixed / broken",
            value=f"{comparison.fixed} / {comparison.broken}",
            note=f"McNemar's exact test, p {_p(comparison.p)}",
        ),
    ]


def _measured(term: str, record: RoundRecord | None) -> _Headline:
    if record is None or record.val_pass_at_1 is None:
        return _Headline(term=term, value="Not yet", note="")
    note = ""
    if record.val_ci_low is not None and record.val_ci_high is not None:
        note = f"95% interval [{100 * record.val_ci_low:.1f}, {100 * record.val_ci_high:.1f}]"
    return _Headline(term=term, value=_percent(record.val_pass_at_1), note=note)


def _changes(run: RunView) -> list[dict[str, str]]:
    """The held-out tasks that the final policy fixed and broke, by id."""
    if run.comparison is None:
        return []
    base, final = run.evaluation(run.comparison.base), run.evaluation(run.comparison.final)
    if base is None or final is None:
        return []
    changed: dict[str, list[str]] = {"fixed": [], "broken": []}
    for task, (passed, graded) in base.per_task.items():
        now_passed, now_graded = final.per_task.get(task, (passed, graded))
        step = now_passed / now_graded - passed / graded
        if step:
            changed["fixed" if step > 0 else "broken"].append(task)
    return [
        {
            "title": f"{len(ids)} held-out tasks {how}",
            "ids": visible(", ".join(sorted(ids)[:MAX_CHANGED_IDS]), 20_000).shown
            + (" …" if len(ids) > MAX_CHANGED_IDS else ""),
        }
        for how, ids in changed.items()
        if ids
    ]


def _plots(run: RunView, page: TaskPage, intervals: Mapping[int, int]) -> list[dict[str, Any]]:
    r = run.records
    drawn: list[tuple[str, str, Figure | None]] = [
        ("Held-out pass@1", _says_held_out(r), plots.held_out(r)),
        (
            "Pass rate, new against review",
            "Share of a round's candidates that passed: tasks never tried before, and tasks that came back.",
            plots.pass_rates(r),
        ),
        (
            "What became of the candidates",
            "Share of each round's candidates by outcome.",
            plots.outcomes(page.outcomes),
        ),
        ("Cards by status", _says_cards(r), plots.cards(r)),
        (
            "Intervals",
            "How many cards come back after how many rounds, as the memory stands now.",
            plots.intervals(intervals),
        ),
        ("Time per round", _says_seconds(r), plots.seconds(r)),
    ]
    return [
        {"title": title, "says": says, "svg": figure and _markup(figure, f"p{i}")}
        for i, (title, says, figure) in enumerate(drawn)
    ]


def _markup(figure: Figure, prefix: str) -> Any:
    from markupsafe import Markup

    return Markup(plots.inline_svg(figure, prefix))


def _says_held_out(records: Sequence[RoundRecord]) -> str:
    shares = [(r.round, r.val_pass_at_1) for r in records if r.val_pass_at_1 is not None]
    text = "Greedy answers to tasks that are never trained on; bars are 95% intervals."
    if len(shares) > 1:
        (a, x), (b, y) = shares[0], shares[-1]
        text += f" From {_percent(x)} (round {a}) to {_percent(y)} (round {b})."
    return text


def _says_cards(records: Sequence[RoundRecord]) -> str:
    if not records:
        return "Active cards are scheduled, graduated ones are learnt, skipped ones given up."
    r = records[-1]
    return (
        f"After round {r.round}: {r.active:,} active, {r.graduated:,} graduated (learnt), "
        f"{r.skipped:,} skipped (given up)."
    )


def _says_seconds(records: Sequence[RoundRecord]) -> str:
    total: dict[str, float] = {}
    for record in records:
        for phase, spent in record.seconds.items():
            total[phase] = total.get(phase, 0.0) + spent
    if not total:
        return "Where each round's time goes."
    parts = ", ".join(
        f"{name} {duration(s)}" for name, s in sorted(total.items(), key=lambda i: -i[1])
    )
    return f"Where each round's time went. In all: {parts}."


def _row(r: RoundRecord) -> list[str]:
    interval = "-"
    if r.val_ci_low is not None and r.val_ci_high is not None:
        interval = f"[{100 * r.val_ci_low:.1f}, {100 * r.val_ci_high:.1f}]"
    shares = [_percent(x) for x in (r.pass_rate, r.pass_at_k, r.val_pass_at_1)]
    return [
        *map(str, (r.round, r.n_new, r.n_review, r.n_candidates)),
        *shares,
        interval,
        *map(str, (r.active, r.graduated, r.skipped, r.lapses)),
        _percent(r.format_error_rate),
        f"{r.sft_tokens:,}",
        "-" if r.sft_loss is None else f"{r.sft_loss:.4f}",
        duration(sum(r.seconds.values())),
    ]


def _settings(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    from srs import config as configs

    defaults = configs.to_dict(configs.Config())
    sections = _sections(config, "run")
    for section in sections:
        usual = defaults.get(section["name"], {})
        for row in section["rows"]:
            row["changed"] = row["value"] != _value(usual.get(row["key"]))
    return sections


def _sections(nested: Mapping[str, Any], rest: str) -> list[dict[str, Any]]:
    """Key-value tables, one a section; values that belong to none come under ``rest``."""
    loose = {key: value for key, value in nested.items() if not isinstance(value, dict)}
    named = {key: value for key, value in nested.items() if isinstance(value, dict) and value}
    sections = {rest: loose, **named} if loose else named
    return [
        {
            "name": name,
            "rows": [{"key": key, "value": _value(value)} for key, value in values.items()],
        }
        for name, values in sections.items()
    ]


def _value(value: Any) -> str:
    match value:
        case list() | tuple():
            text = ", ".join(str(v) for v in value) or "(none)"
        case None | "":
            text = "(none)"
        case bool():
            text = str(value).lower()
        case _:
            text = str(value)
    return visible(text, 2_000).shown


def _some_ks(run: RunView) -> list[int]:
    """At most four columns of pass@k: 1, the largest, and round numbers between."""
    ks = sorted({k for e in run.evaluations for k in e.pass_at_k})
    return ks if len(ks) <= 4 else sorted({ks[0], ks[-1], *(k for k in ks if k in (5, 10))})


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _interval(estimate: Estimate) -> str:
    return f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _tasks_of(run_dir: Path) -> dict[str, Task]:
    """The tasks that the run's config names. Raises UserError when they can't be read (any more)."""
    from srs import config as configs
    from srs import tasks as tasks_module

    config = configs.from_dict(
        dict(runview.load(run_dir).config or {}), str(run_dir / "config.json")
    )
    task_set = tasks_module.load(config.tasks)
    return {task.id: task for task in (*task_set.train, *task_set.held_out)}


def _intervals_of(run_dir: Path) -> dict[int, int]:
    from memory.store import Store

    path = run_dir / "memory.sqlite"
    if not path.exists():
        return {}
    with Store.open(path) as store:
        return store.intervals()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: rebuild a run's report. Exit 0 done, 2 unusable input."""
    parser = argparse.ArgumentParser(
        prog="python -m srs.report", description="Rebuild the report.html of a run."
    )
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="a run directory")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="also save the held-out plot, .svg or .png"
    )
    arguments = parser.parse_args(argv)
    try:
        runview.load(arguments.run)
        try:
            tasks = _tasks_of(arguments.run)
        except UserError as e:
            print(f"srs.report: tasks are shown by id only: {e}", file=sys.stderr)
            tasks = {}
        print(write(arguments.run, tasks=tasks, intervals=_intervals_of(arguments.run)))
        if arguments.plot:
            save_plot(arguments.run, arguments.plot)
    except UserError as e:
        print(f"srs.report: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
