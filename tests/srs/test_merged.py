"""Serving full weights where an adapter can't be loaded: the same answers, and nothing left on the disk."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from random_adapter import make_adapter
from random_model import make_task, make_tokenizer

from srs import config as configs
from srs.engines.engine import Engine, Prompt, Sample
from srs.engines.merged import MergedEngine
from srs.generate import Generator, Policy, Request, Sampling, open_generator
from srs.models import ModelSource
from srs.types import Candidate, UserError

BASE = Policy(name="base", adapter=None)
GREEDY = Sampling(n=1, temperature=0.0, top_p=1.0, max_tokens=24)
REQUESTS = [Request(task=make_task(i), seed=1000 * i) for i in range(8)]
SOURCE = ModelSource(name="/base", is_local=True)


class Loader:
    """An engine that notes what it was told to load; `merge` beside it writes a file."""

    name = "loader"

    def __init__(self) -> None:
        self.log: list[str] = []

    def sample(
        self, prompts: Sequence[Prompt], *, adapter: Path | None, **_: Any
    ) -> Iterator[tuple[int, list[Sample]]]:
        assert adapter is None
        assert not prompts
        self.log.append("sample")
        return iter(())

    def reload(self, source: ModelSource) -> None:
        assert source.name == SOURCE.name or any(Path(source.name).iterdir())
        self.log.append(f"load {Path(source.name).name}")

    def sleep(self) -> None:
        self.log.append("sleep")

    def wake(self) -> None:
        self.log.append("wake")

    def merge(self, base: ModelSource, adapter: Path, out: Path) -> None:
        assert base == SOURCE
        out.mkdir()
        (out / "model.safetensors").touch()
        self.log.append(f"merge {adapter.name}")


def test_weights_are_merged_once_for_each_adapter_and_removed(tmp_path: Path) -> None:
    loader, folder = Loader(), tmp_path / "merged"
    (folder / "0000").mkdir(parents=True)  # left by a process that was killed
    engine = MergedEngine(cast(Engine, loader), SOURCE, folder, loader.merge)
    adapters = [tmp_path / "0001", tmp_path / "0002"]
    for adapter in adapters:
        adapter.mkdir()
        (adapter / "adapter_model.safetensors").touch()
    (full := tmp_path / "full").mkdir()
    for name in ("model.safetensors", "config.json"):
        (full / name).touch()

    def ask(adapter: Path | None) -> None:
        list(engine.sample([], adapter=adapter, n=1, temperature=1.0, top_p=1.0))
        assert not folder.exists() or not list(folder.iterdir())

    for chosen in (None, adapters[0], adapters[0], adapters[1], None, None, adapters[0], full):
        ask(chosen)
    shutil.rmtree(adapters[0])
    with pytest.raises(UserError, match="no adapter there"):
        ask(adapters[0])
    engine.sleep()
    engine.wake()
    ask(full)
    assert loader.log == [
        "sample",
        "merge 0001", "load 0001", "sample", "sample",
        "merge 0002", "load 0002", "sample",
        "load base", "sample", "sample",
        "merge 0001", "load 0001", "sample",
        "load full", "sample", "sleep", "wake", "sample",
    ]  # fmt: skip


def test_an_adapter_that_cannot_be_merged_leaves_nothing(tmp_path: Path) -> None:
    def merge(_: ModelSource, __: Path, out: Path) -> None:
        out.mkdir()
        raise UserError("virtual tokens can't be merged")

    loader, folder = Loader(), tmp_path / "merged"
    engine = MergedEngine(cast(Engine, loader), SOURCE, folder, merge)
    (adapter := tmp_path / "0001").mkdir()
    (adapter / "adapter_model.safetensors").touch()
    with pytest.raises(UserError, match="virtual tokens"):
        list(engine.sample([], adapter=adapter, n=1, temperature=1.0, top_p=1.0))
    assert not list(folder.iterdir())
    assert loader.log == []


def _open(model: Path, engine: str, serve: str, log: Path) -> Generator:
    data = {
        "model": {"path": str(model)},
        "generate": {"engine": engine, "serve": serve, "max_tokens": 24},
        "finetune": {"lora_r": 4},
    }
    return open_generator(configs.from_dict(data, "test"), log)


def _ask(generator: Generator, policy: Policy) -> list[Candidate]:
    found = list(generator.generate(REQUESTS, policy=policy, sampling=GREEDY, round=1))
    return sorted(found, key=lambda candidate: candidate.task)


@pytest.fixture(scope="module")
def full_model(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every weight another, the embeddings and the head that is tied to them included."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("full")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: Any = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_merged_weights_say_what_the_adapter_says(
    random_model: Path, full_model: Path, tmp_path: Path
) -> None:
    """In one process, through base, two adapters and full weights, on each engine that is installed."""
    policies = [
        BASE,
        *(
            Policy(name=f"round-{i}", adapter=make_adapter(random_model, tmp_path / f"{i}", seed=i))
            for i in (1, 2)
        ),
    ]
    with _open(random_model, "transformers", "lora", tmp_path / "lora.log") as generator:
        expected = {policy.name: _ask(generator, policy) for policy in policies}
    engines = ["transformers", *(["vllm"] if importlib.util.find_spec("vllm") else [])]
    full = Policy(name="full", adapter=full_model)
    said_by_full = []
    for engine in engines:
        log = tmp_path / f"{engine}.log"
        with _open(random_model, engine, "merged", log) as generator:
            for policy in (*policies, *reversed(policies)):
                found = _ask(generator, policy)
                equal = sum(a == b for a, b in zip(found, expected[policy.name], strict=True))
                assert equal >= len(found) - 1, "a near tie may fall the other way"
            said_by_full.append(_ask(generator, full))
        assert not list(tmp_path.glob(".*-merged"))
    base = [candidate.completion for candidate in expected["base"]]
    for said in said_by_full:
        assert [candidate.completion for candidate in said] != base
        equal = sum(a == b for a, b in zip(said, said_by_full[0], strict=True))
        assert equal >= len(said) - 1


def test_what_cannot_be_served_is_refused_at_once(random_model: Path, tmp_path: Path) -> None:
    data = {"model": {"path": str(random_model)}, "finetune": {"method": "dora"}}
    config = configs.from_dict({**data, "generate": {"engine": "vllm"}}, "test")
    with pytest.raises(UserError, match=r"generate\.serve = merged"):
        open_generator(config, tmp_path / "log")
    config = dataclasses.replace(
        config, generate=dataclasses.replace(config.generate, engine="transformers")
    )
    open_generator(config, tmp_path / "log")  # not entered: nothing starts
