"""How a cluster's devices are divided, and what is refused."""

from __future__ import annotations

import pytest
from cluster_parts import Nodes
from hypothesis import given
from hypothesis import strategies as st

from srs.cluster import bundles
from srs.cluster.bundles import Division, Reservation, divide
from srs.cluster.hosts import Host
from srs.config import DevicesConfig
from srs.types import UserError


def cluster(*counts: int, name: str = "GPU") -> list[Host]:
    return [
        Host(id=str(i), name=f"h{i}", cores=8, devices=((name, count),) if count else ())
        for i, count in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("counts", "config", "replicas", "training"),
    [
        ((8, 8), {}, 8, 8),
        ((4, 4, 4, 4), {}, 12, 4),
        ((2,), {}, 1, 1),
        ((8, 8), {"tensor_parallel": 4}, 2, 8),
        ((8, 8), {"train_devices": 2, "tensor_parallel": 4}, 3, 2),
        ((8, 4), {}, 8, 4),
        ((8, 8, 0), {"replicas": 3, "placement": "split"}, 3, 8),
    ],
)
def test_training_has_devices_of_its_own(
    counts: tuple[int, ...], config: dict[str, int], replicas: int, training: int
) -> None:
    division = divide(DevicesConfig(**config), cluster(*counts))  # type: ignore[arg-type]
    assert (division.kind, division.replicas, division.training) == ("cuda", replicas, training)
    assert division.bundle(training) == {"CPU": bundles.TOKEN, "GPU": float(training)}


def test_ascend_devices_have_their_own_name() -> None:
    division = divide(DevicesConfig(), cluster(8, 8, name="NPU"))
    assert division.kind == "npu"
    assert division.bundle(division.per_replica) == {"CPU": bundles.TOKEN, "NPU": 1.0}


@pytest.mark.parametrize(("replicas", "expected", "share"), [(0, 3, 1), (2, 2, 1), (4, 4, 2)])
def test_on_cpus_there_is_a_replica_for_each_host(replicas: int, expected: int, share: int) -> None:
    division = divide(DevicesConfig(replicas=replicas), cluster(0, 0, 0))
    assert division == Division(
        kind="cpu", replicas=expected, per_replica=0, training=0, share=share
    )


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=5).filter(any),
    st.integers(1, 4),
    st.integers(0, 8),
    st.integers(0, 20),
)
def test_what_is_asked_for_exists(
    counts: list[int], tensor_parallel: int, train_devices: int, replicas: int
) -> None:
    config = DevicesConfig(
        tensor_parallel=tensor_parallel, train_devices=train_devices, replicas=replicas
    )
    try:
        division = divide(config, cluster(*counts))
    except UserError:
        return
    assert division.training == train_devices or (not train_devices and division.training >= 1)
    assert division.replicas == replicas or (not replicas and division.replicas >= 1)

    def fits(left: list[int]) -> bool:
        return sum(count // tensor_parallel for count in left) >= division.replicas

    assert any(
        fits([count - division.training * (i == host) for i, count in enumerate(counts)])
        for host, has in enumerate(counts)
        if has >= division.training
    )
    assert 1 <= division.share <= 8


def test_a_training_process_has_one_device() -> None:
    """More would be taken for a data-parallel group, which TRL refuses."""
    assert divide(DevicesConfig(train_processes=2), cluster(4, 4)).training == 2
    assert divide(DevicesConfig(train_processes=1, train_devices=4), cluster(4, 4)).training == 1


@pytest.mark.parametrize(
    ("counts", "config", "message"),
    [
        ((1,), {}, "devices.train_devices = 0: .*the largest one has 1 devices"),
        ((4, 4), {"train_devices": 5}, "devices.train_devices = 5: training takes place on one"),
        ((4, 4), {"placement": "colocated"}, "devices.placement = colocated: in a Ray cluster"),
        ((4, 4), {"replicas": 5}, "devices.replicas x devices.tensor_parallel = 5 x 1: .*room for 4"),
        ((4, 4), {"tensor_parallel": 8}, "devices.replicas x devices.tensor_parallel = 1 x 8"),
        ((4, 4), {"train_processes": 5}, "devices.train_processes = 5: only 4 devices train"),
        ((0, 0), {"tensor_parallel": 2}, "devices.tensor_parallel: a CPU has no groups"),
        ((0, 0), {"placement": "split"}, "devices.placement = split: there are no devices"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_key(
    counts: tuple[int, ...], config: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        divide(DevicesConfig(**config), cluster(*counts))  # type: ignore[arg-type]


def test_a_mixed_cluster_is_refused() -> None:
    with pytest.raises(UserError, match="GPUs and NPUs"):
        divide(DevicesConfig(), cluster(4) + cluster(4, name="NPU"))


@pytest.mark.usefixtures("nodes")
def test_a_cluster_that_is_taken_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "RESERVE_S", 1.0)
    with pytest.raises(UserError, match=r"did not give 1 x \{.*'GPU': 2.0\}.* free: \{'CPU'"):
        Reservation(Division(kind="cuda", replicas=1, per_replica=1, training=2, share=1))


def test_bundles_are_on_hosts_of_their_own(nodes: Nodes) -> None:
    import ray

    made = Reservation(Division(kind="cpu", replicas=3, per_replica=0, training=0, share=1))
    where = ray.util.placement_group_table(made._groups[1])["bundles_to_node_id"]
    assert set(where.values()) == set(nodes.living)
    made.release()
