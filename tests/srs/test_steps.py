from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srs.device import Device
from srs.tuning.steps import epochs_of_steps, share
from srs.tuning.world import World

STEPS = st.lists(st.integers(0, 10**6), min_size=1, max_size=50, unique=True)


@given(step=STEPS, ranks=st.integers(1, 9), size=st.integers(1, 9))
def test_ranks_share_a_step_out_and_keep_in_time(step: list[int], ranks: int, size: int) -> None:
    shares = [share(step, rank=rank, ranks=ranks, size=size) for rank in range(ranks)]
    assert len({len(parts) for parts in shares}) == 1, "equally many forward passes"
    assert all(part.rows and len(part.rows) <= size for parts in shares for part in parts)
    counted = [row for parts in shares for part in parts if part.counted for row in part.rows]
    assert sorted(counted) == sorted(step)
    largest = [sum(len(p.rows) for p in parts if p.counted) for parts in shares]
    assert max(largest) - min(largest) <= 1


@given(step=STEPS, size=st.integers(1, 9))
def test_one_rank_keeps_the_order(step: list[int], size: int) -> None:
    parts = share(step, rank=0, ranks=1, size=size)
    assert [row for part in parts for row in part.rows] == step
    assert all(part.counted for part in parts)


@settings(deadline=None)  # torch is imported by the first example
@given(
    n=st.integers(1, 40),
    epochs=st.integers(1, 3),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_an_epoch_sees_every_row_once(n: int, epochs: int, batch_size: int, seed: int) -> None:
    steps = epochs_of_steps(n, epochs=epochs, batch_size=batch_size, seed=seed)
    per_epoch = -(-n // batch_size)
    assert len(steps) == epochs * per_epoch
    for epoch in range(epochs):
        mine = steps[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert sorted(row for step in mine for row in step) == list(range(n))
        assert all(len(step) == batch_size for step in mine[:-1])
    assert steps == epochs_of_steps(n, epochs=epochs, batch_size=batch_size, seed=seed)


def test_the_order_is_that_of_the_library() -> None:
    """What transformers' Trainer would draw by itself."""
    import torch
    from accelerate.data_loader import SeedableRandomSampler

    sampler = SeedableRandomSampler(
        range(11), generator=torch.Generator(), data_seed=5, replacement=False
    )
    drawn = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        drawn += list(sampler)
    steps = epochs_of_steps(11, epochs=3, batch_size=4, seed=5)
    assert [row for step in steps for row in step] == drawn


def test_a_world_is_read_from_the_launchers_variables() -> None:
    assert World.here({}) == World(rank=0, size=1, local_rank=0)
    there = World.here({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert there == World(rank=5, size=8, local_rank=1)
    assert World().sums(1.5, 2.0) == [1.5, 2.0]
    assert World().gather([1, 2]) == [[1, 2]]


def test_ranks_meet_over_the_backend_of_their_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: values in host memory go over gloo, whatever the device."""
    met: list[Any] = []
    monkeypatch.setattr(
        "torch.distributed.init_process_group", lambda backend, **_: met.append(backend)
    )
    monkeypatch.setattr("torch.accelerator.set_device_index", met.append)
    second = World(rank=3, size=4, local_rank=1)
    second.join(Device(kind="cuda", indices=("0", "1")))
    second.join(Device(kind="npu", indices=("0", "1")))
    second.join(Device(kind="cpu"))
    World().join(Device(kind="cuda"))
    assert met == [1, "cpu:gloo,cuda:nccl", 1, "cpu:gloo,npu:hccl", "gloo"]
