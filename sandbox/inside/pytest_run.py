"""A test file in this process: collected and run by pytest, one record per test."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

from sandbox.inside import files, words
from sandbox.inside.tests import Record, TestFile

PYTEST_ARGS = [
    "--capture=no",
    "--tb=native",
    "--noconftest",
    "-q",
    "--import-mode=prepend",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:terminalreporter",
    "-p",
    "no:faulthandler",
    "-p",
    "no:doctest",
    "-p",
    "no:junitxml",
    "-p",
    "no:stepwise",
    "-p",
    "no:pastebin",
    "-p",
    "no:threadexception",
    "-p",
    "no:unraisableexception",
]
WARM_UP = """
import pytest
@pytest.mark.parametrize("n", [1, 2])
def test_ok(n, tmp_path, monkeypatch, capsys):
    print(n)
    with pytest.raises(ZeroDivisionError):
        n / 0
    assert [n] == [n]
class TestIt:
    def test_fails(self):
        assert [1, 2] == [1, 3]
"""


class Reporter:
    """The pytest plugin that sends one record per test, as soon as the test is over."""

    def __init__(self, send: Record, file: TestFile | None) -> None:
        self.send = send
        self.file = file
        self.failed_to_collect = False
        self.outcome = ""
        self.message = ""
        self.memory = False

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self.failed_to_collect = True
            self.send({"error": words.short(_crash_message(report))})

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.file is not None:
            items[:] = [i for i in items if self.file.wants(_test_id(i.nodeid))]

    def pytest_runtest_logstart(self) -> None:
        self.outcome, self.message, self.memory = "passed", "", False

    def pytest_exception_interact(self, call: Any) -> None:
        if isinstance(call.excinfo.value, MemoryError):
            self.memory = True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome == "passed" or self.outcome in ("failed", "error"):
            return
        if report.outcome == "skipped":
            self.outcome = "skipped"
        else:
            self.outcome = "failed" if report.when == "call" else "error"
        self.message = words.short(_crash_message(report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        name = _test_id(nodeid)
        self.send({"test": [name, self.outcome, self.message], "memory": self.memory})


def _test_id(nodeid: str) -> str:
    return nodeid.partition("::")[2]


def _crash_message(report: Any) -> str:
    if hasattr(report, "wasxfail"):
        return f"xfail: {report.wasxfail}"
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return str(crash.message)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    lines = str(report.longrepr or "").strip().splitlines()
    return lines[-1] if lines else "no reason given"


class Warm:
    """A pytest session that is started but has collected nothing, for ``<job>/test_solution.py``."""

    def __init__(self, job: str) -> None:
        self.path = test = os.path.join(job, "test_solution.py")
        self.args = [*PYTEST_ARGS, "--rootdir", job, "--confcutdir", job, "-c", os.devnull, test]
        files.write(test, WARM_UP)
        os.chdir(job)
        self._start()
        self.run(Reporter(lambda _: None, None))  # imports and caches what every session uses
        self.config._ensure_unconfigure()
        self._start()
        sys.modules.pop("test_solution", None)
        sys.path[:] = [p for p in sys.path if p != job]
        os.unlink(test)

    def _start(self) -> None:
        """Open a session whose one file is known, which spares each job the walk down to it."""
        import pytest
        from _pytest.assertion import rewrite
        from _pytest.config import _prepareconfig
        from _pytest.main import Session

        self.config = _prepareconfig(self.args)
        self.config._do_configure()
        self.session = Session.from_config(self.config)
        self.config.hook.pytest_sessionstart(session=self.session)
        path = Path(self.args[-1])
        self.session._initialpaths = frozenset({path})
        rewriting = self.config.stash[rewrite.assertstate_key].hook
        assert rewriting is not None
        rewriting.set_session(self.session)
        self.module = pytest.Module.from_parent(self.session, path=path)

    def run(self, reporter: Reporter) -> None:
        """Collect and run in this process. Raises what a program raises to stop pytest itself."""
        self.config.pluginmanager.register(reporter, "srs-reporter")
        hook = self.config.hook
        items = self.session.items
        items.extend(self.session.genitems(self.module))
        if reporter.failed_to_collect:
            return
        hook.pytest_collection_modifyitems(session=self.session, config=self.config, items=items)
        self.session.testscollected = len(items)
        reporter.send({"collected": [_test_id(item.nodeid) for item in items]})
        hook.pytest_runtestloop(session=self.session)

    def run_module(self, file: TestFile, record: Record) -> None:
        """Collect and run a file that leaves no trace (`shape.keeps_pytest_clean`): another may follow."""
        import pytest
        from _pytest import python

        def load(*_: Any, **__: Any) -> types.ModuleType:
            module = sys.modules["test_solution"] = types.ModuleType("test_solution")
            module.__file__ = self.path
            code = file.code or compile(file.source, self.path, "exec", dont_inherit=True)
            exec(code, module.__dict__)
            return module

        python.import_path = load  # type: ignore[attr-defined] # what collecting the module calls; its errors are worded as ever
        self.session.testsfailed = 0
        self.session.shouldstop = self.session.shouldfail = False
        self.module = pytest.Module.from_parent(self.session, path=Path(self.path))
        reporter = Reporter(record, file)
        self.run(reporter)
        self.config.pluginmanager.unregister(reporter)
        self._forget()

    def _forget(self) -> None:
        """Let go of the module and its tests: a thousand parametrized ones are megabytes."""
        self.session.items = []
        del self.module
        self.session._collection_cache.clear()
        fixtures: Any = self.session._fixturemanager
        for by_node in (*fixtures._arg2node2fixturedefs.values(), fixtures._node_autousenames):
            for node in [node for node in by_node if node is not self.session]:
                del by_node[node]


def run(warm: Warm, file: TestFile, record: Record) -> None:
    """Collect and run the file in this process, which is a fork of the one that made ``warm``."""
    from _pytest.assertion import rewrite

    code = file.code
    if code is not None:
        rewrite._rewrite_test = lambda *_: (b"", code)
    warm.run(Reporter(record, file))
