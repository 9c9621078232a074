"""The review log as files for others: their columns, their order, and that they appear whole."""

import csv
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fsrs import Optimizer, Rating, ReviewLog

from memory import export
from memory.export import main
from memory.store import Store
from scheduler import fsrs, sm2
from scheduler.config import SchedulerConfig
from scheduler.policies import policy as policy_of
from srs.types import Review, ReviewKind

ROOT = Path(__file__).parents[2]


def review(task: str, round: int, n_passed: int, kind: ReviewKind = "practice") -> Review:
    return Review(task=task, round=round, n_passed=n_passed, n_graded=5, kind=kind)


LOG = [
    review('b, "quoted"', 1, 5),
    review("ä", 1, 0),
    review('b, "quoted"', 3, 4, "audit"),
    review("ä", 4, 5, "probe"),
    review("ä", 9, 3),
]


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    path = tmp_path / "memory.sqlite"
    with Store.open(path) as store:
        store.add_tasks(['b, "quoted"', "ä", "never tried"])
        for one in LOG:
            store.record(one.round, [one], sm2.update)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_every_review_by_round(memory: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.csv"
    assert main(["--memory", str(memory), "--format", "csv", "--out", str(out)]) == 0
    rows = rows_of(out)
    assert list(rows[0]) == ["task", "round", "kind", "n_passed", "n_graded"]
    found = [
        Review(
            task=row["task"],
            round=int(row["round"]),
            kind=row["kind"],  # type: ignore[arg-type]
            n_passed=int(row["n_passed"]),
            n_graded=int(row["n_graded"]),
        )
        for row in rows
    ]
    assert [r.round for r in found] == [1, 1, 3, 4, 9]
    assert sorted(found, key=str) == sorted(LOG, key=str)


def test_parquet_holds_what_csv_holds(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(export, "BATCH_ROWS", 2)
    out = tmp_path / "log.parquet"
    assert main(["--run", str(memory.parent), "--format", "parquet", "--out", str(out)]) == 0
    assert pq.ParquetFile(out).metadata.num_row_groups == 3
    with Store.open(memory, read_only=True) as store:
        assert [Review(**row) for row in pq.read_table(out).to_pylist()] == list(store.reviews())


def test_fsrs_is_by_card_in_days_with_the_ratings_of_the_policy(
    memory: Path, tmp_path: Path
) -> None:
    out = tmp_path / "revlog.csv"
    assert main(["--memory", str(memory), "--format", "fsrs", "--out", str(out)]) == 0
    rows = rows_of(out)
    assert list(rows[0]) == list(export.FSRS_COLUMNS)
    with Store.open(memory, read_only=True) as store:
        histories = [
            (card, [r for r in history if r.kind != "probe"]) for card, history in store.histories()
        ]
    expected = [(card, r) for card, history in histories for r in history]
    assert len(rows) == len(expected) == 4
    days = [datetime.fromtimestamp(int(row["review_time"]) / 1000, UTC).toordinal() for row in rows]
    for row, (card, r), day in zip(rows, expected, days, strict=True):
        assert int(row["card_id"]) == card
        assert int(row["review_rating"]) == fsrs.rating(r)
        assert day - days[0] == r.round - expected[0][1].round
        assert row["review_duration"] == "0"
    assert [row["review_state"] for row in rows] == ["0", "2", "0", "2"]


def test_the_fsrs_log_feeds_an_optimiser_whose_weights_the_policy_takes(tmp_path: Path) -> None:
    """Tasks that fail whenever they come back surprise the weights fitted to them less than the defaults."""
    path, out = tmp_path / "memory.sqlite", tmp_path / "revlog.csv"
    with Store.open(path) as store:
        store.add_tasks(f"t{i}" for i in range(300))
        for round in (1, 4, 10):
            store.record(
                round, [review(f"t{i}", round, 5 * (round == 1)) for i in range(300)], sm2.update
            )
    assert main(["--memory", str(path), "--format", "fsrs", "--out", str(out)]) == 0
    log = [
        ReviewLog(
            card_id=int(row["card_id"]),
            rating=Rating(int(row["review_rating"])),
            review_datetime=datetime.fromtimestamp(int(row["review_time"]) / 1000, UTC),
            review_duration=None,
        )
        for row in rows_of(out)
    ]

    def surprise(weights: Sequence[float]) -> float:
        rules = policy_of(SchedulerConfig(policy="fsrs", fsrs_parameters=tuple(weights)))
        card, total = rules.update(None, review("t", 1, 5)), 0.0
        for failure in (review("t", 4, 0), review("t", 10, 0)):
            total -= math.log(1 - (rules.predict(card, failure.round) or 0.0))
            card = rules.update(card, failure)
        return total

    assert surprise(Optimizer(log).compute_optimal_parameters()) < surprise(()) - 0.1


@pytest.mark.parametrize("format", ["csv", "parquet", "fsrs"])
def test_an_empty_log_is_a_file_without_rows(tmp_path: Path, format: str) -> None:
    path, out = tmp_path / "memory.sqlite", tmp_path / "out"
    Store.open(path).close()
    assert main(["--memory", str(path), "--format", format, "--out", str(out)]) == 0
    if format == "parquet":
        import pyarrow.parquet as pq

        assert pq.read_table(out).column_names == list(export.COLUMNS)
    else:
        assert len(out.read_text().splitlines()) == 1


def test_a_run_that_is_being_written_can_be_exported(memory: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.csv"
    with Store.open(memory) as store:
        store.record(12, [review("ä", 12, 5)], sm2.update)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "memory.export",
                "--run",
                tmp_path,
                "--format",
                "csv",
                "--out",
                out,
            ],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}: 6 reviews\n", "")


def test_what_cannot_be_used_is_told_in_one_line(
    memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = memory.read_bytes()
    for arguments, words in (
        (["--run", str(tmp_path / "none"), "--out", str(tmp_path / "o")], "no memory file here"),
        (["--memory", str(memory), "--out", str(tmp_path / "none/o")], "none/o: cannot be written"),
        (["--memory", str(memory), "--out", str(memory)], "is the memory itself"),
        (["--memory", str(memory), "--out", str(tmp_path)], "cannot be written"),
    ):
        assert main([*arguments, "--format", "csv"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("memory.export: ")
        assert words in said
        assert said.count("\n") == 1
    assert memory.read_bytes() == before
    # A reader can't remove the log that it had to make to read.
    assert {p.name for p in tmp_path.iterdir()} <= {
        f"memory.sqlite{s}" for s in ("", "-wal", "-shm")
    }


def test_a_file_appears_whole_or_keeps_what_it_was(tmp_path: Path) -> None:
    out = tmp_path / "log.csv"
    out.write_text("what was there")

    def broken() -> Iterator[Review]:
        yield LOG[0]
        raise OSError(28, os.strerror(28))

    with pytest.raises(Exception, match=r"log\.csv: cannot be written: No space left"):
        export.write_csv(out, broken())
    assert out.read_text() == "what was there"
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


def test_a_long_log_is_never_held(tmp_path: Path) -> None:
    """Ten times the reviews, the same memory."""
    peaks = []
    for n in (5_000, 50_000):
        log = (review(f"t{i % 100}", i // 100, i % 6) for i in range(n))
        tracemalloc.start()
        assert export.write_csv(tmp_path / "log.csv", log) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000
