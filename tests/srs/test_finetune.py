from __future__ import annotations

import dataclasses
import hashlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from random_model import make_task, make_tokenizer

from srs import config as configs
from srs import models
from srs.config import Config, DpoConfig, FinetuneConfig
from srs.device import Device
from srs.finetune import SftResult, Tuner, open_tuner
from srs.prompts import answer, completion_ids, render
from srs.tuning.adapter import Base
from srs.tuning.dpo import dpo
from srs.tuning.sft import sft
from srs.types import PreferencePair, SftExample, UserError

LORA = FinetuneConfig(
    lora_r=4, lora_alpha=8, learning_rate=3e-3, batch_size=4, micro_batch_size=4, epochs=1
)
TOKENIZER = make_tokenizer()


def _example(number: int, *, weight: float = 1.0, constant: int | None = None) -> SftExample:
    task = make_task(number)
    added = number if constant is None else constant
    return SftExample(
        task=task.id,
        round=1,
        prompt=render(task, TOKENIZER, chat=True),
        completion=answer(f"def add_{number}(x):\n    return x + {added}", chat=True),
        weight=weight,
        source="reference",
    )


def _pair(number: int) -> PreferencePair:
    example = _example(number)
    return PreferencePair(
        task=example.task,
        prompt=example.prompt,
        chosen=example.completion,
        rejected=answer(f"def add_{number}(x):\n    print(x)", chat=True),
        chosen_round=1,
        rejected_round=1,
        chosen_policy="base",
        rejected_policy="base",
        rejected_outcome="failed",
        rejected_tests_passed=0.5,
    )


EXAMPLES = [_example(i) for i in range(9)]
PAIRS = [_pair(i) for i in range(6)]


def _digest(adapter: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(adapter.iterdir())}


def _config(folder: Path, **finetune: Any) -> Config:
    lora = {**dataclasses.asdict(LORA), **finetune}
    return configs.from_dict(
        {
            "model": {"path": str(folder)},
            "finetune": {**lora, "target_modules": tuple(lora["target_modules"])},
            "dpo": {"learning_rate": 1e-3, "batch_size": 2, "micro_batch_size": 2},
        },
        "test",
    )


@pytest.fixture(scope="module")
def tuner(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuner]:
    log = tmp_path_factory.mktemp("tuner") / "finetune.log"
    with open_tuner(_config(random_model), log) as opened:
        yield opened


