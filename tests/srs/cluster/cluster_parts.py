"""What the tests send to the nodes' actors, and the nodes."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from sandbox.runner import Job, SandboxConfig, SandboxError
from srs.child import ChildError
from srs.cluster.station import GradingHost
from srs.config import Config
from srs.device import Device
from srs.finetune import DpoResult, SftResult
from srs.generate import Policy, Request, Sampling
from srs.placement import Placement
from srs.types import Candidate, PreferencePair, SftExample, UserError, to_json

HERE = Path(__file__).parent
STORE_BYTES = 80 << 20


class Nodes:
    """Three nodes that work, beside a head that doesn't; each thinks it is a host of its own.

    ``caches`` are their cache folders, by node id.
    """

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self._folder = folder
        self.caches: dict[str, Path] = {}
        self._cluster: Any = Cluster()
        self._add(
            num_cpus=0,
            temp_dir=str(folder),
            # A killed node is noticed in a second or two, a slow one is not taken for dead.
            _system_config={
                "health_check_initial_delay_ms": 0,
                "health_check_period_ms": 500,
                "health_check_timeout_ms": 10_000,
                "health_check_failure_threshold": 3,
                "agent_register_timeout_ms": 300_000,
                "worker_register_timeout_seconds": 300,
            },
        )
        self.fill()

    @property
    def address(self) -> str:
        address: str = self._cluster.address
        return address

    def fill(self) -> None:
        """Add what is missing to three nodes."""
        while len(self._cluster.worker_nodes) < 3:
            cache = self._folder / f"cache-{len(self.caches)}"
            node = self._add(num_cpus=1, env_vars={"SRS_CACHE_DIR": str(cache)})
            self.caches[node.node_id] = cache
        self._cluster.wait_for_nodes()

    def _add(self, **options: Any) -> Any:
        """A node more. Ray gives one 15 s for its helpers to start: on a busy machine too few at times."""
        for tries_left in (2, 1, 0):
            try:
                return self._cluster.add_node(
                    object_store_memory=STORE_BYTES, include_dashboard=False, wait=False, **options
                )
            except Exception as e:  # the boundary: Ray raises nothing more specific
                if not tries_left or "timed out during startup" not in str(e):
                    raise
        raise AssertionError("unreachable")

    def kill(self, node_id: str) -> None:
        """As a power cut would: nothing on the node gets to say goodbye."""
        (node,) = [n for n in self._cluster.worker_nodes if n.node_id == node_id]
        self._cluster.remove_node(node, allow_graceful=False)

    @property
    def living(self) -> list[str]:
        return [node.node_id for node in self._cluster.worker_nodes]

    def shutdown(self) -> None:
        self._cluster.shutdown()


class Doomed(GradingHost):
    """A host whose sandbox breaks on the job that prints 3."""

    def grade(self, jobs: Sequence[Job]) -> Any:
        if any("print(3)" in job.solution for job in jobs):
            raise SandboxError("the disk is full")
        return super().grade(jobs)


class Fragile(GradingHost):
    """The first host that is asked breaks, and takes a minute to start again."""

    mark = Path(os.environ.get("SRS_CACHE_DIR", "")).parent / "broken"

    def open(self, config: SandboxConfig, code: dict[str, str]) -> Any:
        if self.mark.exists() and self.mark.read_text() == os.environ["SRS_CACHE_DIR"]:
            time.sleep(60)
        return super().open(config, code)

    def grade(self, jobs: Sequence[Job]) -> Any:
        if not self.mark.exists():
            self.mark.write_text(os.environ["SRS_CACHE_DIR"])
            raise SandboxError("the disk is full")
        return super().grade(jobs)


class Other(GradingHost):
    """A host whose sandbox is another one on every start."""

    def open(self, config: SandboxConfig, code: dict[str, str]) -> Any:
        return dataclasses.replace(super().open(config, code), identity=f"cpython {os.getpid()}")


class FakeGenerator:
    """Says which adapter it was given, slowly. Questions may ask for an error."""

    engine, chat = "fake", False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def ready(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"engine": self.engine, "chat": self.chat}

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        for request in requests:
            if request.task.question == "user":
                raise UserError("adapter: no adapter there")
            if request.task.question == "die":
                raise ChildError("the generation process exited (7)")
            time.sleep(0.05)
            weights = (policy.adapter / "sub" / "weights").read_text() if policy.adapter else ""
            for index in range(sampling.n):
                yield Candidate(
                    task=request.task.id, round=round, index=index, prompt="p",
                    completion=f"{request.seed} {weights}", code=None, policy=policy.name,
                    seed=request.seed + index, n_tokens=1, truncated=False,
                )  # fmt: skip


def fake_generator(_config: Config, _device: Device, _log_path: Path) -> FakeGenerator:
    return FakeGenerator()


class FakeTuner:
    """Writes what it was given. The first call for a mark stays busy after it made it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def ready(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"device": "cpu"}

    def sft(
        self, examples: Sequence[SftExample], *, start: Path | None, out: Path, seed: int
    ) -> SftResult:
        import ray

        if examples[0].prompt == "die":
            raise ChildError("rank 1 was ended by SIGKILL")
        mark = Path(examples[0].prompt)
        if not mark.exists():
            mark.write_text(ray.get_runtime_context().get_node_id())
            time.sleep(300)
        before = (start / "sub" / "weights").read_text() if start else ""
        (out / "sub").mkdir(parents=True)
        (out / "sub" / "weights").write_text(f"{before}{seed} ")
        (out / "empty").touch()
        return SftResult(loss=0.5, n_tokens=len(examples), n_steps=1)

    def dpo(
        self, pairs: Sequence[PreferencePair], *, start: Path | None, out: Path, seed: int
    ) -> DpoResult:
        raise NotImplementedError


def fake_tuner(_config: Config, _log_path: Path, placement: Placement) -> FakeTuner:
    assert placement.train_processes == 1
    return FakeTuner()


def without_time(record: Any) -> dict[str, Any]:
    """A verdict or result as a dict, but for how long it took."""
    return {key: value for key, value in to_json(record).items() if key != "wall_s"}
