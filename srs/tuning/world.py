"""Where this process stands among the ranks that train together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from srs.device import Device

PATIENCE_S = 1800
"""How long a rank waits for the others in one step, or for rank 0 to have written the result."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``rank`` of ``size`` processes; ``local_rank`` is its device among those that train on this host."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def here(cls, environment: Mapping[str, str] | None = None) -> World:
        """As torchrun's variables say; one process without them."""
        env = os.environ if environment is None else environment
        return cls(
            rank=int(env.get("RANK", 0)),
            size=int(env.get("WORLD_SIZE", 1)),
            local_rank=int(env.get("LOCAL_RANK", 0)),
        )

    def join(self, device: Device) -> None:
        """Meet the other ranks: over the device's backend, and over gloo for values in host memory."""
        if self.size == 1:
            return
        import datetime

        import torch

        backend = device.distributed_backend
        if device.kind != "cpu":
            torch.accelerator.set_device_index(self.local_rank)
            backend = f"cpu:gloo,{device.kind}:{backend}"
        torch.distributed.init_process_group(
            backend, timeout=datetime.timedelta(seconds=PATIENCE_S)
        )

    def sums(self, *values: float) -> list[float]:
        """Each value summed over all ranks, in float64."""
        if self.size == 1:
            return list(values)
        import torch

        total = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        result: list[float] = total.tolist()
        return result

    def gather(self, mine: Sequence[Any]) -> list[list[Any]]:
        """What every rank has, by rank."""
        if self.size == 1:
            return [list(mine)]
        import torch

        everyone: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(everyone, list(mine))
        return everyone

    def wait(self) -> None:
        """Until every rank is here."""
        self.sums(0.0)
