"""A run's copy in storage: the manifest names only what is there, and what it names is a run of one moment."""

import hashlib
import json
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from srs.modelarts import snapshot
from srs.modelarts.mirror import MANIFEST, Mirror
from srs.modelarts.storage import Folder, StorageError, open_storage
from srs.types import UserError

FAKES = Path(__file__).parent / "fakes"
NAMES = ("metrics.jsonl", "rounds/0001/plan.json", "adapters/0001/weights", "report.html")


class CutOff(Folder):
    """A folder that fails, in the middle of a file, once ``left`` files were written."""

    left = 10**9

    def write(self, name: str, content: bytes) -> None:
        self._count()
        super().write(name, content)

    def upload(self, folder: Path) -> None:
        for source in sorted(path for path in folder.rglob("*") if path.is_file()):
            target = self.path / source.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes()[:1])
            self._count()
            shutil.copyfile(source, target)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StorageError("cut off")


def put(run: Path, name: str, content: str) -> None:
    target = run / name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    partial.write_text(content)
    partial.replace(target)


def new_run(work: Path) -> Path:
    run = work / "run"
    put(run, "config.json", "{}")
    put(run, "rounds/0000/plan.json", "plan")
    return run


def contents(run: Path) -> dict[str, str]:
    return {name: (run / name).read_text() for name in snapshot.state(run)}


def check_manifest(storage: Path) -> dict[str, str]:
    """Every file that the manifest names is there with its content; those contents by name."""
    if not (storage / MANIFEST).exists():
        return {}
    found = {}
    for name, entry in json.loads((storage / MANIFEST).read_text())["files"].items():
        content = (storage / entry["at"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], name
        assert len(content) == entry["size"]
        found[name] = content.decode()
    return found


STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from("abc")), max_size=4),
        st.integers(0, 8),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_cut_off_anywhere_the_manifest_is_of_one_moment_and_all_there(
    tmp_path: Path, steps: list[tuple[list[tuple[str, str]], int, bool]]
) -> None:
    """Each step changes some files, then uploads until cut off; sometimes the container is lost."""
    folder = Path(str(tmp_path / "law"))
    shutil.rmtree(folder, ignore_errors=True)
    storage = CutOff(folder / "storage")
    work = folder / "work"
    run = new_run(work)
    mirror, moments = Mirror(work, storage), [{}]
    for number, (changes, left, lost) in enumerate(steps):
        for name, content in changes:
            put(run, name, content * (number + 2))
        moments.append(contents(run))
        storage.left = left
        try:
            if mirror.upload():
                assert check_manifest(storage.path) == moments[-1]
        except StorageError:
            assert left < len(moments[-1]) + 1
        assert check_manifest(storage.path) in moments
        storage.left = 10**9
        if lost:
            work = folder / f"work{number}"
            mirror = Mirror(work, storage)
            if mirror.restore():
                run = work / "run"
                assert contents(run) == check_manifest(storage.path)
            else:
                run = new_run(work)
            moments.append(contents(run))
    mirror.upload(finished=True, last=True)
    assert check_manifest(storage.path) == contents(run)
    for name, content in contents(run).items():
        assert (storage.path / name).read_text() == content


class Writer:
    """A run of three files that advance in this order: ``a``, the memory, ``b``."""

    def __init__(self, run: Path) -> None:
        self.run, self.number = run, 0
        with closing(sqlite3.connect(run.parent / "new.sqlite")) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE n (n INTEGER)")
            db.execute("INSERT INTO n VALUES (0)")
            db.commit()
        put(run, "a", "0")
        put(run, "b", "0")
        (run.parent / "new.sqlite").rename(run / "memory.sqlite")

    def advance(self, pause_s: float = 0.0) -> None:
        self.number += 1
        put(self.run, "a", str(self.number))
        time.sleep(pause_s)
        with closing(sqlite3.connect(self.run / "memory.sqlite")) as db:
            db.execute("UPDATE n SET n = ?", (self.number,))
            db.commit()
        time.sleep(pause_s)
        put(self.run, "b", str(self.number))


def numbers(staging: Path) -> tuple[int, int, int]:
    with closing(sqlite3.connect(staging / "memory.sqlite")) as db:
        (memory,) = db.execute("SELECT n FROM n").fetchone()
    a, b = (int((staging / name).read_text()) for name in "ab")
    return a, memory, b


@pytest.mark.parametrize(("changes", "taken"), [(2, True), (99, False)])
def test_what_is_replaced_meanwhile_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: int, taken: bool
) -> None:
    """All three advance after ``a`` was kept, the first times: that ``a`` is older than the memory."""
    monkeypatch.setattr(snapshot, "PAUSE_S", 0.0)
    monkeypatch.setattr(snapshot, "ATTEMPTS", 4)
    writer, keep = Writer(tmp_path / "run"), snapshot._keep

    def keep_then_advance(source: Path, target: Path) -> None:
        keep(source, target)
        if source.name == "a" and writer.number < changes:
            writer.advance()

    monkeypatch.setattr(snapshot, "_keep", keep_then_advance)
    staging = tmp_path / "staging"
    assert (snapshot.take(tmp_path / "run", staging) is not None) is taken
    if taken:
        assert numbers(staging) == (2, 2, 2)


def test_beside_a_writer_a_snapshot_is_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "PAUSE_S", 0.002)
    writer, stop = Writer(tmp_path / "run"), threading.Event()

    def write() -> None:
        while not stop.is_set():
            writer.advance(0.003)
            time.sleep(0.01)

    thread = threading.Thread(target=write)
    thread.start()
    taken = 0
    try:
        for number in range(8):
            staging = tmp_path / f"staging{number}"
            if snapshot.take(tmp_path / "run", staging) is not None:
                taken += 1
                a, memory, b = numbers(staging)
                assert a >= memory >= b >= a - 1
    finally:
        stop.set()
        thread.join()
    assert taken >= 3


