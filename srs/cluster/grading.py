"""Grading on every host: one sandbox each, fed from one queue.

jobs ─► queue ─► lane ─► GradingHost (a sandbox of its own) ─► results, in the jobs' order
          ▲        │ the host is lost, or its sandbox is broken
          └────────┴─ its jobs go back to the front; what has a result is never run again
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Self

from sandbox.pool import LOOKAHEAD
from sandbox.runner import Job, SandboxConfig, SandboxError
from srs.cluster.errors import first_line
from srs.cluster.hosts import Host, end
from srs.cluster.station import CLOSE_S, LANES, Said, Station, closing, told
from srs.types import ExecResult, UserError

TRIES = 3
"""Hosts that may fail on a job before it is the job that counts as the cause."""
RESTARTS = 2
"""Fresh sandboxes on a host that lives on."""
log = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True, eq=False)
class _Ticket:
    job: Job
    future: Future[ExecResult]
    failures: int = 0


class RaySandbox:
    """The `Sandbox` of a cluster. A host that fails is started anew or given up; others do its work.

    Raises SandboxError when no host is left, and for a job on which `TRIES` hosts failed.
    """

    def __init__(self, config: SandboxConfig, hosts: Sequence[Host]) -> None:
        self.name = "ray"
        self.not_covered: tuple[str, ...] = ()
        self.identity = ""
        self._stations = [Station(host, config) for host in hosts]
        self._queue: collections.deque[_Ticket] = collections.deque()
        self._changed = threading.Condition()
        self._lanes: list[threading.Thread] = []
        self._lookahead = 0
        self._closed = False
        self._broken: SandboxError | None = None

    def __enter__(self) -> Self:
        """Raises SandboxError when no host has a sandbox, or hosts have different ones; UserError."""
        try:
            for station in self._stations:
                station.start()
            said = {s: answer for s in self._stations if (answer := self._first_ready(s))}
            self._agree(said)
        except BaseException:
            self.__exit__()
            raise
        for station, answer in said.items():
            self._lookahead += answer.workers * LOOKAHEAD
            for _ in range(LANES):
                lane = threading.Thread(
                    target=self._serve, args=(station, answer.workers), daemon=True
                )
                self._lanes.append(lane)
                lane.start()
        log.info(
            "sandbox: %s; %d workers on %d hosts; not covered: %s",
            self.identity,
            self._lookahead // LOOKAHEAD,
            len(said),
            "; ".join(self.not_covered) or "-",
        )
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # A lane may be replacing one right now; it ends what it starts after this.
        running = [actor for s in self._stations if (actor := s.actor) is not None]
        end(running, [closing(actor) for actor in running], patience_s=CLOSE_S)
        for lane in self._lanes:
            lane.join(CLOSE_S)
        self._fail(SandboxError("the sandbox was closed"))

    def run(self, jobs: Iterable[Job]) -> Iterator[ExecResult]:
        """See `Sandbox.run`. ``jobs`` is advanced in the caller's own thread."""
        waiting: collections.deque[Future[ExecResult]] = collections.deque()
        try:
            for job in jobs:
                waiting.append(self._submit(job))
                while waiting and (waiting[0].done() or len(waiting) >= self._lookahead):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _first_ready(self, station: Station) -> Said | None:
        """None when the host can't grade; SandboxError when none can."""
        try:
            return station.ready()
        except SandboxError as e:
            log.warning("host %s does no grading: %s", station.host.name, e)
            station.give_up()
            if all(other.lost for other in self._stations):
                raise SandboxError(f"no host of the cluster can grade; the last one: {e}") from e
            return None

    def _agree(self, said: dict[Station, Said]) -> None:
        """Equal programs must get equal verdicts wherever they run."""
        (first, one), *others = said.items()
        for station, other in others:
            if other.identity != one.identity:
                raise SandboxError(
                    f"the hosts' sandboxes differ: {first.host.name} has {one.identity!r}, "
                    f"{station.host.name} has {other.identity!r}: set sandbox.backend, or "
                    "bring the hosts to one set-up"
                )
        self.name, self.identity = one.name, one.identity
        phrases = [phrase for each in said.values() for phrase in each.not_covered]
        self.not_covered = tuple(dict.fromkeys(phrases))

    def _submit(self, job: Job) -> Future[ExecResult]:
        ticket = _Ticket(job, Future())
        with self._changed:
            if self._broken is not None:
                raise SandboxError(str(self._broken)) from self._broken
            self._queue.append(ticket)
            self._changed.notify()
        return ticket.future

    def _serve(self, station: Station, workers: int) -> None:
        """One lane's life: take what waits, at most a job for each worker, and have it run."""
        import ray

        while batch := self._take(workers):
            if not station.lock.acquire(blocking=False):  # another lane starts the host anew
                self._put_back(batch)
                with station.lock:
                    continue
            actor = station.actor
            station.lock.release()
            if actor is None:  # given up while this lane had nothing to do
                self._put_back(batch)
                return
            try:
                results = ray.get(actor.grade.remote([ticket.job for ticket in batch]))
            except ray.exceptions.RayTaskError as e:
                cause = told(e)
                if not isinstance(cause, SandboxError):  # a defect of ours, on every host alike
                    for ticket in batch:
                        ticket.future.set_exception(cause)
                    continue
                self._failed(batch, cause)
                self._replace(station, actor, cause)
            except ray.exceptions.RayError as e:
                if station.dismissed is actor:  # for what happened in another lane
                    self._put_back(batch)
                else:
                    self._failed(batch, e)
                self._replace(station, actor, e)
            else:
                for ticket, result in zip(batch, results, strict=True):
                    ticket.future.set_result(result)

    def _take(self, most: int) -> list[_Ticket]:
        """Tickets whose results are still wanted; empty when the sandbox is closed."""
        batch: list[_Ticket] = []
        with self._changed:
            while not batch:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    break
                while self._queue and len(batch) < most:
                    ticket = self._queue.popleft()
                    if ticket.future.running() or ticket.future.set_running_or_notify_cancel():
                        batch.append(ticket)
        return batch

    def _failed(self, batch: Sequence[_Ticket], why: BaseException) -> None:
        """Have others do what a host did not finish; too many failures are the job's own."""
        again = []
        for ticket in batch:
            ticket.failures += 1
            if ticket.failures < TRIES:
                again.append(ticket)
            else:
                ticket.future.set_exception(
                    SandboxError(f"{TRIES} hosts failed on one job: {first_line(why)}")
                )
        self._put_back(again)

    def _put_back(self, tickets: Sequence[_Ticket]) -> None:
        with self._changed:
            if self._broken is None:
                self._queue.extendleft(reversed(tickets))
                self._changed.notify_all()
                return
        for ticket in tickets:
            ticket.future.set_exception(self._broken)

    def _replace(self, station: Station, failed: Any, why: BaseException) -> None:
        """A fresh actor in place of ``failed``, or none. Of the host's lanes the first one does it."""
        with station.lock:
            if station.actor is not failed or self._closed:
                return
            log.warning(
                "host %s failed, its jobs are done elsewhere: %s",
                station.host.name,
                first_line(why),
            )
            station.restarts += 1
            if station.restarts <= RESTARTS:
                self._restart(station)
            else:
                station.give_up()
        if not self._closed and all(other.lost for other in self._stations):
            self._fail(
                SandboxError(f"no host of the cluster is left to grade on; the last one: {why}")
            )

    def _restart(self, station: Station) -> None:
        """A fresh actor with the same sandbox as the others', or none."""
        try:
            station.dismiss()
            station.start()
            if self._closed:
                raise SandboxError("the sandbox was closed")
            said = station.ready()
            if said.identity != self.identity:
                raise SandboxError(f"its sandbox is now {said.identity!r}")
            log.info("host %s grades again", station.host.name)
        except (SandboxError, UserError) as e:
            if not self._closed:
                log.warning("host %s is given up: %s", station.host.name, e)
            station.give_up()

    def _fail(self, error: SandboxError) -> None:
        """Nothing will run any more: everyone who waits hears why."""
        with self._changed:
            self._broken = self._broken or error
            left, self._queue = list(self._queue), collections.deque()
        for ticket in left:
            if ticket.future.running() or ticket.future.set_running_or_notify_cancel():
                ticket.future.set_exception(error)
