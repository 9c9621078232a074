"""Writes a run's review log: ``python -m memory.export --run DIR --format csv|parquet|fsrs --out FILE``.

``csv`` and ``parquet``: task, round, kind, n_passed, n_graded, by round. ``fsrs``: what fsrs-optimizer and
py-fsrs' optimiser are fitted to, by card; docs/memory.md says how a round becomes a day. A run that is
still going can be exported: the file holds the rounds recorded when the export began.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from memory.store import Store
from srs.types import Review, UserError

COLUMNS = ("task", "round", "kind", "n_passed", "n_graded")
FSRS_COLUMNS = ("card_id", "review_time", "review_rating", "review_state", "review_duration")
DAY_MS = 86_400_000
ROUND_0_MS = 1_577_880_000_000
"""2020-01-01, noon UTC: after the year before which fsrs-optimizer drops reviews, and far from both the
midnight and the four o'clock at which its day may begin."""
FIRST, LATER = 0, 2
"""``review_state``: new, review. There are no learning steps, so never learning or relearning."""
BATCH_ROWS = 65_536


def write_csv(path: Path, reviews: Iterable[Review]) -> int:
    """One line per review. Returns how many; raises UserError when the file can't be written."""
    return _write_rows(
        path, COLUMNS, ((r.task, r.round, r.kind, r.n_passed, r.n_graded) for r in reviews)
    )


def write_parquet(path: Path, reviews: Iterable[Review]) -> int:
    """One row per review, in row groups of 65,536. Returns how many; raises UserError as `write_csv`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = (pa.string(), pa.int32(), pa.dictionary(pa.int8(), pa.string()), pa.int32(), pa.int32())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    n = 0
    with _whole(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        source = iter(reviews)
        while batch := list(itertools.islice(source, BATCH_ROWS)):
            columns = {name: [getattr(review, name) for review in batch] for name in COLUMNS}
            writer.write_table(pa.table(columns, schema=schema))
            n += len(batch)
    return n


def write_fsrs(
    path: Path, histories: Iterable[tuple[int, list[Review]]], rating: Callable[[Review], int]
) -> int:
    """One line per practice or audit, by card, oldest first; probes are left out.

    ``histories``: each card's number with its reviews. ``rating``: 1 again, 2 hard, 3 good, 4 easy.
    Returns how many lines; raises UserError as `write_csv`.
    """

    def rows() -> Iterator[tuple[int, int, int, int, int]]:
        for card, history in histories:
            state = FIRST
            for review in history:
                if review.kind != "probe":
                    yield card, ROUND_0_MS + review.round * DAY_MS, rating(review), state, 0
                    state = LATER

    return _write_rows(path, FSRS_COLUMNS, rows())


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    n = 0
    with _whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for n, row in enumerate(rows, start=1):  # noqa: B007
            writer.writerow(row)
    return n


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes ``path`` when the block is done; nothing stays if it isn't."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as e:
        raise UserError(f"{path}: cannot be written: {e.strerror or e}") from e
    finally:
        partial.unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit 0 when the file is written, 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m memory.export", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="DIR", help="a run directory")
    source.add_argument("--memory", type=Path, metavar="FILE", help="a memory file")
    parser.add_argument("--format", choices=("csv", "parquet", "fsrs"), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="replaced if there")
    args = parser.parse_args(argv)
    try:
        memory: Path = args.memory or args.run / "memory.sqlite"
        if args.out.exists() and memory.exists() and args.out.samefile(memory):
            raise UserError(f"{args.out}: is the memory itself: choose another --out")
        with Store.open(memory, read_only=True) as store:
            match args.format:
                case "csv":
                    n = write_csv(args.out, store.reviews())
                case "parquet":
                    n = write_parquet(args.out, store.reviews())
                case _:
                    from scheduler.fsrs import rating

                    n = write_fsrs(args.out, store.histories(), rating)
    except UserError as e:
        print(f"memory.export: {e}", file=sys.stderr)
        return 2
    print(f"{args.out}: {n:,} reviews")
    return 0


if __name__ == "__main__":
    sys.exit(main())
