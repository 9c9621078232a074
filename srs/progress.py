"""The one progress surface of a run: live bars on a terminal, sparse plain lines anywhere else."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from srs.types import RoundRecord

ROUND_HEADER = (
    "round    new+rev    pass   held-out pass@1 (95%)  active  grad  skip     loss     time"
)
RECENT_ROUNDS = 5
"""Rounds whose durations estimate the next ones."""


def round_line(record: RoundRecord) -> str:
    """One round under `ROUND_HEADER`: aligned columns, percentages, ``-`` for what was not measured."""
    held_out = {
        "value": record.val_pass_at_1,
        "low": record.val_ci_low,
        "high": record.val_ci_high,
    }
    tasks = f"{record.n_new}+{record.n_review}" if record.n_new + record.n_review else "-"
    return (
        f"{record.round:>5}  {tasks:>9}  {_percent(record.pass_rate):>6}   {_interval(held_out):<21}"
        f"  {record.active:>6}  {record.graduated:>4}  {record.skipped:>4}"
        f"  {_loss(record.sft_loss):>7}  {duration(sum(record.seconds.values())):>7}"
    )


def duration(seconds: float) -> str:
    """``8.1s``, ``4m12s``, ``3h05m``, ``2d04h``: the two figures that matter."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


class Progress:
    """What the run is doing now: one bar a phase, one line a round, time left for both.

    Phases may overlap and may be advanced from any thread. Off a terminal, a phase prints at most one
    line every ``every_s`` seconds. Leaving, also by Ctrl-C, gives the terminal back as it was.
    ``rounds_done`` counts the training rounds that a resumed run already has.
    """

    def __init__(
        self,
        total_rounds: int,
        console: Console | None = None,
        *,
        rounds_done: int = 0,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or Console()
        self._total = total_rounds
        self._done = rounds_done
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.RLock()
        self._last_line = self._round_start = clock()
        self._durations: list[float] = []
        self._header_shown = False
        self._bars: Bars | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._bars = Bars(
                TextColumn("{task.description:<10}", markup=False),
                BarColumn(bar_width=30),
                _StatusColumn(self._status),
                console=self.console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        self._round_start = self._clock()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bars:
            self._bars.stop()

    @contextlib.contextmanager
    def phase(
        self, name: str, total: int | None = None, *, unit: str = ""
    ) -> Iterator[Callable[[int], None]]:
        """Show a phase while the block runs; call what it yields with the number of things done.

        ``total`` None means that the amount of work isn't known. ``unit`` names the things counted,
        such as ``candidates``.
        """
        phase = _Phase(name, total, unit, self._clock())
        bar: TaskID | None = None
        if self._bars:
            bar = self._bars.add_task(name, total=total, phase=phase)

        def advance(count: int = 1) -> None:
            with self._lock:
                phase.done += count
                if self._bars and bar is not None:
                    self._bars.update(bar, completed=phase.done)
                elif self._clock() - self._last_line >= self._every_s:
                    self._line(phase)

        try:
            yield advance
        finally:
            if self._bars and bar is not None:
                self._bars.remove_task(bar)
            elif self._clock() - max(self._last_line, phase.start) >= self._every_s:
                self._line(phase)

    def round_done(self, record: RoundRecord) -> None:
        """Print the round's line, and learn how long a round takes. Round 0 is not a training round."""
        with self._lock:
            now = self._clock()
            if record.round > 0:
                self._done += 1
                self._durations.append(now - self._round_start)
            self._round_start = self._last_line = now
            if not self._header_shown:
                self._header_shown = True
                self._print(ROUND_HEADER)
            self._print(round_line(record))

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self._print(text)

    def conclude(
        self,
        evaluations: Mapping[str, Mapping[str, Any]],
        comparison: Mapping[str, Any],
        report: Path,
    ) -> None:
        """Print the final evaluation (`srs.evaluation`): each policy, the comparison, the report."""
        self._print("\nheld-out   pass@1 (95%)           pass@k")
        for name, evaluation in evaluations.items():
            at_k = [f"@{k} {_percent(v['value'])}" for k, v in evaluation["pass_at_k"].items()]
            self._print(
                f"{name:<8} {_interval(evaluation['pass_at_1']):<23} {'  '.join(at_k) or '-'}"
            )
        difference, mcnemar = comparison["difference"], comparison["mcnemar"]
        low, value, high = (100 * difference[key] for key in ("low", "value", "high"))
        self._print(
            f"{comparison['final']} against {comparison['base']}: {value:+.1f} points "
            f"[{low:+.1f}, {high:+.1f}], {mcnemar['fixed']} tasks fixed and {mcnemar['broken']} broken, "
            f"McNemar p = {mcnemar['p']:.2g}"
        )
        self._print(f"report: {report}")

    def run_left_s(self) -> float | None:
        """Seconds until the last round is done, or None before the first has shown how long one takes."""
        if not self._durations or self._done >= self._total:
            return None
        usual = statistics.median(self._durations[-RECENT_ROUNDS:])
        spent = self._clock() - self._round_start
        return max(usual - spent, 0.0) + usual * (self._total - self._done - 1)

    def _status(self, phase: _Phase) -> str:
        parts = [phase.status(self._clock())]
        if self._done < self._total:
            left = self.run_left_s()
            parts.append(
                f"round {self._done + 1}/{self._total}"
                + (f", run {duration(left)} left" if left is not None else "")
            )
        return " · ".join(part for part in parts if part)

    def _line(self, phase: _Phase) -> None:
        with self._lock:
            self._last_line = self._clock()
            self._print(f"{phase.name}: {self._status(phase)}")

    def _print(self, text: str) -> None:
        # As Text: notes quote tasks and paths, which are neither markup nor emoji. Columns don't wrap.
        self.console.print(Text(text), soft_wrap=True)


class _Phase:
    """How far one phase is, and how fast it goes."""

    def __init__(self, name: str, total: int | None, unit: str, start: float) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.start = start
        self.done = 0

    def status(self, now: float) -> str:
        spent = now - self.start
        if not self.done:
            return duration(spent)
        amount = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        parts = [f"{amount} {self.unit}".rstrip()]
        if spent > 0:
            rate = self.done / spent
            parts.append(f"{rate:.1f}/s" if rate >= 0.1 else f"{duration(1 / rate)} each")
            if self.total is not None and self.done < self.total:
                parts.append(f"{duration((self.total - self.done) / rate)} left")
        return " · ".join(parts)


class _StatusColumn(ProgressColumn):
    """Asks for the status at every refresh, so that time passes also when nothing is reported."""

    def __init__(self, status: Callable[[_Phase], str]) -> None:
        super().__init__()
        self._status = status

    def render(self, task: Task) -> Text:
        return Text(self._status(task.fields["phase"]))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _interval(estimate: Mapping[str, float | None]) -> str:
    text = f"{_percent(estimate['value']):>6}"
    low, high = estimate["low"], estimate["high"]
    return text if low is None or high is None else f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def _loss(loss: float | None) -> str:
    return "-" if loss is None else f"{loss:.4f}" if abs(loss) < 10 else f"{loss:.1f}"
