"""The connection: what is refused before anything starts, and that nothing of the process is changed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from cluster_parts import Nodes

from srs.cluster import hosts
from srs.cluster.hosts import check_host, code, connected, device_here, log_path
from srs.types import UserError


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "give HOST:PORT of the head"),
        ("head", "give HOST:PORT of the head"),
        ("head:six", "give HOST:PORT of the head"),
        ("127.0.0.1:{free}", "nobody answers there"),
        ("127.0.0.1:99999", "nobody answers there"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(address: str, message: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = address.format(free=unused.getsockname()[1])
        start = time.monotonic()
        with pytest.raises(UserError, match=f"^devices.ray_address = {address}: {message}"):
            connected(address).__enter__()
        assert time.monotonic() - start < 5


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs the package ray: pip install 'srs-code\[ray\]'"):
        connected("").__enter__()


def test_the_hosts_are_those_that_work(nodes: Nodes) -> None:
    found = hosts.hosts()
    assert {host.id for host in found} == set(nodes.living)
    assert [host.name for host in found] == sorted(
        f"{socket.gethostname()}/{h.id[:6]}" for h in found
    )
    assert {host.cores for host in found} == {1.0}
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.usefixtures("nodes")
def test_signals_stay_the_entry_points() -> None:
    import importlib

    ray = importlib.import_module("ray")

    def ours(*_: object) -> None:
        pass

    signal.signal(signal.SIGTERM, ours)
    with hosts._own_signals():
        ray._private.utils.set_sigterm_handler(lambda *_: None)
        assert signal.getsignal(signal.SIGTERM) is not ours
    assert signal.getsignal(signal.SIGTERM) is ours


def test_a_host_with_other_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "CODE", ("srs/cluster",))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ours = code()
    assert "srs/cluster/hosts.py" in ours
    assert check_host(ours) == socket.gethostname()
    assert "OMP_NUM_THREADS" not in os.environ, "Ray's idea of it"
    with pytest.raises(UserError, match=r"srs/cluster/hosts\.py differs from that of the host"):
        check_host({**ours, "srs/cluster/hosts.py": "0" * 64})
    with pytest.raises(UserError, match=r"srs/cluster/new\.py differs"):
        check_host({**ours, "srs/cluster/new.py": "0" * 64})


def test_devices_of_another_kind_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "")
    assert device_here("cpu").kind == "cpu"
    with pytest.raises(UserError, match="Ray offers cuda devices and this project finds cpu"):
        device_here("cuda")


def test_logs_lie_in_a_folder_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = log_path("generate-0")
    assert path == tmp_path / f"srs-{os.getuid()}" / f"generate-0-{os.getpid()}.log"
    assert path.parent.stat().st_mode & 0o777 == 0o700
