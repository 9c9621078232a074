from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srs.child import Child, ChildError
from srs.types import UserError

HERE = Path(__file__).parent


@pytest.fixture
def open_child(tmp_path: Path) -> Any:
    children: list[Child] = []

    def start(**arguments: Any) -> Child:
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        child = Child(
            "echo",
            "child_handlers:Echo",
            arguments,
            environment=environment,
            log_path=tmp_path / "logs" / "echo.log",
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close()


def _wait(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def _gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_requests_stream_in_order(open_child: Any) -> None:
    child = open_child()
    assert list(child.stream("count", to=1000)) == list(range(1000))
    assert child.call("text", size=200_000) == "é" * 200_000
    assert list(child.stream("count", to=0)) == []


def test_starts_in_the_background_and_closes_while_loading(open_child: Any) -> None:
    start = time.monotonic()
    child = open_child(delay_s=60)
    child.close()
    assert time.monotonic() - start < 10


def test_a_slow_reader_does_not_hold_the_child_up(open_child: Any, tmp_path: Path) -> None:
    items = open_child().stream("marks", path=str(tmp_path / "mark"), count=50_000)
    assert next(items) == 0
    assert _wait((tmp_path / "mark").exists, 60)
    assert sum(1 for _ in items) == 49_999


def test_a_dropped_stream_does_not_reach_the_next_request(open_child: Any) -> None:
    child = open_child()
    dropped = child.stream("count", to=10_000)
    assert next(dropped) == 0
    del dropped
    assert list(child.stream("count", to=3)) == [0, 1, 2]


def test_its_own_session_and_log(open_child: Any) -> None:
    child = open_child()
    ready = child.ready()
    assert ready["session"] == ready["pid"] != os.getsid(0)
    assert child.log_path.read_text().startswith("loading")


def test_a_users_error_is_one_line(open_child: Any) -> None:
    with pytest.raises(UserError, match=r"^model.path: nothing there$"):
        open_child(fail="user").ready()
    child = open_child()
    with pytest.raises(UserError, match=r"^adapter: no adapter there$"):
        list(child.stream("fail", kind="user"))
    assert list(child.stream("count", to=2)) == [0, 1], "it serves on after an error"


def test_a_failure_names_the_log_and_its_last_lines(open_child: Any) -> None:
    with pytest.raises(ChildError) as caught:
        open_child(fail="no room").ready()
    first, log, *lines = str(caught.value).split("\n")
    assert first == "echo failed: RuntimeError: no room"
    assert log.endswith("echo.log ends:")
    assert lines[-1].strip() == "RuntimeError: no room"
    with pytest.raises(ChildError, match="echo failed: ValueError: broken"):
        list(open_child().stream("fail", kind="value"))


@pytest.mark.parametrize(
    ("kind", "how"), [("die", r"exited \(7\)"), ("kill", "was ended by SIGKILL")]
)
def test_a_death_in_mid_request_is_an_error(open_child: Any, kind: str, how: str) -> None:
    child = open_child()
    items = child.stream("fail", kind=kind)
    assert next(items) == 1
    with pytest.raises(ChildError, match=f"the echo process {how}"):
        next(items)
    with pytest.raises(ChildError):
        list(child.stream("count", to=1))


def test_a_death_is_noticed_though_a_grandchild_lives(open_child: Any) -> None:
    child = open_child()
    pid = child.call("grandchild")
    with pytest.raises(ChildError, match="last words"):
        list(child.stream("fail", kind="die"))
    assert not _gone(pid)
    child.close()
    assert _wait(lambda: _gone(pid))


def test_closing_ends_a_busy_child_and_its_children(open_child: Any) -> None:
    child = open_child()
    pid = child.call("grandchild")
    next(child.stream("sleep", seconds=300))
    start = time.monotonic()
    child.close()
    assert time.monotonic() - start < 5
    assert _wait(lambda: _gone(pid))
    with pytest.raises(ChildError, match="closed"):
        list(child.stream("count", to=1))


PARENT = """
import os, sys, time
from pathlib import Path
from srs.child import Child
child = Child("echo", "child_handlers:Echo", {}, environment=os.environ, log_path=Path(sys.argv[1]))
print(child.ready()["pid"], child.call("grandchild"), flush=True)
if sys.argv[2] == "busy":
    next(child.stream("sleep", seconds=300))
    print("busy", flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("doing", ["idle", "busy"])
def test_everything_ends_with_a_killed_parent(tmp_path: Path, doing: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}"}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log"), doing],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    if doing == "busy":
        assert parent.stdout.readline() == "busy\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert all(_wait(lambda pid=pid: _gone(pid)) for pid in pids)
