"""One writer, any number of readers."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memory.lock import WriterLock
from memory.store import Store
from scheduler import sm2
from srs.types import Review, UserError

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from memory.store import Store
from scheduler import sm2
from srs.types import Review
with Store.open(Path(sys.argv[1]), seed=1) as memory:
    memory.add_tasks(f"t{i}" for i in range(50))
    for line in iter(lambda: print("ready", flush=True) or sys.stdin.readline(), ""):
        number = int(line)
        reviews = [Review(task=f"t{i}", round=number, n_passed=3, n_graded=5) for i in range(20)]
        memory.record(number, reviews, sm2.update)
"""


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the memory; it records the rounds whose numbers it is sent."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        await_ready(child)
        yield child
    finally:
        child.kill()
        child.communicate()


def await_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"


def order(child: subprocess.Popen[str], number: int) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{number}\n")
    child.stdin.flush()
    await_ready(child)


def test_a_second_writer_is_refused_at_once_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with writer(path) as child:
        start = time.monotonic()
        with pytest.raises(UserError) as error:
            Store.open(path)
        assert time.monotonic() - start < 2
        said = str(error.value)
        assert said.startswith(f"{path}: another process (pid {child.pid}) is writing this memory:")
        assert "\n" not in said
        order(child, 1)
    with Store.open(path) as memory:
        assert memory.result(1).n_reviews == 20


def test_a_second_writer_in_the_same_process_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with Store.open(path) as memory:
        memory.add_tasks("ab")
        for _ in range(3):
            with pytest.raises(UserError, match=f"pid {os.getpid()}"):
                Store.open(path)
        memory.record(1, [Review(task="a", round=1, n_passed=1, n_graded=5)], sm2.update)
    with Store.open(path) as memory:
        assert memory.last_round() == 1


def test_readers_see_what_a_live_writer_has_recorded(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with writer(path) as child:
        order(child, 1)
        with Store.open(path, read_only=True) as first, Store.open(path, read_only=True) as second:
            assert first.last_round() == second.last_round() == 1
            log = first.reviews()
            next(
                log
            )  # a reader in the midst of the log holds up nobody and keeps what it began with
            order(child, 3)
            assert {review.round for review in log} == {1}
            assert second.last_round() == 3
            assert second.due(9, 5, "overdue") and second.due(9, 5, "random", stage=0)  # noqa: PT018
            assert len(second.anywhere(9, 5)) == len(second.new_ids(5)) == 5
            assert second.retired(9, 5) == []
            for call in (
                lambda: second.add_tasks(["x"]),
                lambda: second.record(4, [], sm2.update),
                lambda: second.rebuild(sm2.update),
            ):
                with pytest.raises(ValueError, match="opened to read"):
                    call()


def test_a_killed_writer_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with writer(path) as child:
        order(child, 1)
        child.send_signal(signal.SIGKILL)
        child.wait()
        with Store.open(path) as memory:
            assert memory.last_round() == 1
    assert [p.name for p in tmp_path.iterdir()] == ["memory.sqlite"]


def test_a_lock_file_removed_by_its_last_holder_is_made_again(tmp_path: Path) -> None:
    memory = tmp_path / "memory.sqlite"
    first = WriterLock(memory)
    (tmp_path / "memory.sqlite-lock").unlink()
    second = WriterLock(memory)  # another file: the first one's holder let go of its name
    with pytest.raises(UserError, match="another process"):
        WriterLock(memory)
    second.release()
    first.release()
    WriterLock(memory).release()


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no memory file here"):
        Store.open(tmp_path / "memory.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []
    Store.open(tmp_path / "memory.sqlite", seed=7).close()
    with Store.open(tmp_path / "memory.sqlite", read_only=True) as memory:
        assert memory.counts()["new"] == 0
    with pytest.raises(UserError, match="drawn with seed 7, not 8"):
        Store.open(tmp_path / "memory.sqlite", read_only=True, seed=8)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to read as somebody else")
def test_a_finished_run_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with Store.open(path) as memory:
        memory.add_tasks("abc")
    path.chmod(0o444)
    for folder in tmp_path.parents:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    tmp_path.chmod(0o555)
    reader, writer_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            with Store.open(path, read_only=True) as memory:
                os.write(writer_end, str(sorted(memory.new_ids(9))).encode())
        except BaseException as e:
            os.write(writer_end, repr(e).encode())
        finally:
            os._exit(0)
    os.close(writer_end)
    os.waitpid(child, 0)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    tmp_path.chmod(0o755)
    assert said == "['a', 'b', 'c']"
