"""What a run reserves: a bundle of devices on one host for each replica, and one for training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from srs.cluster.hosts import DEVICES, Host, free
from srs.config import DevicesConfig
from srs.device import Kind
from srs.types import UserError

TOKEN = 0.01
"""CPUs in a bundle. Generation, grading and training share the cores, as they do on one machine; Ray
only decides where they go."""
RESERVE_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """``replicas`` engines of ``per_replica`` devices each, and ``training`` devices on one host.

    On a CPU the device counts are 0. ``share``: replicas that have to share a host's cores.
    """

    kind: Kind
    replicas: int
    per_replica: int
    training: int
    share: int

    def bundle(self, devices: int) -> dict[str, float]:
        """Ray resources of a process with so many devices."""
        own = {DEVICES[self.kind]: float(devices)} if devices else {}
        return {"CPU": TOKEN, **own}


def divide(config: DevicesConfig, hosts: Sequence[Host]) -> Division:
    """Divide the cluster's devices as ``config`` says: on accelerators training has its own.

    ``train_devices`` = 0 takes all devices of one host, or half of them where there is one host only.
    Raises UserError naming the key when the devices don't suffice.
    """
    kinds = {kind for kind, name in DEVICES.items() for h in hosts if name in dict(h.devices)}
    if len(kinds) > 1:
        raise UserError(
            "devices.cluster = ray: the cluster has GPUs and NPUs: use hosts of one kind"
        )
    if not kinds:
        return _on_cores(config, hosts)
    (kind,) = kinds
    if config.placement == "colocated":
        raise UserError(
            "devices.placement = colocated: in a Ray cluster generation and training have devices of "
            "their own: use split or auto"
        )
    counts = [dict(host.devices).get(DEVICES[kind], 0) for host in hosts]
    counts = sorted(count for count in counts if count)
    training = config.train_devices or (counts[0] if len(counts) > 1 else counts[0] // 2)
    roomy = [i for i, count in enumerate(counts) if count >= training]
    if not roomy or training < 1:
        raise UserError(
            f"devices.train_devices = {config.train_devices}: training takes place on one host, and "
            f"the largest one has {counts[-1]} devices for generation and training"
        )
    counts[roomy[0]] -= training  # the smallest host that has room
    groups = sum(count // config.tensor_parallel for count in counts)
    replicas = config.replicas or groups
    if not groups or replicas > groups:
        raise UserError(
            f"devices.replicas x devices.tensor_parallel = {max(replicas, 1)} x "
            f"{config.tensor_parallel}: beside {training} that train, the cluster's hosts have room for "
            f"{groups} such engines"
        )
    if (config.train_processes or training) > training:
        raise UserError(
            f"devices.train_processes = {config.train_processes}: only {training} devices train"
        )
    return Division(
        kind=kind,
        replicas=replicas,
        per_replica=config.tensor_parallel,
        training=config.train_processes or training,  # a process has one device
        share=max(counts) // config.tensor_parallel,
    )


def _on_cores(config: DevicesConfig, hosts: Sequence[Host]) -> Division:
    if config.tensor_parallel > 1:
        raise UserError("devices.tensor_parallel: a CPU has no groups of devices: set it to 1")
    if config.placement == "split":
        raise UserError("devices.placement = split: there are no devices to divide on a CPU")
    replicas = config.replicas or len(hosts)
    return Division(
        kind="cpu",
        replicas=replicas,
        per_replica=0,
        training=0,
        share=math.ceil(replicas / len(hosts)),
    )


class Reservation:
    """The bundles of a run, held until `release`: training's first, then one for each replica.

    Raises UserError when the cluster doesn't give them within `RESERVE_S`, as others may use it.
    """

    def __init__(self, division: Division) -> None:
        from ray.util.placement_group import placement_group

        self.division = division
        self._groups: list[Any] = []
        wanted = [
            [division.bundle(division.training)],
            [division.bundle(division.per_replica)] * division.replicas,
        ]
        for bundles, strategy in zip(wanted, ("PACK", "SPREAD"), strict=True):
            self._groups.append(placement_group(bundles, strategy=strategy))
            if not self._groups[-1].wait(RESERVE_S):
                self.release()
                raise UserError(
                    f"devices.cluster = ray: the cluster did not give {len(bundles)} x {bundles[0]} "
                    f"within {RESERVE_S:.0f} s; free: {free()}"
                )

    def training(self) -> dict[str, Any]:
        """Options of an actor in the bundle for training."""
        return self._options(0, 0, self.division.training)

    def replica(self, number: int) -> dict[str, Any]:
        """Options of an actor in the bundle of replica ``number``."""
        return self._options(1, number, self.division.per_replica)

    def release(self) -> None:
        from ray.util.placement_group import remove_placement_group

        for group in self._groups:
            remove_placement_group(group)
        self._groups = []

    def _options(self, group: int, bundle: int, devices: int) -> dict[str, Any]:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        own: dict[str, Any] = {}
        if devices:
            name = DEVICES[self.division.kind]
            own = {"num_gpus": devices} if name == "GPU" else {"resources": {name: devices}}
        return {
            "num_cpus": TOKEN,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(
                self._groups[group], placement_group_bundle_index=bundle
            ),
            **own,
        }
