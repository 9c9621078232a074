"""Training on a host of the cluster: adapters arrive whole, and once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_parts import Nodes, fake_tuner

from srs.child import ChildError
from srs.cluster import training
from srs.cluster.bundles import Division, Reservation
from srs.cluster.errors import HostLost
from srs.cluster.parcels import Outbox
from srs.cluster.training import RayTuner
from srs.config import Config
from srs.finetune import SftResult
from srs.types import SftExample

DONE = SftResult(loss=0.5, n_tokens=1, n_steps=1)


def example(mark: Path | str) -> SftExample:
    return SftExample(task="t", round=1, prompt=str(mark), completion="", weight=1.0, source="self")


@pytest.fixture
def tuner(nodes: Nodes) -> Iterator[RayTuner]:
    assert len(nodes.living) == 3
    made = Reservation(Division(kind="cpu", replicas=1, per_replica=0, training=0, share=1))
    with RayTuner(Config(), made, Outbox(), fake_tuner) as opened:
        yield opened
    made.release()


def kill_when(mark: Path, nodes: Nodes) -> None:
    """Kill the node that made the mark, or all of them once one did."""
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.05)
    nodes.kill(mark.read_text())


def test_an_adapter_comes_back_and_starts_the_next(tuner: RayTuner, tmp_path: Path) -> None:
    (mark := tmp_path / "mark").touch()
    first, second = tmp_path / "adapters" / "0001", tmp_path / "adapters" / "0002"
    assert tuner.sft([example(mark)], start=None, out=first, seed=1) == DONE
    assert tuner.sft([example(mark)], start=first, out=second, seed=2) == DONE
    assert (second / "sub" / "weights").read_text() == "1 2 "
    assert (second / "empty").read_bytes() == b""
    assert sorted(p.name for p in (tmp_path / "adapters").iterdir()) == ["0001", "0002"]
    with pytest.raises(FileExistsError, match="never overwritten"):
        tuner.sft([example(mark)], start=None, out=first, seed=1)
    with pytest.raises(ChildError, match=r"^\S+: rank 1 was ended by SIGKILL$"):
        tuner.sft([example("die")], start=None, out=tmp_path / "adapters" / "0003", seed=3)
    assert not (tmp_path / "adapters" / "0003").exists()


def test_a_lost_round_is_trained_again_elsewhere(
    nodes: Nodes, tuner: RayTuner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark, out = tmp_path / "mark", tmp_path / "0001"
    killer = threading.Thread(target=kill_when, args=(mark, nodes))
    killer.start()
    assert tuner.sft([example(mark)], start=None, out=out, seed=5) == DONE
    killer.join()
    assert mark.read_text() not in nodes.living
    assert (out / "sub" / "weights").read_text() == "5 "
    assert "the host that trains is lost, starting again on another" in caplog.text


def test_the_run_stops_when_no_host_is_left(
    nodes: Nodes, tuner: RayTuner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner.ready()
    monkeypatch.setattr(training, "START_S", 1.0)
    monkeypatch.setattr(training, "CLOSE_S", 0.5)
    for node in nodes.living:
        nodes.kill(node)
    with pytest.raises(HostLost, match="training: its host is lost"):
        tuner.sft([example(tmp_path / "mark")], start=None, out=tmp_path / "0001", seed=1)
    assert not (tmp_path / "0001").exists()