@pytest.fixture(scope="module")
def base(random_model: Path) -> Iterator[Base]:
    """What the training process holds, in this one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that spin cost most where other tests use the cores
    config = configs.ModelConfig(path=str(random_model))
    device = Device(kind="cpu", threads=1)
    yield Base(
        model=models.load_model(models.locate(config), config, device),
        tokenizer=make_tokenizer(),
        chat=True,
        context=256,
        device=device,
    )
    torch.set_num_threads(threads)


def _rounds(tuner: Tuner, folder: Path) -> list[Any]:
    """Two SFT rounds and DPO, with other work between them that must leave no trace."""
    first = tuner.sft(EXAMPLES, start=None, out=folder / "0001", seed=1)
    second = tuner.sft(EXAMPLES, start=folder / "0001", out=folder / "0002", seed=2)
    preferred = tuner.dpo(PAIRS, start=folder / "0002", out=folder / "dpo", seed=3)
    names = ("0001", "0002", "dpo")
    return [first, second, preferred, *(_digest(folder / name) for name in names)]


def test_the_same_calls_give_the_same_adapters_in_any_process(
    tuner: Tuner, random_model: Path, tmp_path: Path
) -> None:
    before = {*Path(tempfile.gettempdir()).glob("srs-train-*")}
    first = _rounds(tuner, tmp_path / "a")
    tuner.sft(EXAMPLES[::-1], start=tmp_path / "a" / "dpo", out=tmp_path / "other", seed=9)
    again = _rounds(tuner, tmp_path / "b")
    with open_tuner(_config(random_model), tmp_path / "log") as other:
        elsewhere = _rounds(other, tmp_path / "c")
    assert first == again == elsewhere
    one, two, preferred, *digests = first
    assert (one.n_steps, two.n_steps, preferred.n_steps) == (3, 3, 6)
    assert two.loss < one.loss, "the second round continues the first"
    assert preferred.accuracy == 1.0
    assert preferred.n_pairs == 6
    assert not preferred.collapsed
    weights = [digest["adapter_model.safetensors"] for digest in digests]
    assert len(set(weights)) == 3
    seeded = tuner.sft(EXAMPLES, start=None, out=tmp_path / "seeded", seed=2)
    assert seeded.loss != one.loss
    assert {*Path(tempfile.gettempdir()).glob("srs-train-*")} <= before


def test_an_adapter_is_two_files_that_peft_loads(
    tuner: Tuner, random_model: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tuner.sft(EXAMPLES, start=None, out=tmp_path / "0001", seed=1)
    tuner.dpo(PAIRS, start=tmp_path / "0001", out=tmp_path / "dpo", seed=1)
    ids = torch.tensor([completion_ids(PAIRS[0].prompt, "", TOKENIZER, chat=True)[0]])
    plain: Any = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
    with torch.no_grad():
        before = plain(ids).logits
        for name in ("0001", "dpo"):
            folder = tmp_path / name
            assert sorted(_digest(folder)) == ["adapter_config.json", "adapter_model.safetensors"]
            wrapped = PeftModel.from_pretrained(models.fresh(plain), str(folder))
            assert not torch.allclose(wrapped(ids).logits, before)
            config = wrapped.peft_config["default"]
            assert config.base_model_name_or_path == str(random_model)
            assert (config.r, config.lora_alpha) == (4, 8)
        assert torch.equal(plain(ids).logits, before), "fresh modules leave the base alone"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0001", "dpo"]


def _nll(base: Base, example: SftExample) -> tuple[float, int]:
    """Summed loss in nats and the number of tokens, from the plain logits."""
    import torch

    prompt, completion = completion_ids(
        example.prompt, example.completion, base.tokenizer, chat=base.chat
    )
    with torch.no_grad():
        logits = base.model(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
    picked = [logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(completion)]
    return -sum(picked), len(completion)


def test_loss_is_on_the_completion_only_and_weighted(base: Base, tmp_path: Path) -> None:
    examples = [_example(i, weight=w) for i, w in enumerate((0.5, 2.0, 1.0, 0.5))]
    result = sft(base, LORA, examples, start=None, out=tmp_path / "a", seed=0)
    losses = [_nll(base, example) for example in examples]
    n_tokens = sum(n for _, n in losses)
    expected = sum(e.weight * loss for e, (loss, _) in zip(examples, losses, strict=True))
    assert result.n_tokens == n_tokens
    assert result.n_steps == 1
    assert result.loss == pytest.approx(expected / n_tokens, rel=1e-5)


def test_weight_zero_teaches_nothing(base: Base, tmp_path: Path) -> None:
    digests = []
    for name, constant, weight in (("a", 6, 0.0), ("b", 7, 0.0), ("c", 7, 1.0)):
        examples = [_example(1, weight=2.0), _example(2, weight=weight, constant=constant)]
        sft(base, LORA, examples, start=None, out=tmp_path / name, seed=0)
        digests.append(_digest(tmp_path / name))
    assert digests[0] == digests[1] != digests[2]


def test_micro_batches_add_up(base: Base, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    examples = [_example(i, weight=w) for i, w in enumerate((0.5, 2.0, 1.0, 0.5))]
    weights = []
    for size in (4, 1):
        config = dataclasses.replace(LORA, micro_batch_size=size)
        out = tmp_path / str(size)
        assert sft(base, config, examples, start=None, out=out, seed=0).n_steps == 1
        weights.append(load_file(out / "adapter_model.safetensors"))
    for name, values in weights[0].items():
        assert values.sub(weights[1][name]).abs().max() < 1e-4, name


def test_what_does_not_fit_is_left_out(base: Base, tmp_path: Path) -> None:
    small = dataclasses.replace(base, context=20)
    result = sft(small, LORA, EXAMPLES, start=None, out=tmp_path / "a", seed=0)
    assert result == SftResult(loss=None, n_tokens=0, n_steps=0)
    assert (tmp_path / "a" / "adapter_model.safetensors").is_file()
    prompt, completion = completion_ids(EXAMPLES[0].prompt, EXAMPLES[0].completion, TOKENIZER, chat=True)  # fmt: skip
    cut = dataclasses.replace(base, context=len(prompt) + 5)
    result = sft(cut, LORA, EXAMPLES[:1], start=None, out=tmp_path / "b", seed=0)
    assert result.n_tokens == 5 < len(completion)
    preferred = dpo(cut, DpoConfig(), LORA, PAIRS[:1], start=None, out=tmp_path / "c", seed=0)
    assert (preferred.n_pairs, preferred.loss) == (0, None)


def test_gradient_checkpointing_learns_the_same(base: Base, tmp_path: Path) -> None:
    results = [
        sft(
            base,
            dataclasses.replace(LORA, gradient_checkpointing=wanted),
            EXAMPLES,
            start=None,
            out=tmp_path / str(wanted),
            seed=0,
        )
        for wanted in (True, False)
    ]
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-5)


def test_dpo_measures_from_its_start(base: Base, tmp_path: Path) -> None:
    sft(base, LORA, EXAMPLES, start=None, out=tmp_path / "sft", seed=0)
    config = DpoConfig(learning_rate=1e-3, batch_size=2, micro_batch_size=1)
    result = dpo(base, config, LORA, PAIRS, start=tmp_path / "sft", out=tmp_path / "dpo", seed=0)
    assert result.n_steps == 6
    assert result.chosen_logp_before is not None
    assert result.chosen_logp_after is not None
    assert result.chosen_logp_after > result.chosen_logp_before, "the SFT term holds it up"
    fresh = dpo(base, config, LORA, PAIRS, start=None, out=tmp_path / "fresh", seed=0)
    expected = sum(_nll(base, _example(i))[0] for i in range(6)) / 6
    assert fresh.chosen_logp_before == pytest.approx(-expected, rel=1e-5)
    assert fresh.chosen_logp_before < result.chosen_logp_before


def test_dpo_first_loss_is_log_2_plus_the_sft_term(base: Base, tmp_path: Path) -> None:
    config = DpoConfig(epochs=1, batch_size=1, micro_batch_size=1, sft_weight=0.5)
    result = dpo(base, config, LORA, PAIRS[:1], start=None, out=tmp_path / "a", seed=0)
    loss, n_tokens = _nll(base, _example(0))
    assert result.loss == pytest.approx(math.log(2) + 0.5 * loss / n_tokens, rel=1e-5)


def test_dpo_goes_back_when_the_chosen_answers_collapse(
    base: Base, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Swapped answers and no SFT term: DPO alone may lower both sides."""
    config = DpoConfig(
        learning_rate=3e-2, sft_weight=0.0, beta=1.0, epochs=20, batch_size=2, micro_batch_size=2
    )
    sft(base, dataclasses.replace(LORA, epochs=20), EXAMPLES, start=None, out=tmp_path / "sft", seed=0)  # fmt: skip
    arguments: dict[str, Any] = {"start": tmp_path / "sft", "seed": 0}
    free = dpo(base, config, LORA, PAIRS, out=tmp_path / "free", **arguments)
    assert free.chosen_logp_before is not None
    assert free.chosen_logp_after is not None
    fall = free.chosen_logp_before - free.chosen_logp_after
    assert fall > 2.0, "not the case this test is for"
    guarded = dataclasses.replace(config, collapse_nats=1.0)
    kept = dpo(base, guarded, LORA, PAIRS, out=tmp_path / "kept", **arguments)
    assert kept.collapsed
    assert not free.collapsed
    assert kept.n_steps <= free.n_steps
    assert kept.chosen_logp_after is not None
    assert free.chosen_logp_before - kept.chosen_logp_after < fall
    assert "dpo.collapse_nats" in caplog.text
    assert _digest(tmp_path / "kept") != _digest(tmp_path / "free")


