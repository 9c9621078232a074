"""The worker: a fork server that runs one untrusted program at a time and reports what it saw.

One file, standard library and pytest only: the Docker image holds a copy of it, the process backend
starts it from here. It speaks frames on stdin and stdout (4 bytes of length, then JSON): one "ready"
frame, then one answer per job. It ends when its stdin closes, and takes everything it started along.

Per job, the program runs in a fork of this process, in which pytest is warm already. What the fork
reports goes over a pipe of its own; a verdict never rests on an exit code, and is never delayed until
a pipe closes: the job ends at the last report, at the deadline, or when its process is gone.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

MESSAGE_CHARS = 600
FILE_MIB = 64
REPORT_BYTES_MAX = 8 << 20
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "USER": "candidate",
    "LOGNAME": "candidate",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
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
libc = ctypes.CDLL(None, use_errno=True)


# Frames ---------------------------------------------------------------------------------------------


def pack(message: dict[str, Any]) -> bytes:
    """One frame. JSON's ASCII form carries null characters and lone surrogates unharmed."""
    body = json.dumps(message).encode("ascii")
    return len(body).to_bytes(4, "big") + body


def _read_exactly(fd: int, n: int) -> bytes:
    parts = bytearray()
    while len(parts) < n:
        chunk = os.read(fd, n - len(parts))
        if not chunk:
            raise EOFError
        parts += chunk
    return bytes(parts)


def _receive(fd: int) -> dict[str, Any]:
    size = int.from_bytes(_read_exactly(fd, 4), "big")
    message: dict[str, Any] = json.loads(_read_exactly(fd, size))
    return message


def _send(fd: int, message: dict[str, Any]) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(fd, data) :]


# Files ----------------------------------------------------------------------------------------------


def clear(directory: bytes) -> None:
    """Empty ``directory``. Never recurses: each subdirectory is first moved to the top level.

    However deep a program nests directories and whatever modes it gives them, every path used here
    is short. What belongs to somebody else is left alone.
    """
    moved = 0
    pending = [directory]
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError):  # /tmp belongs to root, and is emptied all the same
            os.chmod(current, 0o700)
        with contextlib.suppress(OSError):
            with os.scandir(current) as entries:
                found = list(entries)
            for entry in found:
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)
                    moved += 1
                    target = os.path.join(directory, b".trash-%d" % moved)
                    os.rename(entry.path, target)
                    pending.append(target)
            if current != directory:
                os.rmdir(current)


def _write_source(path: str, text: str) -> None:
    with open(path, "wb") as file:
        file.write(text.encode("utf-8", "surrogatepass"))


# The pytest side, in the fork -----------------------------------------------------------------------


