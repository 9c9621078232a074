"""What opening and recording say when the file or the disk can't be used; nothing is lost or erased."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from memory import database
from memory.schema import APPLICATION_ID, MIGRATIONS
from memory.store import Store
from scheduler import sm2
from srs.types import Review, UserError


def filled(path: Path, n_tasks: int = 500) -> Path:
    with Store.open(path, seed=1) as memory:
        memory.add_tasks(f"t{i}" for i in range(n_tasks))
        memory.record(1, round_of(1, 50), sm2.update)
    return path


def round_of(round: int, n_tasks: int) -> list[Review]:
    return [Review(task=f"t{i}", round=round, n_passed=i % 6, n_graded=5) for i in range(n_tasks)]


def refused(path: Path, words: str) -> None:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError, match=words) as error:
        Store.open(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_text_file_is_not_a_memory(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_text("not a database, whatever its name says\n" * 100)
    refused(path, "not a memory file")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url)")
    db.commit()
    db.close()
    refused(path, "another program")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.sqlite")
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    refused(path, "newer version .* update the program")


@pytest.mark.parametrize("damage", ["overwritten", "truncated"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = filled(tmp_path / "memory.sqlite")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        content[:middle] + b"\xff" * 4096 + content[middle + 4096 :]
        if damage == "overwritten"
        else content[:middle]
    )
    refused(path, "damaged")


def test_damage_in_a_file_too_large_to_check_shows_when_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKED_AT_OPEN_BYTES", 0)
    path = filled(tmp_path / "memory.sqlite")
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(UserError, match="damaged"), Store.open(path) as memory:
        memory.record(2, round_of(2, 500), sm2.update)


def test_a_missing_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere" / "memory.sqlite", "check that its folder exists")


def test_an_empty_file_is_a_new_memory(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.touch()
    assert filled(path).stat().st_size > 0


def test_migrations_run_in_order_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "memory.sqlite")

    def rename(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE meta ADD COLUMN note TEXT")

    def index(db: sqlite3.Connection) -> None:
        db.execute("CREATE INDEX meta_note ON meta (note)")  # fails unless `rename` ran before

    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, rename, index))
    for _ in range(2):
        db = database.connect(path)
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 2,)
        assert db.execute("SELECT count(*) FROM reviews").fetchone() == (50,)
        db.close()


def test_a_failed_migration_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "memory.sqlite")

    def half(db: sqlite3.Connection) -> None:
        db.execute("DROP TABLE rounds")
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*MIGRATIONS, half))
        with pytest.raises(RuntimeError, match="power cut"):
            database.connect(path)
    with Store.open(path) as memory:
        assert memory.result(1).n_reviews == 50


def test_a_full_disk_loses_nothing_recorded_and_writes_nothing_half(tmp_path: Path) -> None:
    with Store.open(filled(tmp_path / "memory.sqlite")) as memory:
        before = memory.counts(), list(memory.reviews())
        (pages,) = memory._db.execute("PRAGMA page_count").fetchone()
        memory._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(UserError, match=r"memory\.sqlite: the disk is full"):
            memory.add_tasks(f"more{i}" for i in range(10_000))
        assert (memory.counts(), list(memory.reviews())) == before
        memory._db.execute("PRAGMA max_page_count = 1000000")
        assert memory.record(2, round_of(2, 50), sm2.update).n_reviews == 50


def test_a_memory_that_another_process_writes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "memory.sqlite")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.05}))
    with pytest.raises(UserError, match="in use by another process"):
        Store.open(path)
    other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_read_only_folder(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.sqlite")
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # root may write anywhere: try as somebody else
        try:
            if os.geteuid() == 0:
                for parent in (tmp_path.parent, tmp_path.parent.parent):
                    parent.chmod(0o755)
                os.setuid(65534)
            Store.open(path)
            os.write(writer, b"opened")
        except BaseException as e:
            os.write(writer, f"{type(e).__name__}: {e}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    tmp_path.chmod(0o755)
    assert said.startswith(f"UserError: {path}: "), said
    assert "make the file and its folder writable" in said or "is writable" in said


KILLED = textwrap.dedent(
    """
    import sys
    from memory.store import Store
    from scheduler import sm2
    from srs.types import Review
    with Store.open(sys.argv[1]) as memory:
        start = (memory.last_round() or 0) + 1
        print("ready", flush=True)
        for round in range(start, start + 10_000):
            reviews = [Review(task=f"t{i}", round=round, n_passed=(i + round) % 6, n_graded=5)
                       for i in range(400)]
            memory.record(round, reviews, sm2.update)
    """
)


def test_kill_9_loses_no_recorded_round_and_doubles_none(tmp_path: Path) -> None:
    path = filled(tmp_path / "memory.sqlite", n_tasks=400)
    script = tmp_path / "record.py"
    script.write_text(KILLED.replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])"))
    root = Path(__file__).parents[2]
    recorded = 1
    for i in range(10):
        child = subprocess.Popen(
            [sys.executable, str(script), str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(0.013 * i)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with Store.open(path) as memory:
            last = memory.last_round()
            assert last is not None
            assert last >= recorded
            recorded = last
            assert [memory.result(r).n_reviews for r in range(1, last + 1)] == [50] + [400] * (
                last - 1
            )
            cards = [memory.card(f"t{j}") for j in range(400)]
            counts = memory.counts()
            memory.rebuild(sm2.update)
            assert (cards, counts) == ([memory.card(f"t{j}") for j in range(400)], memory.counts())
    assert recorded > 1


def test_files_are_marked_as_ours(tmp_path: Path) -> None:
    db = sqlite3.connect(filled(tmp_path / "memory.sqlite"))
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()
