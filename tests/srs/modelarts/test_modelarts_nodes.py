"""Several nodes on one machine: the first leads, the others follow until it is done, or gone."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from srs.config import Config, override
from srs.modelarts import nodes
from srs.modelarts.environment import Node
from srs.types import UserError

ROOT = Path(__file__).parents[3]
LEADER = """
import json, os, sys, time
from srs.modelarts.environment import Node
from srs.modelarts.nodes import Leader
with Leader(Node(index=0, hosts=("127.0.0.1",) * 2, address="127.0.0.1", cards=0), os.environ, None):
    print("leading", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        ray, status = a.getsockname()[1], b.getsockname()[1]
    return {
        **os.environ,
        "PATH": f"{Path(__file__).parent / 'fakes' / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": f"{Path(__file__).parent / 'fakes' / 'of_ray'}:{ROOT}",
        "FAKE_RAY": str(tmp_path / "ray-calls"),
        "SRS_RAY_PORT": str(ray),
        "SRS_STATUS_PORT": str(status),
    }


def node(index: int, count: int) -> Node:
    return Node(index=index, hosts=("127.0.0.1",) * count, address="127.0.0.1", cards=8)


def in_thread(work: Callable[[], int]) -> tuple[threading.Thread, list[int | Exception]]:
    results: list[int | Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as e:
            results.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


@pytest.mark.parametrize("code", [0, 3])
def test_the_others_lend_their_devices_until_the_first_is_done(
    variables: dict[str, str], tmp_path: Path, code: int
) -> None:
    followers = [
        in_thread(lambda i=i: nodes.follow(node(i, 3), variables, tmp_path)) for i in (1, 2)
    ]
    calls = tmp_path / "ray-calls"
    with nodes.Leader(node(0, 3), variables, tmp_path) as leader:
        address = f"127.0.0.1:{variables['SRS_RAY_PORT']}"
        assert leader.variables["RAY_ADDRESS"] == address
        head, *joined = calls.read_text().splitlines()
        leader.code = code
    assert head.startswith(f"start --block --head --port={variables['SRS_RAY_PORT']}")
    assert joined == [f"start --block --address={address}"] * 2
    for thread, results in followers:
        thread.join(20)
        assert results == [code]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(variables["SRS_RAY_PORT"])))


def test_the_others_end_with_an_error_when_the_first_is_killed(
    variables: dict[str, str], tmp_path: Path
) -> None:
    thread, results = in_thread(lambda: nodes.follow(node(1, 2), variables, tmp_path))
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER], env=variables,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "leading\n"
    finally:
        os.killpg(leader.pid, signal.SIGKILL)
        leader.communicate()
    thread.join(20)
    (error,) = results
    assert isinstance(error, nodes.NodeLost)
    assert "node 0 (127.0.0.1) went away" in str(error)


def test_a_node_that_never_calls_is_named_missing(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "JOIN_S", 0.2)
    with (
        pytest.raises(nodes.NodeLost, match="2 of 2 other nodes did not call"),
        nodes.Leader(node(0, 3), variables, None),
    ):
        pass
    with pytest.raises(nodes.NodeLost, match="does not answer on port"):
        nodes.follow(node(1, 2), variables, None)


def test_what_the_run_is_told_of_the_cluster_is_a_key_that_it_knows() -> None:
    assert override(Config(), [nodes.OVERRIDE]).devices.cluster == "ray"


def test_an_image_without_ray_is_one_line(variables: dict[str, str], tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="several nodes need Ray"),
        nodes.Leader(node(0, 2), variables | {"PATH": str(tmp_path)}, None),
    ):
        pass


def test_unusable_ports(variables: dict[str, str]) -> None:
    with pytest.raises(UserError, match="SRS_RAY_PORT"):
        nodes.ports(variables | {"SRS_RAY_PORT": "x"})
