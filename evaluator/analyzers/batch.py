"""Many files in one call of a tool, none of which can spoil the result of another."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import subprocess
import tempfile
import tokenize
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evaluator.analyzers.finding import Analysis, AnalyzerError, ToolFailed

BATCH = 200
PROBE = "x = 1\n"
"""A file that every tool can read: where one fails on it, the tool is broken and not the file."""

Look = Callable[[Sequence[str]], Sequence[Analysis]]


def in_batches(tool: str, files: Sequence[str], look: Look, *, size: int = BATCH) -> list[Analysis]:
    """``look`` at all files that are readable Python, ``size`` at a time; the others are errors.

    A call that fails is split in halves until the file that broke it stands alone: hostile nesting
    makes Ruff abort, which would otherwise take the whole batch with it. Raises ToolFailed when the
    tool also fails on a harmless file.
    """
    results: list[Analysis | None] = []
    for code in files:
        reason = unreadable(code)
        results.append(AnalyzerError(tool=tool, reason=reason) if reason else None)
    waiting = [i for i, result in enumerate(results) if result is None]

    def settle(part: Sequence[int]) -> None:
        try:
            found = look([files[i] for i in part])
        except ToolFailed as e:
            if len(part) > 1:
                settle(part[: len(part) // 2])
                settle(part[len(part) // 2 :])
                return
            look([PROBE])
            found = [AnalyzerError(tool=tool, reason=f"the tool fails on it: {e}")]
        for i, result in zip(part, found, strict=True):
            results[i] = result

    for start in range(0, len(waiting), size):
        settle(waiting[start : start + size])
    return [result for result in results if result is not None]


def unreadable(code: str) -> str | None:
    """Why no tool may call this Python clean, or None: it doesn't parse, or says it is not UTF-8.

    A ``coding`` line would have the tool read another program than the one that was graded.
    """
    try:
        raw = code.encode()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        if encoding not in {"utf-8", "utf-8-sig"}:
            return f"declares the encoding {encoding}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about code that is only read
            ast.parse(code)
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no character"
    except SyntaxError as e:
        where = f"line {e.lineno}: " if e.lineno else ""
        return f"doesn't parse: {where}{e.msg}"
    except (ValueError, RecursionError, MemoryError) as e:
        return f"doesn't parse: {str(e) or type(e).__name__}"
    return None


@contextlib.contextmanager
def folder_of(files: Sequence[str], suffix: str = ".py") -> Iterator[tuple[Path, list[str]]]:
    """A folder that holds the files alone, and their names in order; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="analyze-") as folder:
        path = Path(folder)
        names = [f"c{i:05d}{suffix}" for i in range(len(files))]
        for name, code in zip(names, files, strict=True):
            (path / name).write_bytes(code.encode())
        yield path, names


def run_tool(
    argv: Sequence[str], folder: Path, *, timeout_s: float
) -> subprocess.CompletedProcess[bytes]:
    """The tool's exit status and output, run in ``folder``. Raises ToolFailed when it can't start or end."""
    try:
        return subprocess.run(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired as e:
        raise ToolFailed(f"{argv[0]}: no answer within {timeout_s:g} s") from e
    except OSError as e:
        raise ToolFailed(f"{argv[0]}: cannot be started: {e.strerror}") from e


def last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """The end of what a failed tool said, on one line."""
    said = (done.stderr or done.stdout).decode(errors="replace")
    return f"exit {done.returncode}: {' '.join(said.split())[-300:] or 'no message'}"
