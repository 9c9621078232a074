import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_run import RunBuilder, task
from rich.console import Console

from srs.progress import ROUND_HEADER, Progress, duration, round_line
from srs.types import RoundRecord

ROOT = Path(__file__).parents[2]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def records(tmp_path: Path) -> list[RoundRecord]:
    run = RunBuilder(tmp_path / "run")
    run.add_round(0)
    for number in (1, 2, 7):
        run.add_round(number, [task(i) for i in range(10)])
    return run.records


def plain(total: int = 10, **options: object) -> tuple[Progress, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=False, width=80)
    return Progress(total, console, clock=clock, **options), out, clock  # type: ignore[arg-type]


def test_columns_line_up_with_their_header(records: list[RoundRecord]) -> None:
    assert [len(round_line(r)) for r in records] == [len(ROUND_HEADER)] * len(records)
    line = round_line(records[1])
    for title, cell in (("new+rev", "8+2"), ("active", "6"), ("grad", "3"), ("time", "19.7s")):
        end = ROUND_HEADER.index(title) + len(title)
        assert line[:end].endswith(cell)


def test_a_round_before_training_shows_only_what_was_measured(records: list[RoundRecord]) -> None:
    cells = round_line(records[0]).split()
    assert cells[:3] == ["0", "-", "-"]
    assert re.fullmatch(r"3\d\.\d%", cells[3])
    assert cells[-2:] == ["-", "4.1s"]


@given(st.floats(0, 86_400 * 99))
def test_durations_are_short_and_right_to_their_last_figure(seconds: float) -> None:
    text = duration(seconds)
    sizes = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    value = sum(float(n) * sizes[unit] for n, unit in re.findall(r"([\d.]+)([smhd])", text))
    smaller = {"s": 0.1, "m": 1, "h": 60, "d": 3600}[re.sub(r"[\d.]", "", text)[0]]
    assert abs(value - seconds) <= smaller
    assert len(text) <= 6


def test_off_a_terminal_lines_are_rare_and_tell_rate_and_time_left() -> None:
    progress, out, clock = plain(every_s=10)
    with progress, progress.phase("generate", total=200, unit="candidates") as advance:
        for _ in range(100):
            clock.now += 0.3
            advance(1)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2  # 30 seconds: one line after 10.2, the next after 20.4
    assert lines[0] == "generate: 34/200 candidates · 3.3/s · 49.8s left · round 1/10"
    assert "\x1b" not in out.getvalue()


def test_the_time_a_run_takes_is_learnt_from_its_rounds(records: list[RoundRecord]) -> None:
    progress, out, clock = plain(total=4)
    with progress:
        clock.now += 500  # loading and the first evaluation are no round
        progress.round_done(records[0])
        assert progress.run_left_s() is None
        for record, took in zip(records[1:], (60, 40, 50), strict=True):
            clock.now += took
            progress.round_done(record)
        # Three rounds are done, whatever their numbers; the fourth takes the median.
        assert progress.run_left_s() == 50
        clock.now += 20
        assert progress.run_left_s() == 30
    lines = out.getvalue().splitlines()
    assert lines == [ROUND_HEADER, *map(round_line, records)]


def test_a_resumed_run_counts_the_rounds_it_has(records: list[RoundRecord]) -> None:
    progress, _, clock = plain(total=5, rounds_done=3)
    with progress:
        clock.now += 60
        progress.round_done(records[-1])
        assert progress.run_left_s() == 60


def test_a_long_phase_that_reports_nothing_still_leaves_a_line() -> None:
    progress, out, clock = plain(every_s=10)
    with progress, progress.phase("train"):
        clock.now += 75
    assert out.getvalue() == "train: 1m15s · round 1/10\n"


def test_notes_are_printed_as_they_are() -> None:
    progress, out, _ = plain()
    text = "[bold]no markup[/] :smile: " + "no wrapping " * 20
    with progress:
        progress.note(text)
    assert out.getvalue() == text + "\n"


def test_phases_overlap_and_threads_may_advance_them() -> None:
    progress, out, clock = plain(every_s=1e9)
    with (
        progress,
        progress.phase("generate", total=4000) as a,
        progress.phase("grade", total=4000) as b,
    ):
        threads = [
            threading.Thread(target=lambda: [(a(1), b(1)) for _ in range(1000)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        clock.now += 2e9
        a(0)
    assert "generate: 4000/4000" in out.getvalue()


def test_the_conclusion_says_who_won_and_where_to_read_on() -> None:
    progress, out, _ = plain()
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    evaluation = {"pass_at_1": estimate, "pass_at_k": {"1": estimate, "5": estimate}}
    comparison = {
        "base": "base",
        "final": "dpo",
        "difference": {"value": -0.02, "low": -0.09, "high": 0.05},
        "mcnemar": {"fixed": 3, "broken": 8, "p": 0.2265625},
    }
    progress.conclude({"base": evaluation, "dpo": evaluation}, comparison, Path("r/report.html"))
    lines = out.getvalue().splitlines()
    assert "dpo       50.0% [40.0, 60.0]     @1 50.0%  @5 50.0%" in lines
    assert (
        "dpo against base: -2.0 points [-9.0, +5.0], 3 tasks fixed and 8 broken, McNemar p = 0.23"
        in lines
    )
    assert lines[-1] == "report: r/report.html"


SCRIPT = """
import time
from srs.progress import Progress
with Progress(3) as progress:
    with progress.phase("generate", total=100, unit="candidates") as advance:
        for _ in range(10):
            advance(5)
        progress.note("half way")
        time.sleep(60)
"""


def test_ctrl_c_on_a_real_terminal_gives_it_back() -> None:
    """Under a pseudo-terminal: bars are drawn, SIGINT ends the program, the cursor comes back."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=follower, stderr=follower, env=environment
    ) as program:
        os.close(follower)
        screen = b""
        deadline = time.monotonic() + 60
        while b"50/100 candidates" not in screen or b"half way" not in screen:
            assert time.monotonic() < deadline, screen
            screen += os.read(leader, 65536)
        assert b"\x1b[?25l" in screen  # the cursor is hidden
        program.send_signal(signal.SIGINT)
        try:
            while chunk := os.read(leader, 65536):
                screen += chunk
        except OSError:  # Linux says EIO when the other side is closed
            pass
        program.wait(timeout=60)
    os.close(leader)
    assert b"KeyboardInterrupt" in screen
    assert screen.rindex(b"\x1b[?25h") > screen.rindex(b"\x1b[?25l")
