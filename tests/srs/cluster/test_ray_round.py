"""A round with real engines: what comes back from a cluster is what one machine gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster_parts import Nodes
from random_model import make_task

from srs import config as configs
from srs.cluster.bundles import Reservation, divide
from srs.cluster.cluster import Cluster
from srs.cluster.hosts import hosts
from srs.cluster.parcels import Outbox
from srs.config import Config
from srs.finetune import SftResult, Tuner, open_tuner
from srs.generate import Generator, Policy, Request, Sampling, open_generator
from srs.replicas import Replicas
from srs.types import Candidate, SftExample

SAMPLING = Sampling(n=2, temperature=0.8, top_p=0.95, max_tokens=16)
REQUESTS = [Request(task=make_task(i), seed=1000 * i) for i in range(6)]
EXAMPLES = [
    SftExample(
        task=f"add_{i}", round=1, prompt=f"Add {i} to x.\n", completion=f"return x + {i}\n",
        weight=1.0, source="self",
    )
    for i in range(6)
]  # fmt: skip


def train(tuner: Tuner, out: Path) -> SftResult:
    with tuner:
        return tuner.sft(EXAMPLES, start=None, out=out, seed=3)


def write(generator: Generator, adapter: Path) -> Sequence[Candidate]:
    policies = [Policy(name="base", adapter=None), Policy(name="round-0001", adapter=adapter)]
    with generator:
        found = [
            candidate
            for policy in policies
            for candidate in generator.generate(REQUESTS, policy=policy, sampling=SAMPLING, round=1)
        ]
    return sorted(found, key=lambda c: (c.policy, c.task, c.index))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_round_gives_what_one_machine_gives(
    nodes: Nodes, random_model: Path, tmp_path: Path
) -> None:
    """One after the other, as the machine that runs this has to hold them."""
    settings: dict[str, Any] = {
        "model": {"path": str(random_model)},
        "devices": {"replicas": 1},
        "generate": {"engine": "transformers", "max_tokens": 16},
        "finetune": {"lora_r": 4, "learning_rate": 0.05, "epochs": 2, "batch_size": 2, "micro_batch_size": 2},
    }  # fmt: skip
    config: Config = configs.from_dict(settings, "test")
    assert len(nodes.living) == 3
    found = hosts()
    cluster = Cluster(
        config=config,
        hosts=found,
        reservation=Reservation(divide(config.devices, found)),
        outbox=Outbox(),
    )
    here, there = tmp_path / "here" / "0001", tmp_path / "there" / "0001"
    assert train(cluster.tuner(), there) == train(open_tuner(config, tmp_path / "t.log"), here)
    assert files(there) == files(here)
    remote = write(Replicas(cluster.replicas()), there)
    local = write(open_generator(config, tmp_path / "g.log"), here)
    assert remote == local
    assert len({c.completion for c in local if c.policy == "base"}) > 6
    assert [c.completion for c in local[:12]] != [c.completion for c in local[12:]]
    cluster.reservation.release()
