"""A plain test file in this process, without pytest around it: its functions called in order."""

from __future__ import annotations

import linecache
import sys
import types

from sandbox.inside import asserting, words
from sandbox.inside.tests import Record, TestFile


def run(file: TestFile, path: str, record: Record) -> None:
    """One record per test, as pytest's reporter sends them. Raises what stops pytest itself."""
    assert file.code is not None
    module = types.ModuleType("test_solution")
    module.__file__ = path
    module.__dict__[asserting.SAY] = asserting.say
    sys.modules["test_solution"] = module
    if "getsource" in file.source:
        linecache.cache[path] = (
            len(file.source),
            None,
            file.source.splitlines(keepends=True),
            path,
        )
    try:
        exec(file.code, module.__dict__)
    except Exception as e:
        record({"error": words.exception(e)})
        return
    tests = [
        (name, value)
        for name, value in module.__dict__.items()
        if name.startswith("test") and callable(value) and file.wants(name)
    ]
    record({"collected": [name for name, _ in tests]})
    for name, test in tests:
        outcome, message, memory = "passed", "", False
        try:
            test()
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            outcome, message, memory = "failed", words.exception(e), isinstance(e, MemoryError)
        record({"test": [name, outcome, message], "memory": memory})
