"""Generation and training on the same devices: who holds them when, and that nothing is lost by it."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, cast

import pytest
from random_adapter import make_adapter
from random_model import make_task

from srs import config as configs
from srs import generate, lab
from srs.child import Child, ChildError
from srs.config import Config
from srs.device import Device, Kind
from srs.finetune import SftResult, Tuner
from srs.generate import Generator, Policy, Request, Sampling, open_replica
from srs.replicas import Replicas
from srs.turns import Turns
from srs.types import Candidate

BASE = Policy(name="base", adapter=None)
SAMPLED = Sampling(n=2, temperature=0.8, top_p=0.95, max_tokens=16)
REQUESTS = [Request(task=make_task(i), seed=1000 * i) for i in range(6)]
CPU = Device(kind="cpu", threads=2)


# The order of things, with parts that only write down what is asked of them.


class Engine:
    """A replica. ``says``: what `wake` answers; "dies" and the like raise."""

    def __init__(self, log: list[str], says: Any) -> None:
        self.log, self.says = log, says

    def __enter__(self) -> Self:
        self.log.append("engine starts")
        return self

    def __exit__(self, *exc: object) -> None:
        self.log.append("engine ends")

    def ready(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"engine": "recorded", "chat": False}

    def sleep(self) -> None:
        self.log.append("sleep")
        if self.says == "dies asleep":
            raise ChildError("killed")

    def wake(self) -> bool:
        self.log.append("wake")
        if self.says == "dies waking":
            raise ChildError("killed")
        return bool(self.says)

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        self.log.append("generate")
        for request in requests:
            for index in range(sampling.n):
                yield Candidate(
                    task=request.task.id, round=round, index=index, prompt="", completion="", code=None,
                    policy=policy.name, seed=request.seed + index, n_tokens=0, truncated=False,
                )  # fmt: skip


class Trainer:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def __enter__(self) -> Self:
        self.log.append("trainer starts")
        return self

    def __exit__(self, *exc: object) -> None:
        self.log.append("trainer ends")

    def ready(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"device": "recorded"}

    def sft(self, *_: Any, **__: Any) -> SftResult:
        self.log.append("train")
        return SftResult(loss=None, n_tokens=0, n_steps=0)


def a_run(*, sleeping: bool, says: Any = True) -> list[str]:
    """What happens in two rounds of: generate, train, evaluate."""
    log: list[str] = []
    replicas = Replicas([lambda: cast(Generator, Engine(log, says))])
    turns = Turns(replicas, lambda: cast(Tuner, Trainer(log)), sleeping=sleeping)
    with turns.generator as generator, turns.tuner as tuner:
        tuner.ready()
        generator.ready()
        assert tuner.describe() == {"device": "recorded"}
        for _ in range(2):
            log.append("|")
            assert len(_ask(generator, BASE)) == len(REQUESTS) * SAMPLED.n
            assert not generator.chat
            tuner.sft([], start=None, out=Path("out"), seed=0)
            assert (generator.engine, generator.chat) == ("recorded", False)
        assert tuner.describe() == {"device": "recorded"}
    return log


START = ["trainer starts", "trainer ends", "engine starts"]


def test_on_nvidia_the_engine_sleeps_and_the_trainer_ends() -> None:
    assert a_run(sleeping=True) == [
        *START,
        "|", "generate", "sleep", "trainer starts", "train",
        "|", "trainer ends", "wake", "generate", "sleep", "trainer starts", "train",
        "trainer ends", "engine ends",
    ]  # fmt: skip


def test_on_ascend_every_phase_is_a_process_that_ends() -> None:
    assert a_run(sleeping=False) == [
        *START,
        "|", "generate", "engine ends", "trainer starts", "train",
        "|", "trainer ends", "engine starts", "generate", "engine ends", "trainer starts", "train",
        "trainer ends",
    ]  # fmt: skip


@pytest.mark.parametrize("says", [False, "dies waking"])
def test_an_engine_that_wakes_up_another_is_started_anew(
    says: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        log = a_run(sleeping=True, says=says)
    assert log[len(START) :] == [
        "|", "generate", "sleep", "trainer starts", "train",
        "|", "trainer ends", "wake", "engine ends", "engine starts", "generate", "sleep", "trainer starts", "train",
        "trainer ends", "engine ends",
    ]  # fmt: skip
    assert "something else" in caplog.text or "died asleep: killed" in caplog.text


def test_an_engine_that_dies_falling_asleep_is_started_when_it_is_needed() -> None:
    log = a_run(sleeping=True, says="dies asleep")
    assert log[len(START) :] == [
        "|", "generate", "sleep", "engine ends", "trainer starts", "train",
        "|", "trainer ends", "engine starts", "generate", "sleep", "engine ends", "trainer starts", "train",
        "trainer ends",
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "sleeping"), [("cuda", True), ("npu", False)])
def test_a_lab_on_one_accelerator_takes_turns(
    kind: Kind, sleeping: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started by composing it."""
    monkeypatch.setattr(lab, "detect", lambda: Device(kind=kind, indices=("0",), threads=4))
    made: list[Any] = []

    def recording(*arguments: Any, **how: Any) -> Turns:
        made.append((arguments, how))
        return Turns(*arguments, **how)

    monkeypatch.setattr(lab, "Turns", recording)
    config = configs.from_dict({"generate": {"engine": "transformers"}}, "test")
    generator, _ = lab._models(config, tmp_path)
    ((arguments, how),) = made
    assert how == {"sleeping": sleeping}
    assert isinstance(arguments[0], Replicas)
    assert not isinstance(generator, Replicas)
    assert not list(tmp_path.iterdir())


