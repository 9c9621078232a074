"""A process that dies while it records: nothing committed is lost, nothing is there twice or by half."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from memory.store import Store
from scheduler import sm2
from srs.types import Review, ReviewKind

ROOT = Path(__file__).parents[2]
TASKS = [f"t{i}" for i in range(300)]
BEFORE, ROUND = (1, 2, 3), 6

DRIVER = """
import json, os, resource, shutil, signal, sys
from pathlib import Path
from memory.store import Store
from scheduler import sm2
from srs.types import Review

base, folder, points, reviews = json.load(sys.stdin)
reviews = [Review(**review) for review in reviews]

def record(path, how, n):
    with Store.open(path) as memory:
        calls = 0
        def step():
            nonlocal calls
            calls += 1
            if how == "step" and calls == n:
                os.kill(os.getpid(), signal.SIGKILL)
        if how == "checkpoint":  # copy the log into the file as soon as it has a page
            memory._db.execute("PRAGMA wal_autocheckpoint = 1")
        if how in ("bytes", "checkpoint"):  # the kernel ends the process when a file would grow beyond
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            memory.n_due(1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))
        else:
            memory._db.set_progress_handler(step, 50)
        memory.record(reviews[0].round, reviews, sm2.update)
        if how == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        memory._db.set_progress_handler(None, 0)
        size = Path(str(path) + "-wal").stat().st_size
    return calls, size

found = []
for how, n in points:
    path = Path(folder) / f"{how}-{n}.sqlite"
    shutil.copy(base, path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, json.dumps(record(path, how, n)).encode())
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    found.append([str(path), killed_by, json.loads(said) if said else None])
print(json.dumps(found))
"""


def round_of(number: int, start: int, n: int, kind: ReviewKind = "practice") -> list[Review]:
    return [
        Review(task=TASKS[i], round=number, n_passed=(i + number) % 6, n_graded=5, kind=kind)
        for i in range(start, start + n)
    ]


LAST: Sequence[Review] = [
    *round_of(ROUND, 40, 120),
    *round_of(ROUND, 0, 10, "audit"),
    *round_of(ROUND, 10, 10, "probe"),
]


def drive(
    base: Path, folder: Path, points: list[tuple[str, int]], last: Sequence[Review] = LAST
) -> list[tuple[Path, int, object]]:
    """Record the last round in a process per point; (file, the signal it died of or 0, what it said)."""
    reviews = [
        {"task": r.task, "round": r.round, "n_passed": r.n_passed, "n_graded": 5, "kind": r.kind}
        for r in last
    ]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps([str(base), str(folder), points, reviews]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(Path(path), killed_by, said) for path, killed_by, said in json.loads(done.stdout)]


def content(path: Path) -> list[str]:
    """All tables and rows, as SQL; reading it is also what recovers the file."""
    db = sqlite3.connect(path)
    lines = list(db.iterdump())
    db.close()
    return lines


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.sqlite"
    with Store.open(path, seed=1) as memory:
        memory.add_tasks(TASKS)
        for number in BEFORE:
            memory.record(number, round_of(number, 0, 100), sm2.update)
    return path


def test_a_record_killed_anywhere_is_whole_or_absent_and_can_be_repeated(
    base: Path, tmp_path: Path
) -> None:
    before = content(base)
    [(whole, killed_by, said)] = drive(base, tmp_path, [("whole", 0)])
    assert killed_by == 0
    assert isinstance(said, list)
    n_steps, n_bytes = said
    after = content(whole)
    assert after != before

    steps = sorted({1 + i * (n_steps - 1) // 54 for i in range(55)})
    assert len(steps) >= 50
    sizes = [n_bytes * i // 12 for i in range(1, 12)]
    points = [("step", n) for n in steps] + [("bytes", n) for n in sizes]
    deaths: Counter[int] = Counter()
    found: Counter[str] = Counter()
    for path, death, _ in drive(base, tmp_path, points):
        deaths[death] += 1
        left = content(path)
        assert left in (before, after), path
        found["whole" if left == after else "absent"] += 1
        with Store.open(path) as memory:
            assert memory.last_round() == (ROUND if left == after else BEFORE[-1])
            result = memory.record(ROUND, LAST, sm2.update)
            assert (result.n_reviews, result.n_audits, result.n_probes) == (130, 10, 10)
        assert content(path) == after, path
        path.unlink()
    assert deaths == {signal.SIGKILL: len(steps), signal.SIGXFSZ: len(sizes)}
    assert found["absent"] >= len(sizes)  # a log that was cut short holds no round


def test_what_was_committed_outlives_a_kill_right_after(base: Path, tmp_path: Path) -> None:
    """Nothing depends on closing."""
    [(whole, _, _), (killed, death, _)] = drive(base, tmp_path, [("whole", 0), ("after", 0)])
    assert death == signal.SIGKILL
    assert content(killed) == content(whole)
    with Store.open(killed) as memory:
        assert memory.result(ROUND).n_reviews == 130
        assert sum(1 for r in memory.reviews() if r.round == ROUND) == len(LAST)


def test_a_kill_while_the_log_is_copied_into_the_file_loses_nothing(tmp_path: Path) -> None:
    """The round is committed by then, and the copy begins anew at the next opening."""
    base, last = (
        tmp_path / "base.sqlite",
        [Review(task=f"t{i}", round=1, n_passed=3, n_graded=5) for i in range(20)],
    )
    with Store.open(base, seed=1) as memory:
        memory.add_tasks(f"t{i}" for i in range(8_000))
    [(whole, _, said)] = drive(base, tmp_path, [("whole", 0)], last)
    assert isinstance(said, list)
    after, log, file = content(whole), said[1], base.stat().st_size
    assert log < file, "so that a limit between the two stops the copying and not the commit"
    points = [("checkpoint", log + (file - log) * i // 8) for i in range(8)]
    for path, death, _ in drive(base, tmp_path, points, last):
        assert death == signal.SIGXFSZ
        assert path.read_bytes() != base.read_bytes(), "the copying had begun"
        assert content(path) == after
        with Store.open(path) as memory:
            assert memory.result(1).n_reviews == 20
