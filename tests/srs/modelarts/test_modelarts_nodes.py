"""Several nodes on one machine: the first leads, the others follow until it is done, or gone."""

import contextlib
import errno
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from srs.config import Config, override
from srs.modelarts import entry, nodes, storage
from srs.modelarts.arguments import parse
from srs.modelarts.environment import Node
from srs.modelarts.mirror import Mirror
from srs.modelarts.storage import Folder, StorageError
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
        lines = calls.read_text().splitlines()
        assert lines[0] == "stop --force", "what an earlier attempt left would be taken for our own"
        head, *joined = (line for line in lines if line != "stop --force")
        assert len(lines) == 2 * 3
        leader.code = code
    assert head.startswith(f"start --block --head --port={variables['SRS_RAY_PORT']}")
    assert joined == [f"start --block --address={address}"] * 2
    for thread, results in followers:
        thread.join(20)
        assert results == [code]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(variables["SRS_RAY_PORT"])))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_others_end_with_an_error_when_the_first_is_killed_and_its_ray_ends_too(
    variables: dict[str, str], tmp_path: Path, how: signal.Signals
) -> None:
    thread, results = in_thread(lambda: nodes.follow(node(1, 2), variables, tmp_path))
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER], env=variables,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "leading\n"
        leader.send_signal(how)
        leader.wait(20)
        thread.join(20)
        deadline = time.monotonic() + 20
        while answers(variables["SRS_RAY_PORT"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not answers(variables["SRS_RAY_PORT"])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)
        leader.communicate()
    (error,) = results
    assert isinstance(error, nodes.NodeLost)
    assert "node 0 (127.0.0.1) went away" in str(error)


def answers(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_first_node_that_falls_silent_is_noticed() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        nodes._call("127.0.0.1", server.getsockname()[1]) as call,
    ):
        assert call.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, every, count = (
            call.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + every * count <= 120

    class Silent(socket.socket):
        def recv(self, *_: object) -> bytes:
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    with Silent() as silent:
        assert list(itertools.islice(nodes._lines(silent), 3)) == []


def test_what_fails_on_the_first_node_before_training_ends_the_others(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "JOIN_S", 20.0)
    thread, results = in_thread(lambda: nodes.follow(node(1, 2), variables, tmp_path))
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "manifest.json").write_text("{")
    words = [f"--run_url={tmp_path / 'storage'}", f"--work_dir={tmp_path / 'work'}"]
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        entry.run(parse(words, {}), node(0, 2), variables, tmp_path)
    thread.join(30)
    assert results == [2]


def test_a_storage_that_answers_at_the_third_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it failed to give the manifest, once to give the files."""
    (tmp_path / "before" / "run" / "rounds").mkdir(parents=True)
    (tmp_path / "before" / "run" / "config.json").write_text("{}")
    Mirror(tmp_path / "before", Folder(tmp_path / "storage")).upload()
    failures = iter([StorageError("no route")])
    later = iter([StorageError("no route")])

    class Failing(Folder):
        def read(self, name: str) -> bytes | None:
            for error in failures:
                raise error
            return super().read(name)

        def download(self, names: Iterable[str], folder: Path) -> None:
            for error in later:
                raise error
            super().download(names, folder)

    monkeypatch.setattr(storage, "RETRY_S", (0.01, 0.01))
    monkeypatch.setattr(entry, "open_storage", lambda url: Failing(Path(url)))
    monkeypatch.setattr(entry, "train", lambda words, *_: 7 if "--resume" in words else 8)
    words = [f"--run_url={tmp_path / 'storage'}", f"--work_dir={tmp_path / 'work'}"]
    assert entry.run(parse(words, {}), None, {}, None) == 7
    assert (tmp_path / "work" / "run" / "config.json").read_text() == "{}"


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
        nodes.Leader(node(0, 1), variables | {"PATH": str(tmp_path)}, None),
    ):
        pass


def test_unusable_ports(variables: dict[str, str]) -> None:
    with pytest.raises(UserError, match="SRS_RAY_PORT"):
        nodes.ports(variables | {"SRS_RAY_PORT": "x"})
