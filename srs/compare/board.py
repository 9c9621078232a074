"""What a comparison is doing: a live table of arms by seeds on a terminal, plain lines anywhere else."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from srs.progress import duration
from srs.runview import records
from srs.types import RoundRecord, UserError

State = Literal["waiting", "running", "done", "failed"]
Cell = tuple[str, int]
"""(arm, seed)."""


class Board:
    """``runs``: where each run of the comparison is. Its cells begin as waiting or done."""

    def __init__(
        self,
        runs: dict[Cell, Path],
        *,
        done: Sequence[Cell],
        rounds: int,
        jobs: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or Console()
        self._runs = runs
        self._rounds = rounds
        self._jobs = jobs
        self._clock = clock
        self._states: dict[Cell, State] = {cell: "done" if cell in done else "waiting" for cell in runs}  # fmt: skip
        self._shown: dict[Cell, tuple[int, float | None]] = {}
        self._started: dict[Cell, float] = {}
        self._durations: list[float] = []
        self._live: Live | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            # Not refreshed by a thread of its own: processes are started between refreshes.
            self._live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        self.refresh()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def started(self, cell: Cell) -> None:
        self._states[cell] = "running"
        self._started[cell] = self._clock()
        self._line(f"{cell[0]}, seed {cell[1]}: running")

    def ended(self, cell: Cell, *, failed: bool) -> None:
        self._states[cell] = "failed" if failed else "done"
        spent = self._clock() - self._started[cell]
        if not failed:
            self._durations.append(spent)
        self._line(
            f"{cell[0]}, seed {cell[1]}: {self._cell(cell)} in {duration(spent)}; {self.status()}"
        )

    def refresh(self) -> None:
        """Show how far the runs are now. Cheap enough for twice a second."""
        if self._live:
            self._live.update(self.view(), refresh=True)

    def status(self) -> str:
        """``7 of 20 runs done, 2 running, 1 failed, 41m10s left``."""
        count = {state: list(self._states.values()).count(state) for state in ("waiting", "running", "done", "failed")}  # fmt: skip
        parts = [f"{count['done']} of {len(self._states)} runs done"]
        parts += [f"{count[state]} {state}" for state in ("running", "failed") if count[state]]
        if (left := self._left_s()) is not None:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    def view(self) -> Group:
        """Arms by seeds, and the status below."""
        arms, seeds = (list(dict.fromkeys(cell[i] for cell in self._runs)) for i in (0, 1))
        table = Table(box=None, pad_edge=False)
        table.add_column("arm")
        for seed in seeds:
            table.add_column(f"seed {seed}", justify="right")
        for arm in arms:
            table.add_row(
                Text(str(arm)), *(Text(self._cell((str(arm), int(seed)))) for seed in seeds)
            )
        return Group(table, Text(self.status()))

    def _cell(self, cell: Cell) -> str:
        state = self._states[cell]
        if state in ("waiting", "failed"):
            return state
        round, value = self._progress(cell)
        measured = "" if value is None else f" {100 * value:.1f}%"
        return f"done{measured}" if state == "done" else f"{round}/{self._rounds}{measured}"

    def _progress(self, cell: Cell) -> tuple[int, float | None]:
        """The last complete round and the last greedy held-out pass@1; as last seen while unreadable."""
        file = self._runs[cell] / "metrics.jsonl"
        try:
            lines = list(records(file, RoundRecord)) if file.exists() else []
        except UserError:
            return self._shown.get(cell, (0, None))
        measured = [r.val_pass_at_1 for r in lines if r.val_pass_at_1 is not None]
        self._shown[cell] = (max(len(lines) - 1, 0), measured[-1] if measured else None)
        return self._shown[cell]

    def _left_s(self) -> float | None:
        """Seconds until all are done, or None before the first has shown how long one takes."""
        running = [cell for cell, state in self._states.items() if state == "running"]
        waiting = sum(state == "waiting" for state in self._states.values())
        if not self._durations or not (running or waiting):
            return None
        usual = statistics.median(self._durations)
        now = self._clock()
        spent = sum(min(now - self._started[cell], usual) for cell in running)
        n_left = len(running) + waiting
        return (usual * n_left - spent) / min(self._jobs, n_left)

    def _line(self, text: str) -> None:
        if self._live:
            self.refresh()
        else:
            self.console.print(Text(text), soft_wrap=True)
