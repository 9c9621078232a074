"""The whole estimate of one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from srs.config import Config
from srs.estimate.fits import DeviceMemory
from srs.estimate.hardware import Hardware
from srs.estimate.hours import Capacity, Hours
from srs.estimate.rates import Rate
from srs.estimate.shape import Shape
from srs.estimate.workload import Workload


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is printed. ``more``: the run's hours with twice of each resource."""

    config: Config
    shape: Shape
    device: Hardware | None
    n_devices: int
    work: Workload
    capacity: Capacity
    rates: Mapping[str, Rate]
    hours: Hours
    more: Mapping[str, float]
    cores_needed: int
    memory: DeviceMemory
    disk_bytes: Mapping[str, float]
    disk_gib: float | None

    @property
    def disk_needed_gib(self) -> float:
        return sum(self.disk_bytes.values()) / 2**30

    @property
    def binding(self) -> str:
        """What stops the run, else what it waits for longest."""
        if self.memory.fits is False:
            return "device memory"
        if self.disk_gib is not None and self.disk_needed_gib > self.disk_gib:
            return "disk"
        return self.hours.binding


def as_json(found: Plan) -> dict[str, Any]:
    """The plan as plain values: hours, GiB, counts."""
    return {
        "shape": dataclasses.asdict(found.shape),
        "device": dataclasses.asdict(found.device) if found.device else None,
        "devices": found.n_devices,
        "work": dataclasses.asdict(found.work),
        "capacity": dataclasses.asdict(found.capacity),
        "rates": {name: dataclasses.asdict(rate) for name, rate in found.rates.items()},
        "hours": [dataclasses.asdict(phase) for phase in found.hours.phases],
        "total_hours": found.hours.total,
        "hours_by_resource": found.hours.by_resource,
        "hours_with_twice": dict(found.more),
        "grading_cores_needed": found.cores_needed,
        "device_memory_gib": {**dataclasses.asdict(found.memory), "fits": found.memory.fits},
        "disk_gib": {name: size / 2**30 for name, size in found.disk_bytes.items()},
        "binding": found.binding,
    }
