"""Which devices generate and which train, for the machines that the configs are written for."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from srs.config import DevicesConfig
from srs.device import Device, Kind
from srs.placement import Placement, place
from srs.types import UserError


def machine(count: int, kind: Kind = "cuda") -> Device:
    return Device(kind=kind, indices=tuple(map(str, range(count))), threads=16)


def shown(placement: Placement) -> tuple[list[str], str, int, bool]:
    """Devices of each replica, devices that train, training processes, whether they take turns."""
    generation = ["".join(device.indices) for device in placement.generation]
    training = "".join(placement.training.indices)
    return generation, training, placement.train_processes, placement.takes_turns


@pytest.mark.parametrize(
    ("count", "settings", "expected"),
    [
        (1, {}, (["0"], "0", 1, True)),
        (2, {}, (["0", "1"], "01", 2, True)),
        (2, {"placement": "split"}, (["0"], "1", 1, False)),
        (2, {"async_rounds": 1}, (["0"], "1", 1, False)),
        (4, {}, (["0", "1", "2", "3"], "0123", 4, True)),
        (3, {"train_processes": 1}, (["0", "1", "2"], "0", 1, True)),
        (4, {"train_processes": 2}, (["0", "1", "2", "3"], "01", 2, True)),
        (4, {"placement": "split", "train_processes": 1}, (["0", "1"], "2", 1, False)),
        (4, {"tensor_parallel": 2}, (["01", "23"], "0123", 4, True)),
        (4, {"tensor_parallel": 4}, (["0123"], "0123", 4, True)),
        (4, {"placement": "split"}, (["0", "1"], "23", 2, False)),
        (4, {"placement": "split", "train_devices": 1}, (["0", "1", "2"], "3", 1, False)),
        (4, {"placement": "split", "train_devices": 2, "tensor_parallel": 2}, (["01"], "23", 2, False)),
        (8, {"replicas": 3}, (["0", "1", "2"], "01234567", 8, True)),
    ],
)  # fmt: skip
def test_accelerators_are_divided(
    count: int, settings: dict[str, object], expected: tuple[object, ...]
) -> None:
    config = dataclasses.replace(DevicesConfig(), **settings)  # type: ignore[arg-type]
    assert shown(place(config, machine(count))) == expected
    assert shown(place(config, machine(count, "npu"))) == expected


@pytest.mark.parametrize(
    ("count", "settings", "key"),
    [
        (1, {"placement": "split"}, "devices.placement"),
        (1, {"async_rounds": 1}, "devices.placement"),
        (4, {"placement": "colocated", "async_rounds": 1}, "devices.async_rounds"),
        (4, {"placement": "split", "train_devices": 4}, "devices.train_devices"),
        (2, {"replicas": 3}, "devices.replicas"),
        (2, {"tensor_parallel": 4}, "devices.replicas x devices.tensor_parallel"),
        (2, {"train_processes": 3}, "devices.train_processes"),
    ],
)
def test_what_the_devices_do_not_suffice_for(
    count: int, settings: dict[str, object], key: str
) -> None:
    config = dataclasses.replace(DevicesConfig(), **settings)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=key):
        place(config, machine(count))


def test_a_cpu_is_divided_by_its_cores() -> None:
    cpu = Device(kind="cpu", threads=8)
    assert place(DevicesConfig(), cpu) == Placement(
        generation=(cpu,), training=cpu, train_processes=1, takes_turns=False
    )
    placement = place(DevicesConfig(replicas=3, train_processes=2, async_rounds=1), cpu)
    assert [device.threads for device in placement.generation] == [2, 2, 2]
    assert (placement.train_processes, placement.takes_turns) == (2, False)
    for config in (DevicesConfig(tensor_parallel=2), DevicesConfig(placement="split")):
        with pytest.raises(UserError, match="a CPU"):
            place(config, cpu)


@given(
    st.integers(1, 16),
    st.builds(
        DevicesConfig,
        placement=st.sampled_from(["auto", "colocated", "split"]),
        replicas=st.integers(0, 5),
        tensor_parallel=st.integers(1, 4),
        train_devices=st.integers(0, 8),
        train_processes=st.integers(0, 8),
        async_rounds=st.integers(0, 1),
    ),
)
@settings(deadline=None)
def test_no_device_is_in_two_groups_and_split_halves_are_apart(
    count: int, config: DevicesConfig
) -> None:
    try:
        placement = place(config, machine(count))
    except UserError:
        assume(False)
        return
    generating = [index for device in placement.generation for index in device.indices]
    assert len(set(generating)) == len(generating)
    assert {len(device.indices) for device in placement.generation} == {config.tensor_parallel}
    # A process that saw several would wrap its model in nn.DataParallel, which TRL refuses.
    assert 1 <= placement.train_processes == len(placement.training.indices)
    apart = not set(generating) & set(placement.training.indices)
    assert apart != placement.takes_turns
    assert not (config.async_rounds and placement.takes_turns)
