"""A child process that answers requests: one JSON line in, a stream of JSON lines out.

    parent                                             child: python -m srs.child module:function
    stdin   {"id", "call", "arguments"}  ────────────►  handler.call(**arguments) yields items
    pipe    ◄────────  {"ready"} | {"id", "item"} | {"id", "done"} | {"id"?, "error", "user"}

The child's stdout and stderr go to a log file. It runs in its own session, so Ctrl-C in the terminal
reaches only the parent, and it ends with all its own children when the parent does, however that ends.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, Self

from srs.types import UserError

LAST_LINES = 12
CLOSE_S = 10.0
PR_SET_PDEATHSIG = 1


class ChildError(Exception):
    """A model process failed or died. The message ends with its log's path and last lines."""


class Handler(Protocol):
    """What serves a child's requests. Each public method named by a request yields JSON-ready items.

    One that has processes in other sessions also has ``close()``, called before an idle child ends: it
    returns, within `CLOSE_S`, when they are gone.
    """

    def describe(self) -> dict[str, Any]:
        """Sent once, when the child is ready."""
        ...


class Child:
    """The parent's end. Construction returns at once; the child starts in the background.

    ``target`` is ``module:function``; the function gets ``arguments`` and returns a `Handler`.
    One request at a time. Construct it from a thread that lives as long as the child should.
    """

    def __init__(
        self,
        name: str,
        target: str,
        arguments: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        log_path: Path,
    ) -> None:
        self.name = name
        self.log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        read_fd, write_fd = os.pipe()
        with log_path.open("ab") as log:
            self._log_start = log.tell()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "srs.child", target, str(write_fd), str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=_with_import_path(environment),
                    pass_fds=(write_fd,),
                    start_new_session=True,
                )
            except BaseException:
                os.close(read_fd)
                raise
            finally:
                os.close(write_fd)
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(
            target=_read_lines, args=(os.fdopen(read_fd, "rb"), self._answers), daemon=True
        )
        self._reader.start()
        self._requests = 0
        self._ready: dict[str, Any] | None = None
        self._closed = False
        self._send({"arguments": dict(arguments)}, starting=True)

    def ready(self) -> dict[str, Any]:
        """Wait until the child can serve; its description. Raises UserError, ChildError."""
        while self._ready is None:
            self._ready = self._next().get("ready")
        return self._ready

    def stream(self, call: str, **arguments: Any) -> Iterator[Any]:
        """Send a request now and yield its items as they come, read ahead without bound.

        An iterator that is dropped leaves the child working; its late answers are skipped.
        Raises UserError, ChildError.
        """
        self.ready()
        self._requests += 1
        self._send({"id": self._requests, "call": call, "arguments": arguments})
        return self._items(self._requests)

    def call(self, call: str, **arguments: Any) -> Any:
        """The one item that a request yields."""
        (item,) = self.stream(call, **arguments)
        return item

    def close(self) -> None:
        """End the child and everything it started; at most `CLOSE_S` seconds. Idempotent."""
        if self._closed:
            return
        self._closed = True
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._reader.join(CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _items(self, request: int) -> Iterator[Any]:
        while True:
            answer = self._next(request)
            if answer.get("id") != request:
                continue
            if "done" in answer:
                return
            yield answer["item"]

    def _send(self, message: dict[str, Any], *, starting: bool = False) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as e:
            if not starting:  # a child that died this early says why when it is waited for
                raise self._died() from e

    def _next(self, request: int | None = None) -> dict[str, Any]:
        while True:
            try:
                answer = self._answers.get(timeout=1.0)
            except queue.Empty:
                # A grandchild may hold the pipe open after the child is gone.
                if self._process.poll() is None or not self._answers.empty():
                    continue
                answer = None
            if answer is None:
                raise self._died()
            if "error" not in answer or answer.get("id") not in (None, request):
                return answer
            if answer["user"]:
                raise UserError(answer["error"])
            raise ChildError(f"{self.name} failed: {answer['error']}{self._log_tail()}")

    def _died(self) -> ChildError:
        if self._closed:
            return ChildError(f"{self.name} is closed")
        try:
            code = self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            how = "stopped answering"
        else:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited ({code})"
        if how.endswith("SIGKILL"):
            how += ", perhaps for lack of memory"
        return ChildError(f"the {self.name} process {how}{self._log_tail()}")

    def _log_tail(self) -> str:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = collections.deque(log, maxlen=LAST_LINES)
        text = "".join(f"\n  {line.decode(errors='replace').rstrip()}" for line in lines)
        return f"\n{self.log_path} ends:{text}"


def _with_import_path(environment: Mapping[str, str]) -> dict[str, str]:
    """The child must find this package whatever its working directory."""
    here = str(Path(__file__).resolve().parents[1])
    known = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": f"{here}{os.pathsep}{known}" if known else here}


def _read_lines(pipe: IO[bytes], answers: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    with pipe:
        for line in pipe:
            if line.endswith(b"\n"):  # a dying child may leave half a line
                answers.put(json.loads(line))
    answers.put(None)


def main(target: str, answer_fd: int, parent: int) -> int:
    """The child's life: build the handler, say ready, serve until stdin ends."""
    os.set_inheritable(answer_fd, False)
    # The whole group ends with the parent, should stdin be held open elsewhere.
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    die_with(parent)
    requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    busy, ended = threading.Event(), threading.Event()
    busy.set()
    threading.Thread(target=_watch_stdin, args=(requests, busy, ended), daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    with os.fdopen(answer_fd, "w", encoding="utf-8") as answers:

        def answer(**message: Any) -> None:
            answers.write(json.dumps(message) + "\n")
            answers.flush()

        first = requests.get()
        if first is None:
            return 0
        gc.disable()  # importing torch and vllm takes 8 s rather than 12 without collections
        try:
            handler = resolve(target)(**first["arguments"])
            answer(ready=handler.describe())
        except Exception as e:  # the boundary: the parent raises it
            _report(e, answer)
            return 1
        gc.enable()
        while True:
            busy.clear()
            request = requests.get()
            if request is not None:
                busy.set()
            if request is None or ended.is_set():
                if hasattr(handler, "close"):
                    handler.close()
                return 0
            try:
                for item in getattr(handler, request["call"])(**request["arguments"]):
                    answer(id=request["id"], item=item)
                busy.clear()  # first: whoever hears that we are done may close at once
                answer(id=request["id"], done=True)
            except Exception as e:  # the boundary: the parent raises it
                _report(e, answer, id=request["id"])


def _report(error: Exception, answer: Any, **where: Any) -> None:
    traceback.print_exc()
    sys.stderr.flush()
    is_user = isinstance(error, UserError)
    text = str(error) if is_user else f"{type(error).__name__}: {error}".strip().split("\n")[0]
    answer(**where, error=text, user=is_user)


def resolve(target: str) -> Any:
    """What ``module:function`` names."""
    import importlib

    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)


def _watch_stdin(
    requests: queue.SimpleQueue[dict[str, Any] | None],
    busy: threading.Event,
    ended: threading.Event,
) -> None:
    """Queue requests; when stdin ends, let an idle child finish and end a busy one at once."""
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    requests.put(None)
    ended.set()
    if busy.is_set():
        os.killpg(0, signal.SIGKILL)


def die_with(parent: int, how: signal.Signals = signal.SIGTERM) -> None:
    """Have Linux send ``how`` when the parent dies; it ends at once if the parent is gone already."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, how, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    status = main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.flush()
    os._exit(status)  # engines take seconds to tear down what the kernel frees at once
