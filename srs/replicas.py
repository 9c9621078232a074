"""Replicas: one generator made of several, each on devices of its own.

    requests ─► shares of nearly equal length ─► replica 0 … N-1 ─► candidates, tasks as they end
                     ▲                                │ dies
                     └── halves of its unfinished ◄───┴─► a new replica

A request carries its seed, so who answers it doesn't matter. What an engine died of is halved each time, so
that a request no engine survives is soon alone and can be named.
"""

from __future__ import annotations

import collections
import functools
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, Self, runtime_checkable

from srs.child import ChildError
from srs.generate import Generator, Policy, Request, Sampling
from srs.types import Candidate

logger = logging.getLogger(__name__)

REPLACEMENTS = 3
"""Deaths of one replica, without a task answered in between, that are made good; the next one ends the call."""
Key = tuple[str, int]
"""What tells the requests of one call apart: task and seed."""


@runtime_checkable
class Sleeper(Protocol):
    """A generator that can lend its device's memory and stay alive."""

    def sleep(self) -> None: ...

    def wake(self) -> bool:
        """Take the memory back. False when the model doesn't say what it said before it slept."""
        ...


class Replicas:
    """A `Generator` over one or more. ``factories`` start a replica each, also in place of a dead one.

    A replica dies by raising ChildError. What it had not finished is answered, in two halves, by the
    first that are idle, its replacement among them; a replica that can't be started again is left out from then on.
    One call at a time.
    """

    def __init__(
        self, factories: Sequence[Callable[[], Generator]], *, replacements: int = REPLACEMENTS
    ) -> None:
        self._all = [_Replica(number, factory) for number, factory in enumerate(factories)]
        self._live = list(self._all)
        self._replacements = replacements
        self._opening: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._opening = [replica.submit(replica.open) for replica in self._live]
        return self

    def __exit__(self, *exc: object) -> None:
        for replica in self._all:
            replica.close()

    def ready(self) -> None:
        for opening in self._opening:
            opening.result()

    @functools.cached_property
    def _description(self) -> dict[str, Any]:
        """Kept: it is asked for while the replicas rest, and stays true of new ones."""
        self.ready()
        return {**self._live[0].describe(), "replicas": len(self._all)}

    def describe(self) -> dict[str, Any]:
        return self._description

    @property
    def engine(self) -> str:
        engine: str = self._description["engine"]
        return engine

    @property
    def chat(self) -> bool:
        chat: bool = self._description["chat"]
        return chat

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        """See `Generator.generate`; no two requests may share task and seed.

        Raises what a replica raises; ChildError when one died more than ``replacements`` times without
        an answer in between, and when none is left.
        """
        ask = functools.partial(_Replica.answer, policy=policy, sampling=sampling, round=round)
        call = _Call(self._live, requests, ask, self._replacements)
        try:
            for candidates in call:
                yield from candidates
        finally:
            call.dropped.set()
            self._live = call.live

    def rest(self, *, sleeping: bool) -> None:
        """Give the devices' memory back: asleep where a replica can, else by ending it.

        Nothing may be generated until `resume`.
        """
        for future in [replica.submit(replica.rest, sleeping) for replica in self._live]:
            future.result()

    def resume(self) -> None:
        """Be ready again. One that woke up saying something else is started anew.

        Raises ChildError when none could be.
        """
        for replica, future in [(r, r.submit(r.resume)) for r in self._live]:
            try:
                future.result()
            except ChildError as e:
                self._live = _without(replica, self._live, e)


class _Replica:
    """One generator and the thread that opens it and waits for it.

    The thread lives as long as the set does, because a `srs.child.Child` ends with the thread that
    started it.
    """

    def __init__(self, number: int, factory: Callable[[], Generator]) -> None:
        self.number = number
        self._factory = factory
        self._generator: Generator | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"replica-{number}")
        self.submit = self._thread.submit

    def open(self) -> None:
        """Start a generator in place of the present one, if any, and wait for it."""
        self.discard()
        self._check_open()
        generator = self._factory()
        with self._lock:
            self._generator = generator
        try:
            self._check_open()  # another thread may have closed it while this one started it
            generator.__enter__()
            generator.ready()
        except BaseException:
            self.discard()
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise ChildError("generation is closed")

    def discard(self) -> None:
        """End the generator, if there is one."""
        with self._lock:
            generator, self._generator = self._generator, None
        if generator is not None:
            generator.__exit__(None, None, None)

    @property
    def started(self) -> bool:
        """Whether there is a generator, be it a dead one; not after a start that failed."""
        return self._generator is not None

    def describe(self) -> dict[str, Any]:
        assert self._generator is not None
        return self._generator.describe()

    def answer(
        self,
        requests: Sequence[Request],
        *,
        policy: Policy,
        sampling: Sampling,
        round: int,
    ) -> Iterator[list[Candidate]]:
        """Each item is one task's candidates, all of them."""
        if self._generator is None:
            raise ChildError(f"generation replica {self.number} could not be started again")
        found = self._generator.generate(requests, policy=policy, sampling=sampling, round=round)
        while candidates := list(itertools.islice(found, sampling.n)):
            yield candidates

    def rest(self, sleeping: bool) -> None:
        try:
            if sleeping and isinstance(self._generator, Sleeper):
                self._generator.sleep()
                return
        except ChildError as e:
            logger.warning("generation replica %d died falling asleep: %s", self.number, e)
        self.discard()

    def resume(self) -> None:
        if isinstance(self._generator, Sleeper):
            try:
                if self._generator.wake():
                    return
                logger.warning(
                    "generation replica %d woke up saying something else: starting it anew",
                    self.number,
                )
            except ChildError as e:
                logger.warning("generation replica %d died asleep: %s", self.number, e)
        self.open()

    def close(self) -> None:
        """From any thread: what the replica's own is waiting for ends with the generator."""
        self._closed = True
        self.discard()
        self._thread.shutdown(wait=True, cancel_futures=True)


