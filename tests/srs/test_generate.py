from __future__ import annotations

import dataclasses
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_model import make_task, make_tokenizer

from srs import config as configs
from srs import models
from srs.config import Config
from srs.device import Device, detect
from srs.engines.engine import Prompt
from srs.engines.transformers_engine import TransformersEngine, choose
from srs.engines.vllm_engine import VllmEngine, lora_rank
from srs.engines.worker import why_not_vllm
from srs.generate import Generator, Policy, Request, Sampling, open_generator
from srs.prompts import render
from srs.types import Candidate, UserError

BASE = Policy(name="base", adapter=None)
SAMPLED = Sampling(n=3, temperature=0.8, top_p=0.95, max_tokens=24)
GREEDY = Sampling(n=1, temperature=0.0, top_p=1.0, max_tokens=24)
REQUESTS = [Request(task=make_task(i), seed=1000 * i) for i in range(8)]
TOO_LONG = Request(task=make_task(99, question="many words " * 200), seed=1)


def _config(folder: Path, engine: str = "transformers", **sections: dict[str, Any]) -> Config:
    data: dict[str, Any] = {
        "model": {"path": str(folder)},
        "generate": {"engine": engine, "max_tokens": 24, "batch_size": 12},
        "finetune": {"lora_r": 4},
    }
    for name, section in sections.items():
        data[name] = {**data.get(name, {}), **section}
    return configs.from_dict(data, "test")


def _by_task(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (c.task, c.index))


def _texts(candidates: list[Candidate]) -> list[str]:
    return [candidate.completion for candidate in _by_task(candidates)]


