"""Several engines as one: shares, order, deaths, and that nobody can tell how many there were."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_model import make_task

from srs import config as configs
from srs.child import ChildError
from srs.config import Config
from srs.device import Device
from srs.generate import Generator, Policy, Request, Sampling, open_generator
from srs.placement import Placement, place
from srs.replicas import Replicas, balance
from srs.types import Candidate, UserError

BASE = Policy(name="base", adapter=None)
SAMPLED = Sampling(n=3, temperature=0.8, top_p=0.95, max_tokens=24)
REQUESTS = [
    Request(task=make_task(i, question="word " * (1 + i % 5)), seed=1000 * i) for i in range(12)
]


@given(st.lists(st.integers(0, 500), max_size=40), st.integers(1, 6))
@settings(deadline=None)
def test_shares_are_a_partition_of_nearly_equal_loads(lengths: list[int], parts: int) -> None:
    shares = balance(lengths, parts)
    assert sorted(position for share in shares for position in share) == list(range(len(lengths)))
    assert all(share == sorted(share) for share in shares)
    loads = [sum(lengths[position] for position in share) for share in shares]
    longest = max(lengths, default=0)
    assert max(loads) - min(loads) <= longest
    # Graham's bound, against a lower bound of the best possible largest load.
    best = max(sum(lengths) / parts, longest)
    assert max(loads) <= best * (2 - 1 / parts) + 1e-9


def test_longest_first_to_the_least_loaded() -> None:
    assert balance([7, 1, 5, 6, 4], 2) == [[0, 1, 4], [2, 3]]
    assert balance([3, 3, 3, 3], 2) == [[0, 2], [1, 3]]
    assert balance([], 3) == [[], [], []]
    assert balance([0, 0, 0], 3) == [[0], [1], [2]]


class Scripted:
    """A replica in this process. ``deaths`` says after how many answered tasks each of its lives ends."""

    def __init__(self, log: list[Any], name: int, dies_after: int | None = None) -> None:
        self.log, self.name, self.dies_after = log, name, dies_after
        self.open = False

    def __enter__(self) -> Self:
        self.open = True
        self.log.append(("open", self.name))
        return self

    def __exit__(self, *exc: object) -> None:
        if self.open:
            self.log.append(("close", self.name))
        self.open = False

    def ready(self) -> None:
        if self.dies_after == -1:
            raise ChildError("never started")

    def describe(self) -> dict[str, Any]:
        return {"engine": "scripted", "chat": True}

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        self.log.append(("asked", self.name, [request.task.id for request in requests]))
        for position, request in enumerate(requests):
            for index in range(sampling.n):
                if position == self.dies_after and index == sampling.n - 1:
                    raise ChildError("killed")
                yield Candidate(
                    task=request.task.id, round=round, index=index, prompt="p", completion="", code=None,
                    policy=policy.name, seed=request.seed + index, n_tokens=1, truncated=False,
                )  # fmt: skip


def scripted(log: list[Any], lives: Sequence[int | None]) -> Callable[[], Generator]:
    """A factory whose generators die after so many tasks, one after the other; the last one is for good."""
    left = list(lives)
    names = iter(range(100))

    def factory() -> Generator:
        life = left.pop(0) if len(left) > 1 else left[0]
        return cast(Generator, Scripted(log, next(names), life))

    return factory


def ask(replicas: Replicas, requests: Sequence[Request] = REQUESTS) -> list[Candidate]:
    return list(replicas.generate(requests, policy=BASE, sampling=SAMPLED, round=2))


def assert_whole(candidates: list[Candidate], requests: Sequence[Request] = REQUESTS) -> None:
    """Every task once, its candidates together and in order."""
    assert len(candidates) == len(requests) * SAMPLED.n
    tasks = [candidates[i].task for i in range(0, len(candidates), SAMPLED.n)]
    assert sorted(tasks) == sorted(request.task.id for request in requests)
    for i, candidate in enumerate(candidates):
        assert (candidate.task, candidate.index) == (tasks[i // SAMPLED.n], i % SAMPLED.n)


@pytest.mark.parametrize("parts", [1, 2, 5, 20])
def test_every_task_is_answered_once(parts: int) -> None:
    with Replicas([scripted([], [None]) for _ in range(parts)]) as replicas:
        for _ in range(3):
            assert_whole(ask(replicas))
        assert ask(replicas, []) == []
        assert (replicas.engine, replicas.chat, replicas.describe()["replicas"]) == (
            "scripted", True, parts
        )  # fmt: skip


@pytest.mark.parametrize("lives", [[0, None], [1, None], [3, None], [2, 1, 0, None]])
@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_dead_replica_is_replaced_and_nothing_is_lost_or_doubled(
    lives: list[int | None], others: int
) -> None:
    log: list[Any] = []
    factories = [scripted(log, lives), *(scripted([], [None]) for _ in range(others))]
    with Replicas(factories) as replicas:
        assert_whole(ask(replicas))
        assert_whole(ask(replicas))
    # The first life died with its first share; how many later ones did depends on who redid the rest.
    opened = [name for what, name, *_ in log if what == "open"]
    assert opened == list(range(len(opened)))
    assert 2 <= len(opened) <= len(lives)
    assert [name for what, name, *_ in log if what == "close"] == opened


def test_a_replica_that_keeps_dying_stops_the_call() -> None:
    log: list[Any] = []
    with Replicas([scripted(log, [0])], replacements=2) as replicas:
        with pytest.raises(ChildError, match="killed"):
            ask(replicas)
        assert [entry[0] for entry in log].count("open") == 3
    assert [entry[0] for entry in log].count("close") == 3


def test_one_that_cannot_be_replaced_is_done_without() -> None:
    log: list[Any] = []
    with Replicas([scripted(log, [1, -1]), scripted([], [None])]) as replicas:
        for _ in range(4):
            assert_whole(ask(replicas))
    # Its replacement failed while the other went on, or as the next call began.
    assert sum(what == "asked" for what, *_ in log) == 1
    assert [name for what, name, *_ in log if what == "open"] == [0, 1]
    with (
        Replicas([scripted([], [1, -1])]) as replicas,
        pytest.raises(ChildError, match="never started"),
    ):
        ask(replicas)


@pytest.mark.parametrize("recovers", [True, False])
@pytest.mark.parametrize(("total", "lost"), [(2, 1), (4, 2), (8, 4), (8, 7)])
def test_a_lost_host_takes_several_with_it_and_the_others_do_its_work(
    total: int, lost: int, recovers: bool
) -> None:
    """They die within one task of each other; with room elsewhere each is started anew."""
    lives = [1, None] if recovers else [1, -1]
    logs: list[list[Any]] = [[] for _ in range(total)]
    factories = [scripted(log, lives if n < lost else [None]) for n, log in enumerate(logs)]
    requests = [Request(task=make_task(i), seed=1000 * i) for i in range(40)]
    with Replicas(factories) as replicas:
        for _ in range(2):
            assert_whole(ask(replicas, requests), requests)
    for log in logs[:lost]:
        assert [what for what, *_ in log].count("open") == 2


def test_a_replica_that_answers_between_its_deaths_may_die_any_number_of_times() -> None:
    with Replicas([scripted([], [1])], replacements=2) as replicas:
        assert_whole(ask(replicas))


POISON = 99


class Poisoned(Scripted):
    """Dies of one task, whoever answers it, and of all that it was asked with, as a batched engine does."""

    def generate(self, requests: Sequence[Request], **named: Any) -> Iterator[Candidate]:
        if any(request.task.id == f"add_{POISON}" for request in requests):
            self.log.append(("died", self.name, len(requests)))
            raise ChildError("killed")
        yield from super().generate(requests, **named)


@pytest.mark.parametrize("n", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("total", "position"), [(1, 0), *((5, i) for i in range(5)), *((33, i) for i in range(33))]
)
def test_a_task_that_no_engine_survives_is_soon_alone_and_named(
    n: int, total: int, position: int
) -> None:
    """Whatever order the replicas come in: each death halves its company, and then it has three alone."""
    requests = [
        Request(task=make_task(i, question="word " * (1 + i % 5)), seed=i) for i in range(total)
    ]
    requests[position] = Request(task=make_task(POISON), seed=POISON)
    log: list[Any] = []
    numbers = iter(range(100))
    factories = [lambda: cast(Generator, Poisoned(log, next(numbers)))] * n
    said = f"task add_{POISON}: 3 generation processes died of it"
    with (
        Replicas(factories, replacements=2) as replicas,
        pytest.raises(ChildError, match=f"{said}|killed") as caught,
    ):
        ask(replicas, requests)
    company = [entry[2] for entry in log if entry[0] == "died"]
    assert all(after <= (before + 1) // 2 for before, after in itertools.pairwise(company))
    assert company.count(1) <= 3
    named = said in str(caught.value)
    assert named == (company.count(1) == 3)
    # Else one replica died three times with nothing answered in between, which ends the call as well.
    assert named or len(company) >= 3


class Asleep(Scripted):
    """Says something else when it wakes, so it is started anew."""

    def sleep(self) -> None: ...

    def wake(self) -> bool:
        return False


def test_one_that_cannot_be_started_after_a_rest_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such as for lack of memory: the devices were lent to training meanwhile."""

    def factory(log: list[Any], lives: list[int | None]) -> Callable[[], Generator]:
        left = iter(enumerate(lives))
        return lambda: cast(Generator, Asleep(log, *next(left)))

    log: list[Any] = []
    with Replicas([factory(log, [None, -1, -1]), factory([], [None, None, -1])]) as replicas:
        replicas.ready()
        replicas.rest(sleeping=True)
        replicas.resume()
        assert "goes on without replica 0: never started" in caplog.text
        assert_whole(ask(replicas))
        assert [what for what, *_ in log] == ["open", "close"] * 2, "its failed start holds nothing"
        replicas.rest(sleeping=True)
        with pytest.raises(ChildError, match="never started"):
            replicas.resume()


