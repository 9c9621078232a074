"""`srs.train`'s place taken by small programs: output, uploads while it runs, signals, storage that fails."""

import errno
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from srs.modelarts import snapshot, storage, training
from srs.modelarts.mirror import MANIFEST, Mirror
from srs.modelarts.storage import Folder, StorageError

STARTS = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
run = pathlib.Path(sys.argv[1])
run.mkdir(parents=True)
(run / "config.json").write_text("{}")
(run / "rounds").mkdir()
print("begun", flush=True)
"""
WAITS = (
    STARTS
    + """
try:
    (run / "rounds" / "first").write_text("")
    time.sleep(600)
except KeyboardInterrupt:
    (run / "rounds" / "last").write_text("in order")
    sys.exit(130)
"""
)


class Failing(Folder):
    failures = 0

    def upload(self, folder: Path) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageError("no route")
        super().upload(folder)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    monkeypatch.setattr(storage, "RETRY_S", (0.01, 0.01))
    return Mirror(tmp_path / "work", Failing(tmp_path / "storage"))


def program(text: str, mirror: Mirror) -> list[str]:
    return [sys.executable, "-c", text, str(mirror.run)]


def manifest(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "storage" / MANIFEST).read_text())
    return found


def named(tmp_path: Path) -> dict[str, Any]:
    """The files of the manifest."""
    found: dict[str, Any] = manifest(tmp_path)["files"]
    return found


@pytest.mark.parametrize("code", [0, 3])
def test_it_ends_with_its_code_and_its_files_are_uploaded(
    mirror: Mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    caplog.set_level(logging.INFO, "srs")
    words = program(f"{STARTS}\nsys.exit({code})", mirror)
    assert training.train(words, os.environ, mirror, 60) == code
    assert "begun" in caplog.messages
    assert manifest(tmp_path)["finished"] is (code == 0)


def test_sigterm_ends_it_in_order_and_what_it_left_is_uploaded(
    mirror: Mirror, tmp_path: Path
) -> None:
    """It is sent once the first periodic upload shows that uploads go on while it runs."""

    def end() -> None:
        while not (tmp_path / "storage" / MANIFEST).exists() or "rounds/first" not in named(
            tmp_path
        ):
            if over.wait(0.05):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    over = threading.Event()
    killer = threading.Thread(target=end)
    killer.start()
    try:
        assert training.train(program(WAITS, mirror), os.environ, mirror, 0.1) == 130
    finally:
        over.set()
        killer.join()
    assert "rounds/last" in named(tmp_path)
    assert manifest(tmp_path)["finished"] is False


def test_the_last_upload_is_tried_again_and_then_an_error(mirror: Mirror, tmp_path: Path) -> None:
    failing = mirror._storage
    assert isinstance(failing, Failing)
    failing.failures = 2
    assert training.train(program(STARTS, mirror), os.environ, mirror, 60) == 0
    assert manifest(tmp_path)["finished"] is True
    (mirror.run / "rounds" / "more").write_text("x")
    failing.failures = 3
    with pytest.raises(StorageError, match="no route"):
        training.train([sys.executable, "-c", ""], os.environ, mirror, 60)
    assert "rounds/more" not in named(tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("locked")]
)
def test_an_error_of_the_disk_beside_it_leaves_the_run_alone(
    mirror: Mirror,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """The program ends by itself once the first upload has failed."""
    take, failed = snapshot.take, tmp_path / "failed"

    def failing(run: Path, staging: Path) -> Any:
        if not failed.exists():
            failed.touch()
            raise error
        return take(run, staging)

    monkeypatch.setattr(snapshot, "take", failing)
    waits = f"import os\nwhile not os.path.exists({str(failed)!r}): time.sleep(0.01)\nsys.exit(0)"
    assert training.train(program(f"{STARTS}\n{waits}", mirror), os.environ, mirror, 0.01) == 0
    assert f"not uploaded, trying again later: {mirror.run}: {type(error).__name__}" in caplog.text
    assert manifest(tmp_path)["finished"] is True


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Else it would hold the run's lock when ModelArts starts the job again in the same container."""
    begun = tmp_path / "begun"
    program = (
        "import os, pathlib, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(begun)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    )
    entry = (
        "import os, sys\nfrom srs.modelarts.training import train\n"
        f"train([sys.executable, '-c', {program!r}], os.environ, None, 60)"
    )
    process = subprocess.Popen([sys.executable, "-c", entry], cwd=training.ROOT)
    deadline = time.monotonic() + 60
    while not (begun.exists() and begun.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(begun.read_text())
    process.kill()
    process.wait()
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = running(child)
    if left:
        os.kill(child, signal.SIGKILL)
    assert not left


def running(pid: int) -> bool:
    """Not a zombie that nobody has waited for yet, either."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_killed_by_a_signal_is_a_code_of_its_own() -> None:
    words = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert training.train(words, os.environ, None, 60) == 137


def test_the_same_settings_are_given_new_or_resumed(tmp_path: Path) -> None:
    new = training.command(tmp_path, resume=False, config="c.toml", overrides=["run.seed=1"])
    resumed = training.command(tmp_path, resume=True, config="c.toml", overrides=["run.seed=1"])
    assert [word for word in resumed if word != "--resume"] == new
    assert new[3:] == ["--run-dir", str(tmp_path), "--config", "c.toml", "--set", "run.seed=1"]