def test_an_engine_that_cannot_start_is_no_fault_of_the_model_path(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM says by ValueError that memory is short: a replica that died, not unusable input."""

    def start(_: object) -> None:
        raise ValueError("Free memory on device cuda:0 (20.1/44.4 GiB) is less than desired")

    vllm: Any = types.ModuleType("vllm")
    vllm.EngineArgs, vllm.LLMEngine = dict, types.SimpleNamespace(from_engine_args=start)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    config = _config(random_model, "vllm")
    gpu = Device(kind="cuda", indices=("0",), threads=1)
    with pytest.raises(ValueError, match=r"^Free memory"):
        VllmEngine(config, models.locate(config.model), gpu, context=64, ends=[0], stops=())


def test_generation_alone_asks_for_no_device_to_train_on(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Device(kind="cuda", indices=("0",), threads=1)
    monkeypatch.setattr("srs.generate.devices.detect", lambda: gpu)
    config = _config(random_model, devices={"train_processes": 4, "async_rounds": 1})
    open_generator(config, tmp_path / "generate.log")


@pytest.fixture(scope="module")
def adapters(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters with weights large enough to change what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapters")
    paths = []
    with torch.random.fork_rng():
        for seed in (1, 2):
            torch.manual_seed(seed)
            base: Any = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
            model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear"))
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.3)
            paths.append(folder / f"{seed:04d}")
            model.save_pretrained(str(paths[-1]))
    return paths


@pytest.fixture(scope="module")
def generator(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    log = tmp_path_factory.mktemp("transformers") / "generate.log"
    with open_generator(_config(random_model), log) as opened:
        yield opened


def _run(
    generator: Generator,
    requests: list[Request] = REQUESTS,
    policy: Policy = BASE,
    sampling: Sampling = SAMPLED,
) -> list[Candidate]:
    return list(generator.generate(requests, policy=policy, sampling=sampling, round=3))


def test_candidates_carry_where_they_came_from(generator: Generator) -> None:
    candidates = _run(generator)
    tasks = {request.task.id: request for request in REQUESTS}
    tokenizer = make_tokenizer()
    assert len(candidates) == 24
    for i, candidate in enumerate(candidates):
        request = tasks[candidate.task]
        assert candidate.task == candidates[i - i % 3].task, "a task's candidates come together"
        assert candidate.index == i % 3
        assert candidate.seed == request.seed + candidate.index
        assert candidate.prompt == render(request.task, tokenizer, chat=True)
        assert (candidate.round, candidate.policy) == (3, "base")
        assert 1 <= candidate.n_tokens <= 24
        assert candidate.truncated == (candidate.n_tokens == 24) or candidate.n_tokens == 24
    assert len({candidate.completion for candidate in candidates}) > 20


def test_describes_itself(generator: Generator) -> None:
    description = generator.describe()
    assert (generator.engine, generator.chat) == ("transformers", True)
    assert description["device"] == detect().kind
    assert description["context_tokens"] == 256, "the model has fewer positions than max_length"
    assert "torch" in description["versions"]


def test_the_same_requests_give_the_same_candidates_in_another_process(
    generator: Generator, random_model: Path, tmp_path: Path, adapters: list[Path]
) -> None:
    tuned = Policy(name="round-0001", adapter=adapters[0])
    first = _run(generator), _run(generator, policy=tuned)
    again = _run(generator), _run(generator, policy=tuned)
    with open_generator(_config(random_model), tmp_path / "log") as other:
        elsewhere = _run(other), _run(other, policy=tuned)
    assert first == again == elsewhere


def test_an_adapter_speaks_and_leaves_the_base_as_it_was(
    generator: Generator, adapters: list[Path]
) -> None:
    before = _run(generator, sampling=GREEDY)
    first, second = (
        _run(generator, policy=Policy(name=f"round-{i}", adapter=path), sampling=GREEDY)
        for i, path in enumerate(adapters)
    )
    assert _run(generator, sampling=GREEDY) == before
    assert len({tuple(_texts(found)) for found in (before, first, second)}) == 3
    assert first[0].policy == "round-0"


def test_greedy_samples_are_equal(generator: Generator) -> None:
    three = _run(generator, sampling=dataclasses.replace(GREEDY, n=3))
    one = _run(generator, sampling=GREEDY)
    assert _texts(three) == [text for text in _texts(one) for _ in range(3)]
    assert [candidate.index for candidate in three[:3]] == [0, 1, 2]


def test_a_prompt_without_room_is_data_not_a_crash(generator: Generator) -> None:
    candidates = _run(generator, [REQUESTS[0], TOO_LONG, REQUESTS[1]])
    assert len(candidates) == 9
    for candidate in candidates:
        if candidate.task == TOO_LONG.task.id:
            assert candidate.truncated
            assert (candidate.code, candidate.completion, candidate.n_tokens) == (None, "", 0)
        else:
            assert candidate.n_tokens
    assert len(_run(generator, [TOO_LONG])) == 3
    assert _run(generator, []) == []


def test_a_long_prompt_is_answered_within_the_context(generator: Generator) -> None:
    tokenizer = make_tokenizer()
    question = "word " * 10
    while (
        len(tokenizer.encode(render(make_task(1, question=question), tokenizer, chat=True))) < 245
    ):
        question += "x"
    request = Request(task=make_task(1, question=question), seed=5)
    assert all(candidate.n_tokens <= 256 - 245 for candidate in _run(generator, [request]))


def test_a_missing_adapter_is_the_users_error(generator: Generator, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter there"):
        _run(generator, policy=Policy(name="dpo", adapter=tmp_path / "gone"))
    assert _run(generator, sampling=GREEDY)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"path": "./gone"}}, r"model\.path: gone does not exist"),
        ({"model": {"path": "/etc"}}, r"model\.path: /etc holds no config\.json"),
        ({"generate": {"engine": "vllm"}, "finetune": {"lora_r": 1024}}, r"finetune\.lora_r"),
    ],
)
def test_unusable_settings_are_refused_at_once(
    random_model: Path, tmp_path: Path, sections: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        open_generator(_config(random_model, **sections), tmp_path / "log")


def test_a_hub_id_without_network_is_the_users_error(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = _config(random_model, model={"path": "nobody/nothing"})
    with (
        open_generator(config, tmp_path / "log") as opened,
        pytest.raises(UserError, match="cannot load nobody/nothing: no such hub id, or no network"),
    ):
        opened.ready()


def test_a_folder_that_is_no_model_is_the_users_error(random_model: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with (
        open_generator(_config(random_model, model={"path": str(tmp_path)}), tmp_path / "log") as opened,
        pytest.raises(UserError, match=f"cannot load {tmp_path}"),
    ):  # fmt: skip
        opened.ready()


def test_why_vllm_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert why_not_vllm(Device(kind="cpu")) == "vllm is not installed"


@pytest.mark.parametrize(("rank", "allowed"), [(1, 1), (2, 8), (8, 8), (9, 16), (257, 320)])
def test_lora_ranks_are_rounded_up(rank: int, allowed: int) -> None:
    assert lora_rank(rank) == allowed


# The transformers engine by itself.


@pytest.fixture(scope="module")
def loaded(random_model: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
    return model.eval(), make_tokenizer()


def _engine(loaded: tuple[Any, Any], *, stops: tuple[str, ...] = ()) -> TransformersEngine:
    model, tokenizer = loaded
    return TransformersEngine(
        model, tokenizer, batch_size=4, ends=[tokenizer.eos_token_id], stops=stops
    )


def test_greedy_equals_transformers_own_generate(loaded: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = loaded
    texts = ["def f", "def add_one(x):\n    return x", "for", "x"]
    prompts = [Prompt(ids=tokenizer.encode(text), seed=0, max_tokens=12) for text in texts]
    ours = _engine(loaded).sample(prompts, adapter=None, n=1, temperature=0.0, top_p=1.0)
    for position, (sample,) in ours:
        ids = torch.tensor([prompts[position].ids])
        theirs = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.size(1) :]
        assert sample.text == tokenizer.decode(theirs, skip_special_tokens=True)
        assert sample.n_tokens == len(theirs)


def test_a_stop_string_ends_the_text_before_it(loaded: tuple[Any, Any]) -> None:
    prompts = [Prompt(ids=[5 + i, 9], seed=i, max_tokens=30) for i in range(6)]

    def run(*stops: str) -> list[Any]:
        engine = _engine(loaded, stops=stops)
        found = engine.sample(prompts, adapter=None, n=1, temperature=1.0, top_p=1.0)
        return [samples[0] for _, samples in found]

    free = run()
    stop = next(s.text[10:13] for s in free if s.text[10:13].isascii() and len(s.text) > 20)
    stopped = run(stop)
    assert any(stop in sample.text for sample in free)
    for before, after in zip(free, stopped, strict=True):
        assert after.text == before.text.partition(stop)[0]
        if stop in before.text:
            assert not after.truncated
            assert after.n_tokens < before.n_tokens


def test_own_limits_within_a_batch(loaded: tuple[Any, Any]) -> None:
    prompts = [Prompt(ids=[5, 9], seed=i, max_tokens=limit) for i, limit in enumerate((1, 5, 9))]
    found = _engine(loaded).sample(prompts, adapter=None, n=1, temperature=1.0, top_p=1.0)
    assert all(s[0].n_tokens <= prompts[i].max_tokens for i, s in found)


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12),
    st.floats(0, 1, exclude_max=True, width=32),
    st.floats(0.05, 1.0),
)
@settings(deadline=None)
def test_choices_lie_in_the_nucleus(logits: list[float], draw: float, top_p: float) -> None:
    import torch

    mass = torch.softmax(torch.tensor(logits), -1)
    chosen = int(choose(torch.tensor([logits]), torch.tensor([draw]), 1.0, top_p)[0])
    more_likely = mass[mass > mass[chosen]].sum().item()
    assert more_likely < top_p + 1e-5


def test_choices_follow_the_distribution() -> None:
    import torch

    draws = (torch.arange(10_000) + 0.5) / 10_000
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(10_000, 3)
    counts = torch.bincount(choose(logits, draws, 1.0, 1.0), minlength=3)
    assert counts.tolist() == [5000, 3000, 2000]
    nucleus = torch.bincount(choose(logits, draws, 1.0, 0.7), minlength=3)
    assert nucleus.tolist() == [6250, 3750, 0]
    cold = torch.bincount(choose(logits, draws, 0.5, 1.0), minlength=3)
    assert cold.tolist() == pytest.approx([2500 / 0.38, 900 / 0.38, 400 / 0.38], abs=1)


# vLLM.


@pytest.fixture(scope="module")
def vllm(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    log = tmp_path_factory.mktemp("vllm") / "generate.log"
    with open_generator(_config(random_model, "auto"), log) as opened:
        if opened.engine != "vllm":
            pytest.skip("the installed vllm is for another device")
        yield opened


def test_vllm_says_what_transformers_says(
    vllm: Generator, generator: Generator, adapters: list[Path]
) -> None:
    """Under each policy in turn, so that an adapter that stays, or is not applied, shows."""
    policies = [BASE, *(Policy(name=f"round-{i}", adapter=p) for i, p in enumerate(adapters))]
    for policy in [*policies, *reversed(policies)]:
        ours = _by_task(_run(generator, policy=policy, sampling=GREEDY))
        theirs = _by_task(_run(vllm, policy=policy, sampling=GREEDY))
        assert [c.prompt for c in ours] == [c.prompt for c in theirs]
        equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
        assert equal >= len(ours) - 1, "a near tie may fall the other way"


def test_an_adapter_rewritten_in_place_is_loaded_anew(
    vllm: Generator, adapters: list[Path], tmp_path: Path
) -> None:
    import shutil

    path = tmp_path / "dpo"
    texts = []
    for source in adapters:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(source, path, copy_function=shutil.copyfile)
        texts.append(_texts(_run(vllm, policy=Policy(name="dpo", adapter=path), sampling=GREEDY)))
    assert texts[0] != texts[1]


def test_vllm_samples_by_seed(vllm: Generator) -> None:
    first, again = _run(vllm), _run(vllm)
    assert _by_task(first) == _by_task(again)
    assert len(set(_texts(first))) > 20
    assert {c.task for c in first} == {request.task.id for request in REQUESTS}
    assert all(c.seed == 1000 * int(c.task.removeprefix("add_")) + c.index for c in first)


def test_vllm_streams_and_survives_what_does_not_fit(vllm: Generator) -> None:
    """More prompt tokens than one batch takes: seeded requests must not be prefilled in chunks."""
    requests = [Request(task=make_task(i, question="some words " * 15), seed=i) for i in range(70)]
    candidates = _run(vllm, [*requests, TOO_LONG])
    assert len(candidates) == 71 * 3
    assert [c.index for c in candidates] == [0, 1, 2] * 71
    assert sum(c.n_tokens == 0 for c in candidates) == 3


def test_the_plain_template(random_model: Path, tmp_path: Path) -> None:
    config = _config(random_model, model={"template": "plain"})
    with open_generator(config, tmp_path / "log") as opened:
        assert not opened.chat
        candidates = _run(opened, sampling=GREEDY)
    assert candidates[0].prompt == render(REQUESTS[0].task, make_tokenizer(), chat=False)
