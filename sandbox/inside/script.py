"""A program with stdin and stdout, run in this process as the interpreter would run it."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import threading
import traceback
import types
from typing import Any

FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
LOST_OUTPUT = 120
"""The interpreter's own status when it can't flush its output at its end."""


def run(path: str) -> int:
    """Run a file as ``__main__`` as the interpreter would, threads and exit handlers included."""
    status = 0
    atexit._clear()
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.argv = [path]
    sys.path.insert(0, os.path.dirname(path))
    try:
        with open(path, "rb") as file:
            source = file.read()
        exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)
    except SystemExit as e:
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:  # whatever ends a script: a traceback and status 1
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    flushed = _flush(sys.stdout)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    _flush_files(main)
    sys.modules.pop("__main__", None)
    del main
    gc.collect()  # finalisers may print
    _flush(sys.stdout)
    return status & 0xFF or (0 if flushed else LOST_OUTPUT)


def _flush_files(main: types.ModuleType) -> None:
    """Those that the program left open: of a cycle, the lowest layer may be collected and closed first."""
    for value in [*main.__dict__.values()]:
        if issubclass(type(value), FILES):
            _flush(value)


def _flush(stream: Any) -> bool:
    """Whether nothing was lost. A program may leave any object as its output."""
    try:
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    except BaseException:  # the program's own stream, or a descriptor that it closed
        traceback.print_exc(file=sys.__stderr__)
        return False
    return True


def run_source(fd: int) -> int:
    """Run the program that the descriptor holds as ``solution.py`` of the working directory."""
    path = os.path.join(os.getcwd(), "solution.py")
    with open(fd, "rb") as source, open(path, "wb") as file:
        file.write(source.read())
    return run(path)
