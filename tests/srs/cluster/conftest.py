"""A Ray cluster of several nodes on this machine."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_parts import HERE, Nodes

from srs.cluster import hosts
from srs.cluster.hosts import connected

pytest.importorskip("ray")


@pytest.fixture(scope="session")
def _nodes() -> Iterator[Nodes]:
    """The nodes, and this process their driver. Actors can import from this folder."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: sockets are made in it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_enable_metrics_collection", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        # It notes its address there, in a folder that it expects.
        patch.setenv("RAY_TMPDIR", str(folder))
        (folder / "ray").mkdir()
        patch.setenv("PYTHONPATH", str(HERE))
        # Other sources may be edited while a test runs; comparing hosts' code has a test of its own.
        patch.setattr(hosts, "CODE", ("srs/cluster",))
        ended_by = signal.getsignal(signal.SIGTERM)
        nodes = Nodes(folder)
        with connected(nodes.address):
            # Ray's own handler would be inherited by what tests of other folders fork.
            signal.signal(signal.SIGTERM, ended_by)
            yield nodes
        nodes.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nodes(_nodes: Nodes) -> Nodes:
    """Three living nodes."""
    _nodes.fill()
    return _nodes
