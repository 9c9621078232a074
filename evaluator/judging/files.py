"""JSON Lines files: rows with their numbers in, whole files out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from srs.types import UserError

T = TypeVar("T")
SHOWN = 20
MAX_ID = 200
log = logging.getLogger(__name__)


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """Line number (from 1) and object of each line that isn't blank; why, for one that holds none.

    Raises UserError when the file can't be read.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as e:
        raise UserError(f"{path}: cannot read the file: {e.strerror}") from e
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as e:
            yield number, ValueError(f"not UTF-8 text (byte {e.start} of the line)")
        except json.JSONDecodeError as e:
            yield number, ValueError(f"not JSON: {e.msg} (column {e.colno})")
        except (ValueError, RecursionError) as e:
            yield number, ValueError(f"not JSON: {e}")
        else:
            if isinstance(row, dict):
                yield number, row
            else:
                yield number, ValueError(f"not a JSON object but {type(row).__name__}")


def read(
    path: Path, parse: Callable[[dict[str, Any]], T], what: str, *, skip_bad: bool = False
) -> list[T]:
    """Every row, parsed; ``parse`` raises ValueError saying what is wrong with its row.

    Raises UserError naming each bad line and its reason; with ``skip_bad`` they are logged instead.
    A file without a usable row is an error either way.
    """
    found: list[T] = []
    bad: list[str] = []
    for number, row in rows(path):
        try:
            if isinstance(row, ValueError):
                raise row
            found.append(parse(row))
        except ValueError as e:
            bad.append(f"{path}:{number}: {e}")
    if bad and not skip_bad:
        raise UserError(
            f"unusable {what} ({len(bad)} of {len(bad) + len(found)} lines; "
            f"--skip-bad leaves them out):\n  {listed(bad, sep=chr(10) + '  ')}"
        )
    for line in bad:
        log.warning("left out: %s", line)
    if not found:
        raise UserError(f"{path}: no {what} in it")
    return found


def write(path: Path, found: Iterable[Mapping[str, Any]]) -> None:
    """One object per line; the file appears whole. Raises UserError when it can't be written."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in found))


def write_text(path: Path, text: str) -> None:
    """The file appears whole, or stays as it was. Raises UserError when it can't be written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as e:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write it: {e.strerror}") from e


def listed(names: Iterable[str], sep: str = ", ") -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return sep.join(names[:SHOWN] + more)


def digest(*parts: object) -> str:
    """Twelve hexadecimal digits that depend on every part (JSON values)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()[:12]


def own_id(row: Mapping[str, Any], *names: str) -> str | None:
    """The id a row brings under the first of ``names`` that it has. Raises ValueError if unusable."""
    for name in names:
        if row.get(name) is not None:
            value = row[name]
            if not isinstance(value, str) or not value.strip() or len(value) > MAX_ID:
                raise ValueError(f"{name} must be text of 1 to {MAX_ID} characters")
            if not value.isprintable() or value != value.strip():
                raise ValueError(f"{name} has control characters or blanks at an end")
            return value
    return None


class Ids:
    """Gives each row of a file its id, once: its own, or one made from what it says.

    An id made from the content stays the same when a file is cut or reordered, so that answers never
    meet another task; identical rows get ``-2``, ``-3``, … in order.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._seen: set[str] = set()

    def take(self, own: str | None, *content: object) -> str:
        """Raises ValueError when an id that a row brought is there already."""
        if own is not None and own in self._seen:
            raise ValueError(f"id {own!r} is there already")
        made = name = own if own is not None else f"{self._kind}-{digest(*content)}"
        number = 1
        while name in self._seen:
            number += 1
            name = f"{made}-{number}"
        self._seen.add(name)
        return name


def text(row: Mapping[str, Any], key: str) -> str:
    """The text under ``key``. Raises ValueError when it is missing, empty or no text."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"{key} is {'missing' if key not in row else 'empty' if value in ('', None) else 'not text'}"
        )
    return value