def test_the_users_errors_are_not_deaths() -> None:
    class Refusing(Scripted):
        def generate(self, *_: Any, **__: Any) -> Iterator[Candidate]:
            raise UserError("no adapter there")

    log: list[Any] = []
    with (
        Replicas([lambda: cast(Generator, Refusing(log, 0))]) as replicas,
        pytest.raises(UserError, match="no adapter there"),
    ):
        ask(replicas)
    assert log == [("open", 0), ("close", 0)]


def test_a_call_that_is_dropped_leaves_the_next_one_alone() -> None:
    with Replicas([scripted([], [None]), scripted([], [None])]) as replicas:
        first: Any = replicas.generate(REQUESTS, policy=BASE, sampling=SAMPLED, round=1)
        next(first)
        first.close()
        found = ask(replicas)
    assert_whole(found)
    assert {candidate.round for candidate in found} == {2}


def test_closing_while_it_works_ends_it() -> None:
    """From another thread, as a run that is interrupted does."""
    begun, released = threading.Event(), threading.Event()

    class Stuck(Scripted):
        def generate(self, *_: Any, **__: Any) -> Iterator[Candidate]:
            begun.set()
            released.wait(120)
            raise ChildError("closed")
            yield

        def __exit__(self, *exc: object) -> None:
            super().__exit__(*exc)
            released.set()

    replicas = Replicas([lambda: cast(Generator, Stuck([], 0))])
    failed: list[BaseException] = []

    def work() -> None:
        try:
            ask(replicas)
        except BaseException as e:
            failed.append(e)

    with replicas:
        worker = threading.Thread(target=work)
        worker.start()
        assert begun.wait(120)
    worker.join(120)
    assert not worker.is_alive()
    assert failed


