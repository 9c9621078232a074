"""Generation on several hosts: the same candidates, each once, whatever happens to a host."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_parts import Nodes, fake_generator
from random_model import make_task

from srs.child import ChildError
from srs.cluster import bundles, generation
from srs.cluster.bundles import Division, Reservation
from srs.cluster.errors import HostLost
from srs.cluster.generation import RayGenerator
from srs.cluster.parcels import Outbox
from srs.config import Config
from srs.generate import Generator, Policy, Request, Sampling
from srs.replicas import Replicas
from srs.types import Candidate, UserError

BASE = Policy(name="base", adapter=None)
SAMPLING = Sampling(n=2, temperature=0.8, top_p=0.95, max_tokens=8)
REQUESTS = [Request(task=make_task(i), seed=1000 * i) for i in range(60)]
Factories = list[Callable[[], Generator]]


def ask(generator: Generator, policy: Policy = BASE, n: int = 60) -> Iterator[Candidate]:
    return generator.generate(REQUESTS[:n], policy=policy, sampling=SAMPLING, round=1)


def told(question: str) -> list[Request]:
    return [Request(task=make_task(1, question=question), seed=1)]


def reserve(replicas: int) -> Reservation:
    return Reservation(Division(kind="cpu", replicas=replicas, per_replica=0, training=0, share=1))


def factories_of(reservation: Reservation) -> Factories:
    outbox = Outbox()
    return [
        functools.partial(RayGenerator, Config(), reservation, number, outbox, fake_generator)
        for number in range(reservation.division.replicas)
    ]


@pytest.fixture
def reservation(nodes: Nodes) -> Iterator[Reservation]:
    assert len(nodes.living) == 3
    made = reserve(3)
    yield made
    made.release()


@pytest.fixture
def factories(reservation: Reservation) -> Factories:
    return factories_of(reservation)


def test_a_host_lost_in_mid_round_costs_no_candidate(
    nodes: Nodes, factories: Factories, caplog: pytest.LogCaptureFixture
) -> None:
    with Replicas(factories) as replicas:
        candidates = []
        for candidate in ask(replicas):
            candidates.append(candidate)
            if len(candidates) == 10:
                nodes.kill(nodes.living[1])
        assert sorted((c.task, c.index, c.completion) for c in candidates) == sorted(
            (r.task.id, index, f"{r.seed} ") for r in REQUESTS for index in range(2)
        )
        assert "died, starting another" in caplog.text
        assert "its host is lost" in caplog.text
        assert len(list(ask(replicas))) == 120, "it goes on with the hosts that are left"


def test_a_host_lost_with_two_replicas_and_no_room_elsewhere(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each node has room for two bundles, one of which is training's."""
    from ray.util.placement_group import placement_group_table

    monkeypatch.setattr(bundles, "TOKEN", 0.5)
    reservation = reserve(5)
    placed = placement_group_table(reservation._groups[1])["bundles_to_node_id"].values()
    victim = max(nodes.living, key=list(placed).count)
    assert list(placed).count(victim) == 2
    try:
        with Replicas(factories_of(reservation)) as replicas:
            replicas.ready()
            monkeypatch.setattr(generation, "START_S", 1.0)
            monkeypatch.setattr(generation, "CLOSE_S", 0.5)
            candidates = []
            for candidate in ask(replicas):
                candidates.append(candidate)
                if len(candidates) == 10:
                    nodes.kill(victim)
            assert len({(c.task, c.index) for c in candidates}) == len(candidates) == 120
            deadline = time.monotonic() + 60  # each notices in its own time that there is no room
            while caplog.text.count("generation goes on without replica") < 2:
                assert time.monotonic() < deadline, caplog.text
                assert len(list(ask(replicas, n=10))) == 20
            assert len(list(ask(replicas, n=10))) == 20
    finally:
        reservation.release()


def test_an_adapter_goes_to_each_host_once(
    nodes: Nodes, factories: Factories, tmp_path: Path
) -> None:
    def adapter(name: str, weights: str) -> Policy:
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "weights").write_text(weights)
        return Policy(name=name, adapter=tmp_path / name)

    def kept() -> set[tuple[str, int]]:
        """The hosts' folders of adapters, with what changes when one comes again."""
        return {
            (str(folder), folder.stat().st_ino)
            for node in nodes.living
            for folder in nodes.caches[node].glob("adapters/*")
        }

    earlier = kept()  # other tests' runs
    first, second, same = adapter("0001", "one"), adapter("0002", "two"), adapter("0003", "one")
    with Replicas(factories) as replicas:
        assert {c.completion.split()[1] for c in ask(replicas, first, 6)} == {"one"}
        once = kept() - earlier
        assert len(once) == 3
        list(ask(replicas, first, 6))
        assert {(c.completion.split()[1], c.policy) for c in ask(replicas, same, 6)} == {
            ("one", "0003")
        }
        assert kept() - earlier == once
        assert {c.completion.split()[1] for c in ask(replicas, second, 6)} == {"two"}
        assert len(kept() - earlier) == 6


def test_errors_are_those_of_one_machine(factories: Factories) -> None:
    with factories[0]() as generator:
        assert (generator.engine, generator.chat) == ("fake", False)
        with pytest.raises(UserError, match=r"^adapter: no adapter there$"):
            list(generator.generate(told("user"), policy=BASE, sampling=SAMPLING, round=1))
        with pytest.raises(ChildError, match=r"^\S+: the generation process exited \(7\)$") as e:
            list(generator.generate(told("die"), policy=BASE, sampling=SAMPLING, round=1))
        assert not isinstance(e.value, HostLost)
        assert len(list(ask(generator, n=3))) == 6, "it serves on after an error"


def test_the_run_stops_when_no_host_is_left(
    nodes: Nodes,
    factories: Factories,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING), Replicas(factories) as replicas:
        candidates = ask(replicas)
        next(candidates)
        monkeypatch.setattr(generation, "START_S", 1.0)
        monkeypatch.setattr(generation, "CLOSE_S", 0.5)
        for node in nodes.living:
            nodes.kill(node)
        with pytest.raises(ChildError, match="its host is lost"):
            list(candidates)
