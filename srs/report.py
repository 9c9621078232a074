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
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srs import config as configs
from srs import plots, runview, summary, taskview
from srs.config import Config
from srs.runview import RunView
from srs.taskview import TaskPage, visible
from srs.types import Task, UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ROUND_ROWS = 400
MAX_DROPPED_ROWS = 200
OUTCOME_LABELS = {
    "failed": "wrong answer",
    "error": "import or collection error",
    "timeout": "timeout",
    "memory": "out of memory",
    "output_limit": "too much output",
    "no_code": "no code",
    "tampered": "tampered with its tests",
}


@dataclasses.dataclass
class Refresh:
    """When to write the report again while a run goes on: not in more than `share` of its time."""

    share: float = 0.05
    _ended: float = -math.inf
    _seconds: float = 0.0

    def is_stale(self, now: float) -> bool:
        """Whether so much time has passed since the last writing that another one fits in."""
        return now - self._ended >= self._seconds * (1 / self.share - 1)

    def took(self, began: float, ended: float) -> None:
        """A writing began and ended at these times, in seconds of any clock."""
        self._ended, self._seconds = ended, ended - began


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
    # Of this process: a report may be asked for while the run writes its own.
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
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
    figure.axes[0].set_title("Held-out pass@1, greedy, with its 95% interval", loc="left", pad=14)
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
    environment.filters |= {"percent": summary.percent, "interval": summary.interval}
    environment.globals["labels"] = OUTCOME_LABELS
    script = environment.get_template("report.js.j2").render()
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template("report.html.j2").render(
        name=visible(run.name, 200).shown,
        progress=summary.progress(run, page.n_tasks),
        css=Markup(environment.get_template("report.css.j2").render()),
        script=Markup(script),
        script_hash=base64.b64encode(digest).decode(),
        run=run,
        ks=summary.some_ks(run),
        headline=summary.headline(run),
        changes=summary.changes(run),
        plots=_plots(run, page, intervals),
        rounds=[summary.row(r) for r in run.records[-MAX_ROUND_ROWS:][::-1]],
        row_titles=summary.ROW_TITLES,
        rounds_left_out=max(0, len(run.records) - MAX_ROUND_ROWS),
        page=page,
        settings=_settings(run.config),
        environment=_sections(run.environment or {}, "machine"),
        dropped=[
            {key: visible(str(row.get(key, "")), 300) for key in ("task", "reason")}
            for row in (run.dropped or ())[:MAX_DROPPED_ROWS]
        ],
    )


def _plots(run: RunView, page: TaskPage, intervals: Mapping[int, int]) -> list[dict[str, Any]]:
    r = run.records
    drawn: list[tuple[str, str, Figure | None]] = [
        ("Held-out pass@1", summary.says_held_out(r), plots.held_out(r)),
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
        ("Cards by status", summary.says_cards(r), plots.cards(r)),
        (
            "Intervals",
            "How many cards come back after how many rounds, as the memory stands now.",
            plots.intervals(intervals),
        ),
        ("Time per round", summary.says_seconds(r), plots.seconds(r)),
    ]
    return [
        {"title": title, "says": says, "svg": figure and _markup(figure, f"p{i}")}
        for i, (title, says, figure) in enumerate(drawn)
    ]


def _markup(figure: Figure, prefix: str) -> Any:
    from markupsafe import Markup

    return Markup(plots.inline_svg(figure, prefix))


def _settings(config: Mapping[str, Any]) -> list[dict[str, Any]]:
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


def _tasks(config: Config) -> dict[str, Task]:
    """The tasks that the run's config names. Raises UserError when they can't be read (any more)."""
    from srs import tasks

    task_set = tasks.load(config.tasks)
    return {task.id: task for task in (*task_set.train, *task_set.held_out)}


def _intervals(path: Path) -> dict[int, int]:
    from memory.store import Store

    if not path.exists():
        return {}
    with Store.open(path, read_only=True) as store:
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
        config = configs.from_dict(
            dict(runview.load(arguments.run).config), str(arguments.run / "config.json")
        )
        try:
            tasks = _tasks(config)
        except UserError as e:
            print(f"srs.report: tasks are shown by id only: {e}", file=sys.stderr)
            tasks = {}
        intervals = _intervals(arguments.run / "memory.sqlite")
        print(write(arguments.run, tasks=tasks, intervals=intervals))
        if arguments.plot:
            save_plot(arguments.run, arguments.plot)
    except UserError as e:
        print(f"srs.report: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