def own_test_names(test: str) -> frozenset[str] | None:
    """Top-level names that the test file itself defines; None when it doesn't parse.

    Tests that an import brings into the file are not tests of the file.
    """
    try:
        tree = ast.parse(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names: set[str] = set()
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        else:
            for field in ("body", "orelse", "finalbody"):
                pending += getattr(node, field, [])
            for handler in getattr(node, "handlers", []):
                pending += handler.body
    return frozenset(names)


def _short(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8").strip()
    return text if len(text) <= MESSAGE_CHARS else text[: MESSAGE_CHARS - 1] + "…"


class Reporter:
    """The pytest plugin that sends one record per test, as soon as the test is over."""

    def __init__(self, send: Callable[[dict[str, Any]], None], own: frozenset[str] | None) -> None:
        self.send = send
        self.own = own
        self.failed_to_collect = False
        self.outcome = ""
        self.message = ""
        self.memory = False

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self.failed_to_collect = True
            self.send({"error": _short(_crash_message(report))})

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.own is not None:
            items[:] = [i for i in items if _top_name(i.nodeid) in self.own]

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
        self.message = _short(_crash_message(report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        name = _test_id(nodeid)
        self.send({"test": [name, self.outcome, self.message], "memory": self.memory})


def _test_id(nodeid: str) -> str:
    return nodeid.partition("::")[2]


def _top_name(nodeid: str) -> str:
    return _test_id(nodeid).split("::")[0].split("[")[0]


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
        test = os.path.join(job, "test_solution.py")
        self.args = [*PYTEST_ARGS, "--rootdir", job, "--confcutdir", job, "-c", os.devnull, test]
        _write_source(test, WARM_UP)
        os.chdir(job)
        self._start()
        self.run(Reporter(lambda _: None, None))  # imports and caches what every session uses
        self.config._ensure_unconfigure()
        self._start()
        sys.modules.pop("test_solution", None)
        sys.path[:] = [p for p in sys.path if p != job]
        self.test: str | None = None
        self.code: types.CodeType | None = None
        self.own: frozenset[str] | None = None
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

    def prepare(self, test: str) -> None:
        """Read, rewrite and compile the test file before the fork, once for all candidates of a task."""
        from _pytest.assertion import rewrite

        if test == self.test:
            return
        self.test, self.own, self.code = test, own_test_names(test), None
        path = self.args[-1]
        source = test.encode("utf-8", "surrogatepass")
        # A file that doesn't compile is left for the fork, where pytest words the error.
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.parse(source, filename=path)
            rewrite.rewrite_asserts(tree, source, path, self.config)
            self.code = compile(tree, path, "exec", dont_inherit=True)

    def use_prepared(self) -> None:
        from _pytest.assertion import rewrite

        code = self.code
        if code is not None:
            rewrite._rewrite_test = lambda *_: (b"", code)


def _run_pytest(warm: Warm, report_fd: int) -> None:
    def send(record: dict[str, Any]) -> None:
        os.write(report_fd, json.dumps(record).encode("ascii") + b"\n")

    warm.use_prepared()
    reporter = Reporter(send, warm.own)
    try:
        warm.run(reporter)
    except (
        BaseException
    ) as e:  # the program stopped pytest: SystemExit, KeyboardInterrupt, pytest.exit
        send({"stopped": _short(f"{type(e).__name__}: {e}")})
    send({"done": True})


def _run_script(path: str) -> int:
    """Run a file as ``__main__`` as the interpreter would, threads and exit handlers included."""
    import atexit
    import threading
    import traceback

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
    sys.stdout.flush()
    return status & 0xFF


# One job, seen from the worker -----------------------------------------------------------------------


class Watch:
    """The descriptors of one fork, read until its last report, its end, or the deadline."""

    def __init__(self, pid: int, report: int, out: int, err: int, stdin: int) -> None:
        self.pid = pid
        self.report, self.out, self.err, self.stdin = report, out, err, stdin
        self.records = bytearray()
        self.output = {out: bytearray(), err: bytearray()}
        self.done = False
        self.status: int | None = None

    def until(self, deadline: float, output_limit: int) -> str:
        """Why it ended: ``finished``, ``timeout``, ``output_limit`` or ``died``."""
        gone = os.pidfd_open(self.pid)
        poll = select.poll()
        for fd in (self.report, self.out, self.err, gone):
            poll.register(fd, select.POLLIN)
        poll.register(self.stdin, 0)  # reports only a hang-up: nobody waits for this job any more
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "timeout"
                ready = dict(poll.poll(left * 1000 + 1))
                if self.stdin in ready:
                    raise EOFError
                for fd in (self.report, self.out, self.err):
                    if fd in ready and not self._read(fd):
                        poll.unregister(fd)
                if self.done:
                    self._drain()
                    return "finished"
                if sum(map(len, self.output.values())) > output_limit:
                    return "output_limit"
                if len(self.records) > REPORT_BYTES_MAX:
                    return "died"
                if gone in ready:
                    self._drain()
                    _, self.status = os.waitpid(self.pid, 0)
                    return "finished" if self.done else "died"
        finally:
            os.close(gone)

    def _read(self, fd: int) -> bool:
        try:
            chunk = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        if fd == self.report:
            self.records += chunk
            self.done = self.done or b'{"done": true}\n' in self.records[-64:]
        else:
            self.output[fd] += chunk
        return bool(chunk)

    def _drain(self) -> None:
        """What was written before the end is still in the pipes: at most one pipe's worth each."""
        for fd in (self.report, self.out, self.err):
            os.set_blocking(fd, False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(16):
                    chunk = os.read(fd, 1 << 16)
                    if not chunk:
                        break
                    if fd == self.report:
                        self.records += chunk
                    else:
                        self.output[fd] += chunk
        self.done = self.done or b'{"done": true}\n' in self.records[-64:]

    def parsed(self) -> Iterator[dict[str, Any]]:
        """The records that arrived whole. A program can write there too: what isn't one is skipped."""
        for line in bytes(self.records).split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError):
                record = json.loads(line)
                if _is_record(record):
                    yield record


def _is_record(record: object) -> bool:
    match record:
        case {"error": str()} | {"stopped": str()} | {"done": True}:
            return True
        case {"collected": [*ids]}:
            return all(isinstance(i, str) for i in ids)
        case {"test": [str(), "passed" | "failed" | "error" | "skipped", str()], "memory": bool()}:
            return True
    return False


class Worker:
    """Serves jobs one after another; ``options`` are the frame-like settings of the command line."""

    def __init__(self, root: str, options: dict[str, Any], stdin: int, stdout: int) -> None:
        self.root, self.stdin, self.stdout = root, stdin, stdout
        self.alone: bool = options["alone"]  # in a PID namespace of our own, as its first process
        self.scratch = [os.fsencode(d) for d in options["scratch"]]
        self.nproc: bool = options["nproc"]
        self.job = os.path.join(root, "job")
        os.makedirs(self.job, exist_ok=True)
        os.environ.update(HOME=self.job, TMPDIR=os.path.join(self.job, "tmp"))
        os.makedirs(os.environ["TMPDIR"], exist_ok=True)
        self.warm = Warm(self.job)
        os.chdir(root)
        self.clean()
        gc.collect()
        gc.freeze()
        gc.disable()  # each fork turns it on again for itself

    def clean(self) -> None:
        os.makedirs(self.job, exist_ok=True)
        clear(os.fsencode(self.job))
        for directory in self.scratch:
            clear(directory)

    def serve(self) -> None:
        while True:
            job = _receive(self.stdin)
            try:
                answer = self.script(job) if job["test"] is None else self.tests(job)
            finally:
                self.kill_all()
            _send(self.stdout, answer)
            self.clean()

    def tests(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run one pytest job. The answer has ExecResult's fields, as JSON."""
        start = time.monotonic()
        self._lay_out(job)
        self.warm.prepare(job["test"])
        _write_source(os.path.join(self.job, "test_solution.py"), job["test"])
        watch = self._fork(job, os.devnull, lambda fd: _run_pytest(self.warm, fd))
        try:
            ended = watch.until(start + job["timeout_s"], job["output_kib"] << 10)
        finally:
            self._close(watch)
        answer: dict[str, Any] = {"status": ended, "collected": [], "reports": [], "detail": ""}
        memory, seen = False, set()
        for record in watch.parsed():
            if "error" in record and ended == "finished":
                answer["status"], answer["detail"] = "error", record["error"]
            if "stopped" in record and ended == "finished":
                answer["status"], answer["detail"] = "died", record["stopped"]
            answer["collected"] = record.get("collected", answer["collected"])
            if "test" in record:
                name, outcome, message = record["test"]
                if name not in seen:
                    answer["reports"].append({"id": name, "outcome": outcome, "message": message})
                seen.add(name)
                memory = memory or record["memory"]
        if answer["status"] == "died" and watch.status is not None:
            killed = os.WIFSIGNALED(watch.status) and os.WTERMSIG(watch.status) == signal.SIGKILL
            memory = memory or (killed and self._oom_happened())
            answer["detail"] = _ending(watch.status)
        if memory and answer["status"] in ("finished", "died"):
            answer["status"] = "memory"
        answer["wall_s"] = time.monotonic() - start
        return answer

    def script(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run a stdin/stdout job: one fork per case, all within the job's one time limit."""
        start = time.monotonic()
        answer: dict[str, Any] = {"status": "finished", "reports": [], "outputs": [], "detail": ""}
        answer["collected"] = [f"case-{i}" for i in range(len(job["stdin"]))]
        solution, path = os.path.join(self.job, "solution.py"), os.path.join(self.root, "stdin")
        for name, text in zip(answer["collected"], job["stdin"], strict=True):
            self._lay_out(job)
            _write_source(path, text)
            watch = self._fork(job, path, lambda _: os._exit(_run_script(solution)))
            try:
                ended = watch.until(start + job["timeout_s"], job["output_kib"] << 10)
            finally:
                self._close(watch)
                self.kill_all()
                self.clean()
            if ended != "died":
                answer["status"] = ended
                break
            status = watch.status or 0
            answer["outputs"].append(bytes(watch.output[watch.out]).decode("utf-8", "replace"))
            error = bytes(watch.output[watch.err]).decode("utf-8", "backslashreplace").strip()
            message = "" if status == 0 else error.splitlines()[-1] if error else _ending(status)
            outcome = "failed" if status else "passed"
            answer["reports"].append({"id": name, "outcome": outcome, "message": _short(message)})
            if (os.WIFSIGNALED(status) and self._oom_happened()) or "MemoryError" in message:
                answer["status"], answer["detail"] = "memory", message
                break
        answer["wall_s"] = time.monotonic() - start
        return answer

    def _lay_out(self, job: dict[str, Any]) -> None:
        os.mkdir(os.environ["TMPDIR"])
        _write_source(os.path.join(self.job, "solution.py"), job["solution"])
        self.oom_before = _oom_kills()

    def _oom_happened(self) -> bool:
        return _oom_kills() > self.oom_before

    def _fork(self, job: dict[str, Any], stdin: str, program: Callable[[int], object]) -> Watch:
        pipes = [os.pipe() for _ in range(3)]
        sys.stdout.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_candidate(job, self.job, parent, stdin, [w for _, w in pipes], self.nproc)
            try:
                program(3)
                os._exit(0)
            finally:  # whatever a program does to this interpreter, no fork goes on as a worker
                os._exit(70)
        for _, write in pipes:
            os.close(write)
        report, out, err = (r for r, _ in pipes)
        return Watch(pid, report, out, err, self.stdin)

    def _close(self, watch: Watch) -> None:
        for fd in (watch.report, watch.out, watch.err):
            os.close(fd)

    def kill_all(self) -> None:
        """Kill and reap everything that the last job left, daemons in sessions of their own included."""
        while True:
            if self.alone:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(-1, signal.SIGKILL)
            else:
                for pid in _children(os.getpid()):
                    for kill in (os.killpg, os.kill):
                        with contextlib.suppress(ProcessLookupError, PermissionError):
                            kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def _children(pid: int) -> list[int]:
    """Direct children. Orphans become the worker's own, so that repeating this reaches every descendant."""
    result = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path("/proc", name, "stat").read_bytes()
                if int(stat.rpartition(b")")[2].split()[1]) == pid:
                    result.append(int(name))
    return result


def _oom_kills() -> int:
    """How many processes the memory limit of our control group has killed so far."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError):
            for line in Path(path).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"killed by signal {number} ({signal.strsignal(number)})"
    return f"the process ended by itself with status {os.WEXITSTATUS(status)}"


def _become_candidate(
    job: dict[str, Any], directory: str, parent: int, stdin: str, writes: list[int], nproc: bool
) -> None:
    """In the fork, before any foreign code: own session, three pipes and nothing else, limits."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(72)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # or its own /proc/self would belong to root
    os.setsid()
    high = [os.dup2(fd, 100 + i) for i, fd in enumerate(writes)]
    source = os.open(stdin, os.O_RDONLY)
    os.dup2(source, 0)
    for fd, target in zip(high, (3, 1, 2), strict=True):
        os.dup2(fd, target, inheritable=target < 3)
    os.closerange(4, 1 << 16)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):  # so that the candidate goes before its worker does
        Path("/proc/self/oom_score_adj").write_text("1000")
    memory = job["memory_mib"] << 20
    limits = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_AS: memory + (2 << 30),
        resource.RLIMIT_FSIZE: FILE_MIB << 20,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 512,
    }
    if nproc:
        limits[resource.RLIMIT_NPROC] = job["processes"]
    for which, value in limits.items():
        resource.setrlimit(which, (value, value))
    os.chdir(directory)
    import random
    import tempfile

    tempfile.tempdir = None
    random.seed(0)  # the same program gets the same numbers, whichever worker runs it
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    gc.enable()


# Start -----------------------------------------------------------------------------------------------


def main() -> NoReturn:
    options = json.loads(sys.argv[1])
    stdin, stdout = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(
        PR_SET_DUMPABLE, 0, 0, 0, 0
    )  # no other process of this uid reads or writes our memory
    import pytest

    worker = Worker(options["root"], options, stdin, stdout)
    version = ".".join(map(str, sys.version_info[:3]))
    identity = f"{sys.implementation.name} {version}, pytest {pytest.__version__}"
    _send(stdout, {"ready": True, "identity": identity, "not_covered": options["not_covered"]})
    try:
        worker.serve()
    except (EOFError, BrokenPipeError):
        worker.kill_all()
        worker.clean()
        clear(os.fsencode(worker.root))
        with contextlib.suppress(OSError):  # a mount point stays, and goes with its namespace
            os.rmdir(worker.root)
    os._exit(0)


if __name__ == "__main__":
    main()