class _Call:
    """One batch of requests, handed out until all are answered. Iterates over tasks' candidates."""

    def __init__(
        self,
        live: Sequence[_Replica],
        requests: Sequence[Request],
        ask: Callable[[_Replica, Sequence[Request]], Iterable[list[Candidate]]],
        replacements: int,
    ) -> None:
        self.live = list(live)
        self.dropped = threading.Event()
        self._ask = ask
        self._replacements = replacements
        if len({_key(request) for request in requests}) != len(requests):
            raise ValueError("two requests with the same task and seed")
        shares = balance([length(request) for request in requests], len(self.live))
        self._waiting = [[requests[position] for position in share] for share in shares if share]
        """Shares that nobody has yet. They are divided further, never put together."""
        self._left = len(requests)
        self._doing: dict[_Replica, dict[Key, Request]] = {}
        """What each busy replica has not answered yet."""
        self._deaths: collections.Counter[_Replica] = collections.Counter()
        """In a row: an answer sets a replica's back to none."""
        self._fatal: collections.Counter[Key] = collections.Counter()
        """Engines that died with nothing but this request to answer."""
        self._events: queue.SimpleQueue[tuple[_Replica, list[Candidate] | Future[None]]]
        self._events = queue.SimpleQueue()

    def __iter__(self) -> Iterator[list[Candidate]]:
        self._hand_out()
        while self._left:
            replica, event = self._events.get()
            if isinstance(event, Future):
                self._ended(replica, event)
            else:
                first = event[0]
                del self._doing[replica][first.task, first.seed - first.index]
                self._left -= 1
                del self._deaths[replica]
                yield event

    def _hand_out(self) -> None:
        """A share for each that is idle, the largest first; as long as there are too few they are halved."""
        idle = [replica for replica in self.live if replica not in self._doing]
        self._waiting.sort(key=len, reverse=True)
        while 0 < len(self._waiting) < len(idle) and len(self._waiting[0]) > 1:
            self._waiting[:1] = _halves(self._waiting[0])
            self._waiting.sort(key=len, reverse=True)
        for replica in idle[: len(self._waiting)]:
            share = self._waiting.pop(0)
            self._doing[replica] = {_key(request): request for request in share}
            self._submit(replica, functools.partial(self._run, replica, share))

    def _run(self, replica: _Replica, requests: Sequence[Request]) -> None:
        """In the replica's thread."""
        for candidates in self._ask(replica, requests):
            if self.dropped.is_set():
                return
            self._events.put((replica, candidates))

    def _submit(self, replica: _Replica, work: Callable[[], None]) -> None:
        replica.submit(work).add_done_callback(lambda future: self._events.put((replica, future)))

    def _ended(self, replica: _Replica, future: Future[None]) -> None:
        """A share was answered, or a replacement is ready, or either failed."""
        unanswered = self._doing.pop(replica)
        try:
            future.result()
            if unanswered:
                raise ChildError(f"replica {replica.number} left out {len(unanswered)} tasks")
        except ChildError as e:
            self._waiting += _halves(list(unanswered.values()))
            if replica.started:
                self._blame(unanswered, e)
                self._deaths[replica] += 1
                if self._deaths[replica] > self._replacements:
                    raise
                logger.warning(
                    "generation replica %d died, starting another; %d tasks are redone: %s",
                    replica.number,
                    len(unanswered),
                    e,
                )
                self._doing[replica] = {}
                self._submit(replica, replica.open)
            else:
                self.live = _without(replica, self.live, e)
        self._hand_out()

    def _blame(self, unanswered: Iterable[Key], why: ChildError) -> None:
        """Raises ChildError for a request that no engine survives: it would go round all of them."""
        keys = list(unanswered)
        if len(keys) != 1:
            return
        (alone,) = keys
        self._fatal[alone] += 1
        if self._fatal[alone] > self._replacements:
            raise ChildError(
                f"task {alone[0]}: {self._fatal[alone]} generation processes died of it: {why}"
            ) from why


def _without(replica: _Replica, live: Sequence[_Replica], why: ChildError) -> list[_Replica]:
    """The others. Raises ``why`` when there are none."""
    others = [other for other in live if other is not replica]
    if not others:
        raise why
    logger.warning("generation goes on without replica %d: %s", replica.number, why)
    return others


def _key(request: Request) -> Key:
    return request.task.id, request.seed


def _halves(requests: Sequence[Request]) -> list[list[Request]]:
    """Equal in number up to one, so that halving again and again leaves each alone. None of them empty."""
    return [list(half) for half in (requests[::2], requests[1::2]) if half]


def length(request: Request) -> int:
    """Characters of the question and its declaration: what a prompt's length grows with."""
    return len(request.task.question) + len(request.task.declaration or "")


def balance(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Positions in ``lengths``, divided into ``parts`` lists of nearly equal sums, each in order.

    Longest first to the least loaded (Graham 1969, LPT): the largest sum is at most 4/3 - 1/(3 parts) of
    the best possible one. Ties go to the first.
    """
    shares: list[list[int]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        # Of equally loaded ones the emptiest, so that prompts of length 0 spread as well.
        part = min(range(parts), key=lambda p: (loads[p], len(shares[p])))
        shares[part].append(position)
        loads[part] += lengths[position]
    return [sorted(share) for share in shares]
