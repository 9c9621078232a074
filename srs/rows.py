"""Rows of a .jsonl, .json or .parquet file, or of a hub data set, each with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs.kodcode import COLUMNS, BadRow
from srs.types import UserError

SUFFIXES = (".jsonl", ".json", ".parquet")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[\w.-]+)?")

Place = str
"""``:12`` (line 12 of a .jsonl file) or ``: row 12``; rows count from 1."""


def read_file(path: Path) -> Iterator[tuple[Place, object | BadRow]]:
    """The rows in order, one in memory at a time for .jsonl and .parquet.

    A row that can't be decoded comes as a BadRow. Raises UserError when the file as a whole is unusable.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UserError(f"{path}: is a directory; name a file in it")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: the file is empty")
        match suffix:
            case ".jsonl":
                yield from _jsonl(path)
            case ".json":
                yield from _json(path)
            case _:
                yield from _parquet(path)
    except FileNotFoundError as e:
        raise UserError(f"{path}: no such file") from e
    except OSError as e:
        raise UserError(f"{path}: cannot read the file: {e.strerror or e}") from e


def is_hub_id(source: str) -> bool:
    """``owner/name`` or ``owner/name:split``, and not the name of a data file."""
    return HUB_ID.fullmatch(source) is not None and Path(source).suffix.lower() not in SUFFIXES


def read_hub(source: str) -> Iterator[tuple[Place, object]]:
    """The rows of ``owner/name[:split]`` (split ``train`` by default), downloaded or from the cache.

    Raises UserError when the hub can't be reached or has no such data set. With ``HF_HUB_OFFLINE=1``
    only the cache is asked.
    """
    import datasets
    import huggingface_hub

    name, _, split = source.partition(":")
    try:
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            # One quick question first: load_dataset retries for half a minute where there is no network.
            huggingface_hub.HfApi().dataset_info(name, timeout=20)
        data = datasets.load_dataset(name, split=split or "train")
    except Exception as e:  # the boundary to the hub: its HTTP library differs between versions
        reason = " ".join(str(e).split())[:200]
        raise UserError(
            f"{source}: cannot load it from the hub ({type(e).__name__}: {reason}); without network,"
            f" name a file ({', '.join(SUFFIXES)}) downloaded elsewhere, or set HF_HUB_OFFLINE=1 when"
            " the data set is in the cache"
        ) from e
    data = data.select_columns([c for c in COLUMNS if c in data.column_names])
    for number, row in enumerate(data, 1):
        yield f": row {number}", row


def _jsonl(path: Path) -> Iterator[tuple[Place, object | BadRow]]:
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as e:
                if number == 1:
                    raise UserError(f"{path}: not UTF-8 text (byte {e.start})") from e
                yield f":{number}", BadRow(f"not UTF-8 text (byte {e.start} of the line)")
                continue
            if text:
                yield f":{number}", _loads(text)


def _json(path: Path) -> Iterator[tuple[Place, object | BadRow]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not UTF-8 text (byte {e.start})") from e
    except json.JSONDecodeError as e:
        hint = "; one object per line is a .jsonl file" if e.msg == "Extra data" else ""
        raise UserError(f"{path}:{e.lineno}: not JSON: {e.msg}{hint}") from e
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: not JSON: {e}") from e
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of rows, got {type(rows).__name__}")
    for number, row in enumerate(rows, 1):
        yield f": row {number}", row


def _parquet(path: Path) -> Iterator[tuple[Place, object]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = [c for c in COLUMNS if c in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=columns):
            rows: list[dict[str, Any]] = batch.to_pylist()
            for row in rows:
                number += 1
                yield f": row {number}", row
    except pyarrow.ArrowException as e:
        raise UserError(f"{path}: not a readable parquet file: {' '.join(str(e).split())}") from e


def _loads(text: str) -> object | BadRow:
    try:
        row: object = json.loads(text)
    except json.JSONDecodeError as e:
        return BadRow(f"not JSON: {e.msg} (column {e.colno})")
    except (ValueError, RecursionError) as e:
        return BadRow(f"not JSON: {e}")
    return row