def test_unusable_starts_and_places(tuner: Tuner, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter to continue"):
        tuner.sft(EXAMPLES, start=tmp_path / "gone", out=tmp_path / "a", seed=0)
    assert not (tmp_path / "a").exists()
    assert tuner.sft(EXAMPLES, start=None, out=tmp_path / "a", seed=0).n_steps == 3


def test_an_adapter_is_never_overwritten(base: Base, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileExistsError, match="never overwritten"):
        sft(base, LORA, EXAMPLES, start=None, out=tmp_path / "a", seed=0)


def test_unknown_target_modules_are_the_users_error(base: Base, tmp_path: Path) -> None:
    config = dataclasses.replace(LORA, target_modules=("nothing",))
    with pytest.raises(UserError, match=r"finetune\.target_modules: .*nothing"):
        sft(base, config, EXAMPLES, start=None, out=tmp_path / "a", seed=0)


def test_a_missing_model_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.path"):
        open_tuner(_config(tmp_path / "gone"), tmp_path / "log")


def _sizes(examples: list[SftExample]) -> list[int]:
    return [len(completion_ids(e.prompt, e.completion, TOKENIZER, chat=True)[1]) for e in examples]


@pytest.mark.parametrize(
    ("tokens", "steps"),
    [(300, 5), (1500, 7), (40, 4), (0, 5), (300, 0)],
    ids=["part of the lap", "several laps", "one each step", "steps alone", "tokens alone"],
)
def test_a_rounds_budget_is_met_by_the_real_trainer(
    base: Base, tmp_path: Path, tokens: int, steps: int
) -> None:
    config = dataclasses.replace(LORA, tokens_per_round=tokens, steps_per_round=steps, epochs=2)
    sizes = _sizes(EXAMPLES)
    results = [
        sft(base, config, EXAMPLES, start=None, out=tmp_path / name, seed=3) for name in "ab"
    ]
    assert results[0] == results[1]
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b")
    if steps:
        assert results[0].n_steps == steps
    if not tokens:
        assert results[0].n_tokens == 2 * sum(sizes)
    elif tokens > 40:
        assert abs(results[0].n_tokens - tokens) <= max(sizes) / 2
    else:
        assert results[0].n_tokens <= steps * max(sizes), "no more than an example a step"


def test_a_budgeted_step_in_micro_batches_adds_up(base: Base, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    weights = []
    for size in (4, 3, 1):
        config = dataclasses.replace(LORA, micro_batch_size=size, batch_size=12, steps_per_round=2)
        out = tmp_path / str(size)
        result = sft(base, config, EXAMPLES, start=None, out=out, seed=0)
        assert (result.n_steps, result.n_tokens) == (2, sum(_sizes(EXAMPLES)))
        weights.append(load_file(out / "adapter_model.safetensors"))
    for name, values in weights[0].items():
        assert values.abs().max() > 0, name
        for other in weights[1:]:
            assert values.sub(other[name]).abs().max() < 1e-4, name


def test_one_budgeted_step_is_an_ordinary_step(base: Base, tmp_path: Path) -> None:
    """The budget changes what is drawn, not how it is learned."""
    from safetensors.torch import load_file

    config = dataclasses.replace(LORA, batch_size=12, micro_batch_size=12)
    plain = sft(base, config, EXAMPLES, start=None, out=tmp_path / "plain", seed=0)
    budget = dataclasses.replace(config, steps_per_round=1, micro_batch_size=4)
    made = sft(base, budget, EXAMPLES, start=None, out=tmp_path / "budget", seed=0)
    assert (plain.n_steps, plain.n_tokens) == (made.n_steps, made.n_tokens)
    assert plain.loss == pytest.approx(made.loss, rel=1e-5)
    one, two = (load_file(tmp_path / n / "adapter_model.safetensors") for n in ("plain", "budget"))
    for name, values in one.items():
        assert values.sub(two[name]).abs().max() < 1e-4, name
