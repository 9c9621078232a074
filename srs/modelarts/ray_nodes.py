"""Waits until a Ray cluster has as many nodes as the job: python -m srs.modelarts.ray_nodes ADDRESS COUNT.

A process of its own, so that the one that started the cluster never becomes a driver in it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

POLL_S = 0.5


def wait_for(address: str, count: int) -> None:
    """Returns once ``count`` nodes are alive; the caller limits the time."""
    ray = _ray()
    ray.init(address=address, configure_logging=False, log_to_driver=False)
    while sum(bool(node["Alive"]) for node in ray.nodes()) < count:
        time.sleep(POLL_S)
    ray.shutdown()


def _ray() -> Any:
    """Ray; much of it has no types."""
    import ray

    return ray


if __name__ == "__main__":
    wait_for(sys.argv[1], int(sys.argv[2]))