def test_partial_files_and_locks_stay_out(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for name in (
        ".lock", "x.json.partial", "adapters/.0001.partial/weights", "memory.sqlite-lock",
        "logs/.generate-merged/0001/model.safetensors",
    ):  # fmt: skip
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")
    assert snapshot.take(run, tmp_path / "staging") is not None
    assert sorted(snapshot.state(tmp_path / "staging")) == ["config.json", "rounds/0000/plan.json"]


def test_a_folder_that_vanishes_while_it_is_looked_at_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scandir = new_run(tmp_path), os.scandir
    (run / "adapters" / "0001").mkdir(parents=True)

    def vanishing(path: Path | str) -> Any:
        if Path(path).name == "0001":
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert sorted(snapshot.state(run)) == ["config.json", "rounds/0000/plan.json"]
    assert not (run / "adapters" / "0001").exists()


def test_nothing_new_uploads_nothing_and_a_log_waits_for_the_last(tmp_path: Path) -> None:
    storage = Folder(tmp_path / "storage")
    mirror, run = Mirror(tmp_path / "work", storage), new_run(tmp_path / "work")
    assert mirror.upload()
    before = (storage.path / MANIFEST).stat().st_mtime_ns
    (run / "logs").mkdir()
    (run / "logs" / "generate.log").write_text("line\n")
    assert not mirror.upload()
    assert (storage.path / MANIFEST).stat().st_mtime_ns == before
    assert mirror.upload(last=True)
    assert check_manifest(storage.path)["logs/generate.log"] == "line\n"
    assert not mirror.upload(last=True)


def test_a_run_that_was_not_started_is_not_uploaded(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "work", Folder(tmp_path / "storage"))
    put(tmp_path / "work" / "run", "config.json", "{}")
    assert not mirror.upload(finished=True)
    assert not (tmp_path / "storage").exists()


def test_this_disk_is_taken_when_it_went_on_and_the_storage_when_another_did(
    tmp_path: Path,
) -> None:
    storage = Folder(tmp_path / "storage")
    here, there = tmp_path / "here", tmp_path / "there"
    run = new_run(here)
    Mirror(here, storage).upload()
    put(run, "report.html", "newer than the upload")
    assert Mirror(here, storage).restore()
    assert contents(run)["report.html"] == "newer than the upload"

    other = Mirror(there, storage)
    assert other.restore()
    put(there / "run", "report.html", "of the other node")
    assert other.upload()
    assert Mirror(here, storage).restore()
    assert contents(run)["report.html"] == "of the other node"


@pytest.mark.parametrize("known", [False, True], ids=["new-url", "url-of-another-run"])
def test_a_new_url_starts_anew_and_the_run_here_is_kept(
    tmp_path: Path, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Folder(tmp_path / "first"), Folder(tmp_path / "second")
    work, run = tmp_path / "work", tmp_path / "work" / "run"
    assert not Mirror(work, first).restore()
    put(new_run(work), "report.html", "of the first")
    if known:
        put(new_run(tmp_path / "else"), "report.html", "of the second")
        assert Mirror(tmp_path / "else", second).upload()
    mirror = Mirror(work, second)
    assert mirror.restore() is known
    assert not known or contents(run)["report.html"] == "of the second"
    assert contents(work / "run-1")["report.html"] == "of the first"
    assert f"the run that went to {first.url} now lies in {work / 'run-1'}" in caplog.text
    put(new_run(work), "report.html", "goes on")
    assert Mirror(work, second).restore()
    assert contents(run)["report.html"] == "goes on"


def test_a_start_without_a_config_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("1")
    assert not Mirror(tmp_path, Folder(tmp_path / "storage")).restore()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "config.json").write_text("other"), "config.json: not the file that"),
        (lambda s: (s / MANIFEST).write_text("{"), "manifest.json: damaged"),
        (lambda s: (s / MANIFEST).write_text("[]"), "manifest.json: damaged"),
        (lambda s: (s / MANIFEST).write_text('{"format": 1}'), "manifest.json: damaged"),
        (
            lambda s: (s / MANIFEST).write_text(
                (s / MANIFEST).read_text().replace('"config.json"', '"../config.json"')
            ),
            "would leave the run's folder",
        ),
    ],
    ids=["content", "no-json", "no-object", "no-files", "path"],
)
def test_a_damaged_storage_is_one_line(tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    storage = Folder(tmp_path / "storage")
    new_run(tmp_path / "work")
    Mirror(tmp_path / "work", storage).upload()
    damage(storage.path)
    with pytest.raises(UserError, match=message) as caught:
        Mirror(tmp_path / "else", storage).restore()
    assert "\n" not in str(caught.value)


def test_obs_is_reached_through_moxing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FAKES)
    monkeypatch.setenv("FAKE_OBS", str(tmp_path))
    storage = open_storage("obs://bucket/run/")
    run = new_run(tmp_path / "work")
    put(run, "adapters/0001/weights", "w")
    assert Mirror(tmp_path / "work", storage).upload()
    assert check_manifest(tmp_path / "bucket/run") == contents(run)
    assert Mirror(tmp_path / "new", storage).restore()
    assert contents(tmp_path / "new" / "run") == contents(run)
    shutil.rmtree(tmp_path / "bucket/run/adapters")
    with pytest.raises(StorageError, match="FileNotFoundError"):
        Mirror(tmp_path / "newer", storage).restore()


def test_urls_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="write obs://bucket/folder"):
        open_storage("runs/here")
    monkeypatch.setitem(__import__("sys").modules, "moxing", None)
    with pytest.raises(UserError, match="this image has no moxing"):
        open_storage("obs://bucket/run")