# Real engines.


def _config(folder: Path, engine: str) -> Config:
    return configs.from_dict(
        {
            "model": {"path": str(folder)},
            "generate": {"engine": engine, "max_tokens": 16},
            "finetune": {"lora_r": 4},
        },
        "test",
    )


def _ask(generator: Generator, policy: Policy) -> list[Candidate]:
    found = list(generator.generate(REQUESTS, policy=policy, sampling=SAMPLED, round=1))
    return sorted(found, key=lambda candidate: (candidate.task, candidate.index))


def _pids(replicas: Replicas) -> list[int]:
    generators: list[Any] = [replica._generator for replica in replicas._all]
    return [generator._child._process.pid for generator in generators if generator]


def test_an_engine_that_rests_by_ending_answers_as_before(
    random_model: Path, tmp_path: Path
) -> None:
    open_one = functools.partial(
        open_replica, _config(random_model, "transformers"), CPU, tmp_path / "log"
    )
    tuned = Policy(name="round-0001", adapter=make_adapter(random_model, tmp_path / "0001"))
    with Replicas([open_one]) as replicas:
        before = _ask(replicas, tuned)
        (pid,) = _pids(replicas)
        replicas.rest(sleeping=False)
        assert not Path(f"/proc/{pid}").exists()
        replicas.resume()
        assert _pids(replicas) != [pid]
        assert _ask(replicas, tuned) == before
        # And asleep: the transformers engine moves its weights, on a CPU to where they are.
        pids = _pids(replicas)
        replicas.rest(sleeping=True)
        replicas.resume()
        assert _pids(replicas) == pids
        assert _ask(replicas, tuned) == before


def test_vllm_that_lost_its_adapter_asleep_is_found_out_and_started_anew(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU vLLM's own sleep does nothing; its first life here loses the adapter on waking."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    config = _config(random_model, "vllm")
    targets = iter(["forgetful_worker:ForgetfulWorker", "srs.engines.worker:GenerationWorker"])

    def child(name: str, _: str, arguments: Any, **how: Any) -> Child:
        environment = {**how.pop("environment"), "PYTHONPATH": str(Path(__file__).parent)}
        return Child(name, next(targets), arguments, environment=environment, **how)

    monkeypatch.setattr(generate, "Child", child)
    tuned = Policy(name="round-0001", adapter=make_adapter(random_model, tmp_path / "0001"))
    with Replicas([functools.partial(open_replica, config, CPU, tmp_path / "log")]) as replicas:
        before = _ask(replicas, tuned)
        first = _pids(replicas)
        replicas.rest(sleeping=True)
        replicas.resume()
        second = _pids(replicas)
        assert first != second
        assert _ask(replicas, tuned) == before
        replicas.rest(sleeping=True)
        replicas.resume()
        assert _pids(replicas) == second, "nothing was lost: the same process goes on"
        assert _ask(replicas, tuned) == before
