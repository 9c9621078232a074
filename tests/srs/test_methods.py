"""Fine-tuning methods: each trained for real on the tiny model, and what the config refuses."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from test_finetune import EXAMPLES, LORA, PAIRS, TOKENIZER, _config

from srs import config as configs
from srs import models
from srs.config import Config, DpoConfig, FinetuneConfig, Method
from srs.device import Device
from srs.engines.engine import Prompt
from srs.engines.transformers_engine import TransformersEngine
from srs.finetune import open_tuner
from srs.placement import Placement
from srs.prompts import completion_ids
from srs.tuning.adapter import Base, trainable
from srs.tuning.dpo import dpo
from srs.tuning.merge import merge
from srs.tuning.methods import (
    Refused,
    check,
    check_run,
    check_served,
    peft_config,
    quantization,
    servable,
)
from srs.tuning.sft import sft
from srs.tuning.trainer import arguments
from srs.tuning.world import World
from srs.types import UserError

CPU = Device(kind="cpu", threads=1)
GPU = Device(kind="cuda", indices=("0", "1"), threads=4)
DPO = DpoConfig(learning_rate=1e-4, epochs=1, batch_size=4, micro_batch_size=4)
RATES: dict[str, float] = {"prefix": 0.03, "prompt": 0.03, "ptuning": 0.01}


@pytest.fixture(scope="module")
def source(random_model: Path) -> models.ModelSource:
    return models.locate(configs.ModelConfig(path=str(random_model)))


@pytest.fixture(scope="module")
def base(source: models.ModelSource) -> Any:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that spin cost most where other tests use the cores
    yield Base(
        model=models.load_model(source, configs.ModelConfig(), CPU),
        tokenizer=TOKENIZER,
        chat=True,
        context=256,
        device=CPU,
    )
    torch.set_num_threads(threads)


def _tuning(method: str, **more: Any) -> FinetuneConfig:
    rate = RATES.get(method, 3e-3)
    values: dict[str, Any] = {"method": method, "learning_rate": rate, "virtual_tokens": 4}
    return dataclasses.replace(LORA, **{**values, **more})


@pytest.mark.parametrize("method", ["lora", "dora", "full", "prefix", "prompt", "ptuning"])
def test_a_method_learns_saves_and_goes_on(base: Base, tmp_path: Path, method: Method) -> None:
    import torch

    before = [weight.clone() for weight in base.model.parameters()]
    tuning = _tuning(method)
    one = sft(base, tuning, EXAMPLES, start=None, out=tmp_path / "1", seed=1)
    two = sft(base, tuning, EXAMPLES, start=tmp_path / "1", out=tmp_path / "2", seed=2)
    assert one.loss is not None
    assert two.loss is not None
    assert two.loss < one.loss
    three = dpo(base, DPO, tuning, PAIRS, start=tmp_path / "2", out=tmp_path / "3", seed=3)
    again = dpo(base, DPO, tuning, PAIRS, start=tmp_path / "3", out=tmp_path / "4", seed=3)
    assert three.chosen_logp_before is not None
    # What is read back from the files is what was measured before they were written.
    assert again.chosen_logp_before == pytest.approx(three.chosen_logp_after, abs=1e-3)
    assert all(map(torch.equal, before, base.model.parameters())), "the base is left alone"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3", "4"]
    with pytest.raises(UserError, match="to continue"):
        sft(base, tuning, EXAMPLES, start=tmp_path, out=tmp_path / "5", seed=2)


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_qlora_leaves_the_base_in_its_precision(
    base: Base, source: models.ModelSource, tmp_path: Path, gradient_checkpointing: bool
) -> None:
    """On weights that bitsandbytes has not quantised: those that it leaves in bfloat16 are the same."""
    import torch

    model = models.load_model(source, configs.ModelConfig(dtype="bfloat16"), CPU)
    base = dataclasses.replace(base, model=model)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    tuning = _tuning("qlora", gradient_checkpointing=gradient_checkpointing)
    one = sft(base, tuning, EXAMPLES, start=None, out=tmp_path / "1", seed=1)
    two = sft(base, tuning, EXAMPLES, start=tmp_path / "1", out=tmp_path / "2", seed=2)
    assert one.loss is not None
    assert two.loss is not None
    assert two.loss < one.loss
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())
    assert arguments(base, tuning, micro_batch_size=1, learning_rate=1e-3, seed=0)["bf16"]


def _logits(model: Any) -> Any:
    import torch

    ids = completion_ids(EXAMPLES[0].prompt, EXAMPLES[0].completion, TOKENIZER, chat=True)
    with torch.no_grad():
        return model.eval()(torch.tensor([ids[0] + ids[1]])).logits


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_merged_weights_answer_as_the_adapter_does(
    base: Base, source: models.ModelSource, tmp_path: Path, method: Method
) -> None:
    tuning = _tuning(method, epochs=2)
    sft(base, tuning, EXAMPLES, start=None, out=tmp_path / "adapter", seed=1)
    merge(source, tmp_path / "adapter", tmp_path / "merged")
    found = models.ModelSource(name=str(tmp_path / "merged"), is_local=True)
    merged = models.load_model(found, configs.ModelConfig(), CPU)
    wrapped = trainable(base, tuning, start=tmp_path / "adapter", seed=0)
    difference = _logits(merged).sub(_logits(wrapped)).abs().max()
    assert difference < 1e-4
    assert _logits(merged).sub(_logits(base.model)).abs().max() > 100 * difference
    tokenizer = models.load_tokenizer(found, configs.ModelConfig())
    assert tokenizer.get_vocab() == base.tokenizer.get_vocab()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "merged"]
    engine = TransformersEngine(merged, tokenizer, batch_size=4, ends=[0], stops=())
    served = engine if servable(method, "transformers") == "merge" else TransformersEngine(
        base.model, tokenizer, batch_size=4, ends=[0], stops=()
    )  # fmt: skip
    prompt = Prompt(ids=[5, 6, 7], seed=1, max_tokens=8)
    adapter = None if served is engine else tmp_path / "adapter"
    answers = [
        list(which.sample([prompt], adapter=path, n=1, temperature=0, top_p=1))
        for which, path in ((engine, None), (served, adapter))
    ]
    assert answers[0] == answers[1]
    assert answers[0][0][1][0].n_tokens > 0


def test_what_cannot_be_merged(base: Base, source: models.ModelSource, tmp_path: Path) -> None:
    sft(base, _tuning("prompt"), EXAMPLES[:1], start=None, out=tmp_path / "p", seed=1)
    with pytest.raises(UserError, match="virtual tokens can't be merged"):
        merge(source, tmp_path / "p", tmp_path / "out")
    with pytest.raises(UserError, match="no adapter to merge"):
        merge(source, tmp_path / "gone", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileExistsError):
        merge(source, tmp_path / "p", tmp_path / "p")


def test_packing_changes_the_layout_only(base: Base, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    weights = (0.5, 2.0, 0.0, 1.5, 1.0, 1.0, 1.0, 1.0, 1.0)
    examples = [dataclasses.replace(e, weight=w) for e, w in zip(EXAMPLES, weights, strict=True)]
    results = []
    for packing in (False, True):
        tuning = _tuning("lora", packing=packing, micro_batch_size=3, batch_size=6)
        out = tmp_path / str(packing)
        results.append(sft(base, tuning, examples, start=None, out=out, seed=1))
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-5)
    assert results[0].n_tokens == results[1].n_tokens
    files = [load_file(tmp_path / str(p) / "adapter_model.safetensors") for p in (False, True)]
    for name, values in files[0].items():
        assert values.sub(files[1][name]).abs().max() < 1e-5, name


def test_the_preference_loss_is_that_of_trl(base: Base, tmp_path: Path) -> None:
    """Where a step is one micro-batch, TRL's DPOTrainer takes the same means."""
    from datasets import Dataset
    from safetensors.torch import load_file
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    config = DpoConfig(learning_rate=1e-3, epochs=1, batch_size=3, micro_batch_size=3)
    sft(base, LORA, EXAMPLES, start=None, out=tmp_path / "start", seed=1)
    ours = dpo(base, config, LORA, PAIRS, start=tmp_path / "start", out=tmp_path / "ours", seed=4)

    class Tokens(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    rows = []
    for pair in PAIRS:
        prompt, chosen = completion_ids(pair.prompt, pair.chosen, TOKENIZER, chat=True)
        _, rejected = completion_ids(pair.prompt, pair.rejected, TOKENIZER, chat=True)
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    common = arguments(base, LORA, micro_batch_size=3, learning_rate=1e-3, seed=4)
    model = trainable(base, LORA, start=tmp_path / "start", seed=4)
    theirs = Tokens(
        model=model,
        args=DPOConfig(
            output_dir=str(tmp_path / "trl"),
            beta=config.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, config.sft_weight],
            **common,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=TOKENIZER,
    )
    assert theirs.train().training_loss == pytest.approx(ours.loss, rel=1e-5)
    model.save_pretrained(str(tmp_path / "theirs"), selected_adapters=["default"])
    files = [load_file(tmp_path / w / "adapter_model.safetensors") for w in ("ours", "theirs")]
    for name, values in files[0].items():
        assert values.sub(files[1][name]).abs().max() < 1e-5, name


def test_the_micro_batch_is_no_part_of_the_preference_loss(base: Base, tmp_path: Path) -> None:
    results = [
        dpo(
            base,
            dataclasses.replace(DPO, micro_batch_size=size),
            LORA,
            PAIRS,
            start=None,
            out=tmp_path / str(size),
            seed=4,
        )
        for size in (4, 1)
    ]
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-5)
    assert results[0].chosen_logp_after == pytest.approx(results[1].chosen_logp_after, rel=1e-5)