# With the transformers engine, in processes.


def _config(folder: Path) -> Config:
    data = {
        "model": {"path": str(folder)},
        "generate": {"engine": "transformers", "max_tokens": 24, "batch_size": 12},
    }
    return configs.from_dict(data, "test")


def _placement(config: Config, replicas: int) -> Placement:
    import dataclasses

    return place(
        dataclasses.replace(config.devices, replicas=replicas), Device(kind="cpu", threads=2)
    )


@pytest.fixture(scope="module")
def two(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    config = _config(random_model)
    log = tmp_path_factory.mktemp("replicas") / "generate.log"
    with open_generator(config, log, _placement(config, 2)) as opened:
        opened.ready()
        yield opened


def test_two_replicas_say_what_one_says(two: Replicas, random_model: Path, tmp_path: Path) -> None:
    config = _config(random_model)
    with open_generator(config, tmp_path / "log", _placement(config, 1)) as one:
        alone = ask(one)
    both = ask(two)
    assert sorted(both, key=_place) == sorted(alone, key=_place)
    assert two.describe()["replicas"] == 2


def test_a_replica_killed_in_the_middle_is_replaced(two: Replicas) -> None:
    before = ask(two)
    victim = child_pids(two)[0]
    found = two.generate(REQUESTS, policy=BASE, sampling=SAMPLED, round=2)
    os.kill(victim, signal.SIGSTOP)  # it must not have finished when it dies
    heard = [next(found)]
    os.kill(victim, signal.SIGKILL)
    heard += found
    assert_whole(heard)
    assert sorted(heard, key=_place) == sorted(before, key=_place)
    ask(two)  # whose thread was starting the replacement
    assert victim not in child_pids(two)
    assert len(child_pids(two)) == 2


def _place(candidate: Candidate) -> tuple[str, int]:
    return candidate.task, candidate.index


def child_pids(replicas: Replicas) -> list[int]:
    generators: list[Any] = [replica._generator for replica in replicas._all]
    return [generator._child._process.pid for generator in generators]
