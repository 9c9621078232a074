"""Warm workers in threads: jobs in, results in the same order, a broken worker replaced once."""

from __future__ import annotations

import collections
import logging
import os
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from sandbox.link import Handle, WorkerDied
from sandbox.runner import Job, Sandbox, SandboxConfig, SandboxError
from srs.types import ExecResult, from_json

GRACE_S = 30.0
RESTART_S, RETRY_S = 90.0, 2.0
LOOKAHEAD = 8
log = logging.getLogger(__name__)


def open_sandbox(config: SandboxConfig) -> Sandbox:
    """The sandbox that the config asks for; workers start when it is entered.

    Raises SandboxError when Docker is asked for and no daemon answers or no image can be made.
    """
    from sandbox import docker, process

    match config.backend:
        case "process":
            backend = process.NAME
        case "docker":
            backend = docker.NAME
        case "auto":
            reason = docker.unavailable(config)
            backend = process.NAME if reason else docker.NAME
            if reason:
                log.info("no Docker sandbox: %s", reason)
    n = config.workers or len(os.sched_getaffinity(0))
    if backend == docker.NAME:
        return Pool(docker.NAME, n, docker.starter(config))
    return Pool(process.NAME, n, process.ProcessWorker)


class Pool:
    """A sandbox of ``n`` workers that ``start`` starts. Start raises SandboxError."""

    def __init__(self, name: str, n: int, start: Callable[[], Handle]) -> None:
        self.name = name
        self.n = n
        self.not_covered: tuple[str, ...] = ()
        self.identity = ""
        self._start = start
        self._idle: queue.SimpleQueue[Handle | SandboxError] = queue.SimpleQueue()
        self._alive: set[Handle] = set()
        self._closed = False

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(self.n, thread_name_prefix="sandbox")
        try:
            starting = [self._threads.submit(self._fresh) for _ in range(self.n)]
            for future in starting:
                self._idle.put(future.result())
        except BaseException:
            self.__exit__()
            raise
        ready = next(iter(self._alive)).ready
        self.not_covered = tuple(ready["not_covered"])
        self.identity = f"{self.name}, {ready['identity']}"
        log.info("sandbox: %s; not covered: %s", self.identity, "; ".join(self.not_covered) or "-")
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for handle in list(self._alive):
            handle.kill()
        self._threads.shutdown(wait=True)
        for handle in list(self._alive):  # those that were starting meanwhile
            handle.kill()
        self._alive.clear()

    def run(self, jobs: Iterable[Job]) -> Iterator[ExecResult]:
        """See `Sandbox.run`. ``jobs`` is advanced in the caller's own thread."""
        waiting: collections.deque[Future[ExecResult]] = collections.deque()
        try:
            for job in jobs:
                waiting.append(self._threads.submit(self._run_one, job))
                while waiting and (waiting[0].done() or len(waiting) >= self.n * LOOKAHEAD):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _fresh(self) -> Handle:
        handle = self._start()
        self._alive.add(handle)
        return handle

    def _replacement(self) -> Handle:
        """A fresh worker, when need be after waiting for a daemon that is being restarted."""
        deadline = time.monotonic() + RESTART_S
        while True:
            try:
                return self._fresh()
            except SandboxError as e:
                if self._closed or time.monotonic() > deadline:
                    raise
                log.warning("%s: no worker yet: %s", self.name, e)
                time.sleep(RETRY_S)

    def _replace(self, handle: Handle) -> None:
        """Put a fresh worker in its place or, as nobody may wait for ever, the error that there is none."""
        try:
            handle.kill()
            self._alive.discard(handle)
            if self._closed:
                raise SandboxError("the sandbox was closed")
            fresh = self._replacement()
        except BaseException as e:
            said = e if isinstance(e, SandboxError) else SandboxError(f"no worker: {e!r}")
            self._idle.put(said)
            raise
        self._idle.put(fresh)

    def _run_one(self, job: Job) -> ExecResult:
        frame = _frame(job)
        patience = job.limits.timeout_s * job.runs + GRACE_S
        for last in (False, True):
            handle = self._idle.get()
            if isinstance(handle, SandboxError):
                self._idle.put(handle)  # for the next who waits
                raise SandboxError(str(handle)) from handle
            try:
                handle.link.send(frame, patience)
                answer = handle.link.receive(patience)
                if "broken" in answer:
                    raise WorkerDied(answer["broken"])
            except WorkerDied as e:
                self._replace(handle)
                if last:
                    raise SandboxError(f"{self.name}: two workers failed on one job: {e}") from e
                log.warning("sandbox worker replaced: %s", e)
            except BaseException:
                self._replace(handle)  # it may be in the middle of this job
                raise
            else:
                self._idle.put(handle)
                return from_json(ExecResult, answer)
        raise AssertionError("unreachable")


def _frame(job: Job) -> dict[str, Any]:
    return {
        "solution": job.solution,
        "test": job.test,
        "stdin": job.stdin,
        "timeout_s": job.limits.timeout_s,
        "memory_mib": job.limits.memory_mib,
        "output_kib": job.limits.output_kib,
        "processes": job.limits.processes,
        "together": job.together,
        "either": job.either,
        "allowed": job.objects,
        "writes": job.writes,
        "bound": {name: where for name, *where in job.bound},
        "canaries": [[canary.source, canary.test] for canary in job.canaries],
    }