def test_bfloat16_trains_a_float32_adapter(source: models.ModelSource, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    low = Base(
        model=models.load_model(source, configs.ModelConfig(dtype="bfloat16"), CPU),
        tokenizer=TOKENIZER,
        chat=True,
        context=256,
        device=CPU,
    )
    one = sft(low, LORA, EXAMPLES, start=None, out=tmp_path / "1", seed=1)
    two = sft(low, LORA, EXAMPLES, start=tmp_path / "1", out=tmp_path / "2", seed=1)
    assert one.loss is not None
    assert two.loss is not None
    assert two.loss < one.loss
    weights = load_file(tmp_path / "2" / "adapter_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    full = _tuning("full")
    sft(low, full, EXAMPLES, start=None, out=tmp_path / "3", seed=1)
    whole = load_file(tmp_path / "3" / "model.safetensors")
    assert {value.dtype for value in whole.values()} == {torch.bfloat16}, "as the base is stored"
    sft(low, full, EXAMPLES, start=tmp_path / "3", out=tmp_path / "4", seed=1)


def test_who_serves_what() -> None:
    kinds = {
        (method, engine): "refused" if isinstance(way := servable(method, engine), Refused) else way
        for method in get_args(Method)
        for engine in ("vllm", "transformers")
    }
    assert kinds == {
        ("lora", "vllm"): "lora",
        ("lora", "transformers"): "lora",
        ("qlora", "vllm"): "lora",
        ("qlora", "transformers"): "lora",
        ("dora", "vllm"): "merge",
        ("dora", "transformers"): "lora",
        ("full", "vllm"): "merge",
        ("full", "transformers"): "merge",
        ("prefix", "vllm"): "refused",
        ("prefix", "transformers"): "refused",
        ("prompt", "vllm"): "refused",
        ("prompt", "transformers"): "refused",
        ("ptuning", "vllm"): "refused",
        ("ptuning", "transformers"): "refused",
    }


def _with(**finetune: Any) -> Config:
    return configs.from_dict({"finetune": finetune, "dpo": {"batch_size": 8}}, "test")


@pytest.mark.parametrize(
    ("finetune", "device", "processes", "match"),
    [
        ({"method": "qlora"}, CPU, 1, r"finetune\.method = qlora: .* NVIDIA only .* cpu"),
        ({"method": "qlora"}, Device(kind="npu", indices=("0",)), 1, "NVIDIA only"),
        ({"method": "prefix", "gradient_checkpointing": True}, CPU, 1, r"finetune\.gradient_checkpointing"),
        ({"method": "prompt", "packing": True}, CPU, 1, r"finetune\.packing"),
        ({"method": "ptuning", "strategy": "fsdp"}, CPU, 2, r"finetune\.strategy = fsdp .*ptuning"),
        ({"method": "qlora", "strategy": "fsdp"}, GPU, 2, r"finetune\.strategy = fsdp .*qlora"),
        ({"strategy": "deepspeed"}, CPU, 2, "needs an accelerator"),
        ({"strategy": "deepspeed"}, GPU, 2, "deepspeed is not installed: pip install deepspeed"),
        ({"method": "full", "packing": True, "batch_size": 7, "micro_batch_size": 7}, GPU, 2, r"finetune\.batch_size = 7"),
        ({"batch_size": 9, "micro_batch_size": 3}, CPU, 2, r"finetune\.batch_size = 9: 2 training processes \(devices\.train_processes\)"),
        ({}, CPU, 3, r"finetune\.batch_size = 8: 3 training"),
        ({"steps_per_round": 4}, CPU, 3, r"dpo\.batch_size = 8: 3 training"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_keys(
    finetune: dict[str, Any], device: Device, processes: int, match: str
) -> None:
    with pytest.raises(UserError, match=match):
        check(_with(**finetune), device, processes=processes)


def test_what_fits_passes() -> None:
    check(_with(), CPU)
    check(_with(method="qlora"), GPU, processes=2)
    check(_with(strategy="fsdp", method="full"), GPU, processes=4)
    check(
        _with(strategy="deepspeed", batch_size=3, micro_batch_size=3), CPU
    )  # one process shards nothing


def test_the_tuner_refuses_before_it_starts(random_model: Path, tmp_path: Path) -> None:
    placement = Placement(generation=(CPU,), training=CPU, train_processes=3, takes_turns=False)
    with pytest.raises(UserError, match=r"finetune\.batch_size"):
        open_tuner(_config(random_model), tmp_path / "log", placement)
    with pytest.raises(UserError, match=r"finetune\.method"):
        open_tuner(_config(random_model, method="qlora"), tmp_path / "log", dataclasses.replace(placement, train_processes=1))  # fmt: skip
    assert not (tmp_path / "log").exists()


def test_a_run_is_checked_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    where = Placement(generation=(GPU,), training=GPU, train_processes=2, takes_turns=True)
    check_run(_with(), where)
    with pytest.raises(UserError, match=r"finetune\.batch_size"):
        check_run(_with(batch_size=5, micro_batch_size=5), where)
    dora = configs.override(_with(method="dora"), ["generate.engine=vllm"])
    with pytest.raises(UserError, match=r"generate\.serve = merged"):
        check_run(dora, where)
    check_run(configs.override(dora, ["generate.serve=merged"]), where)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    check_run(_with(method="dora"), where)  # auto: no vLLM here, and transformers loads it


def test_collapse_needs_a_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    config = configs.override(_with(strategy="deepspeed"), ["dpo.collapse_nats=2.0"])
    with pytest.raises(UserError, match=r"dpo\.collapse_nats: with finetune\.strategy = deepspeed"):
        check(config, GPU, processes=2)
    check(configs.override(config, ["dpo.enabled=false"]), GPU, processes=2)


def test_an_engine_that_cannot_serve_is_refused() -> None:
    check_served(_with(), "vllm", merged=False)
    check_served(_with(method="dora"), "vllm", merged=True)
    check_served(_with(method="dora"), "transformers", merged=False)
    with pytest.raises(UserError, match=r"finetune\.method = dora .*generate\.serve = merged"):
        check_served(_with(method="dora"), "vllm", merged=False)
    with pytest.raises(UserError, match=r"prefix with generate\.engine = vllm: .*use one of lora, qlora, dora, full"):  # fmt: skip
        check_served(_with(method="prefix"), "vllm", merged=True)


def test_what_bitsandbytes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: as transformers writes it; nothing here can quantise."""
    import transformers.utils.quantization_config as library

    monkeypatch.setattr(library.BitsAndBytesConfig, "post_init", lambda _: None)
    told = quantization("bfloat16").to_dict()
    assert {key: told[key] for key in sorted(told) if "4bit" in key and "skip" not in key} == {
        "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "_load_in_4bit": True,
        "load_in_4bit": True,
    }
    assert peft_config(_tuning("qlora")).use_dora is False


def _arguments(device: Device, ranks: int, **finetune: Any) -> dict[str, Any]:
    import torch

    class Model:
        dtype = torch.bfloat16

    here = Base(
        model=Model(), tokenizer=None, chat=True, context=1, device=device, world=World(size=ranks)
    )
    tuning = dataclasses.replace(LORA, **finetune)
    return arguments(here, tuning, micro_batch_size=2, learning_rate=1e-4, seed=3)


def test_what_the_trainer_is_told_about_ranks() -> None:
    """Golden, per strategy. DeepSpeed and the accelerators' backends can't run here."""
    alone = _arguments(GPU, 1, strategy="deepspeed")
    several = _arguments(GPU, 2)
    added = {key: several[key] for key in several if key not in alone}
    assert added == {
        "ddp_backend": None,
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,
    }
    assert _arguments(CPU, 2)["ddp_backend"] == "gloo"
    assert (alone["bf16"], alone["use_cpu"], alone["optim"]) == (True, False, "adamw_torch_fused")
    sharded = _arguments(GPU, 2, strategy="fsdp", gradient_checkpointing=True)
    assert (sharded["fsdp"], sharded["gradient_checkpointing"]) == (True, True)
    assert sharded["fsdp_config"] == {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": False,
    }
    for stage in (1, 2, 3):
        assert _arguments(GPU, 2, strategy="deepspeed", zero_stage=stage)["deepspeed"] == {
            "zero_optimization": {"stage": stage},
            "bf16": {"enabled": "auto"},
            "fp16": {"enabled": "auto"},
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
        }


def test_a_half_written_result_is_no_result(base: Base, tmp_path: Path) -> None:
    """What a killed round left is written anew."""
    left = tmp_path / ".1.partial"
    left.mkdir()
    (left / "adapter_model.safetensors").write_bytes(b"half")
    (left / "old").touch()
    sft(base, _tuning("full"), EXAMPLES[:2], start=None, out=tmp_path / "1", seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert not (tmp_path / "1" / "old").exists()
    shutil.rmtree(tmp_path / "1")
