"""A whole run on a cluster that loses a node in mid-round: its results are those of one machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cluster_parts import Nodes
from run_results import results

SETTINGS = (
    "run.rounds=1",
    "tasks.limit=8",
    "scheduler.tasks_per_round=8",
    "scheduler.new_share=1.0",
    "generate.engine=transformers",
    "generate.n=4",
    "generate.max_tokens=48",
    "generate.batch_size=4",
    "finetune.epochs=1",
    "dpo.enabled=false",
    "eval.limit=2",
    "eval.n=0",
    "sandbox.backend=process",
    "sandbox.workers=1",
)


def start(run: Path, *more: str) -> subprocess.Popen[str]:
    sets = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-m", "srs.train", "--run-dir", str(run), *sets],
        env={**os.environ, "SRS_CACHE_DIR": str(run.parent / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Its output. A run that doesn't end is stopped."""
    try:
        output, _ = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


def hosts_of_replicas() -> list[str]:
    """The ids of the nodes that generate now."""
    from ray._private import state

    actors: list[dict[str, Any]] = list(state.actors().values())
    return [
        actor["Address"]["NodeID"]
        for actor in actors
        if actor["ActorClassName"] == "GenerationHost" and actor["State"] == "ALIVE"
    ]


def test_a_run_that_loses_a_node_in_mid_round_gives_what_one_machine_gives(
    nodes: Nodes, tmp_path: Path
) -> None:
    local, ray = tmp_path / "local", tmp_path / "ray"
    finish(start(local))
    process = start(
        ray, "devices.cluster=ray", f"devices.ray_address={nodes.address}", "devices.replicas=2"
    )
    deadline = time.monotonic() + 600
    while not (ray / "rounds/0001/plan.json").exists() and time.monotonic() < deadline:
        assert process.poll() is None, finish(process)
        time.sleep(0.02)
    victim = hosts_of_replicas()[0]
    nodes.kill(victim)
    output = finish(process)
    assert "ray: 3 hosts, 2 generation replicas, training on a CPU" in output
    assert "died, starting another" in output, "the node was lost too late"
    assert f"/{victim[:6]} failed, its jobs are done elsewhere" in output
    assert results(ray) == results(local)
    assert len(results(ray)["rounds/0001/candidates.jsonl"]) == 8 * 4
    assert "adapters/0001/adapter_model.safetensors" in results(ray)
