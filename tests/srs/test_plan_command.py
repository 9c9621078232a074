"""The plan: its formulas against real models, its laws, and a real run's own time."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srs import config as configs
from srs.config import Config
from srs.estimate import hours, memory, rates, workload
from srs.estimate.hardware import (
    DEVICES,
    decode_tokens_per_s,
    hardware,
    lora_flops_per_token,
    mfu,
    recognised,
)
from srs.estimate.hours import Capacity, MissingRate
from srs.estimate.measured import of_run, spent_s
from srs.estimate.rates import FORMAT, NAMES, Rate
from srs.estimate.shape import PRESETS, Shape, find, from_config
from srs.models import TINY
from srs.plan import main
from srs.types import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
RECORDED = Path(__file__).parent / "recorded_run"
"""Four rounds of the tiny lab with vLLM on two busy cores: what `srs.estimate.measured` reads of a run."""
SMALL = CONFIGS / "qwen2.5-coder-1.5b_2xl40s.toml"


# ---- shapes and memory against real models


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("qwen2.5-coder-1.5b", 1.54e9),
        ("qwen2.5-coder-7b", 7.61e9),
        ("deepseek-coder-6.7b", 6.74e9),
    ],
)
def test_a_shape_has_the_weights_of_the_real_architecture(name: str, published: float) -> None:
    import torch
    import transformers

    shape = PRESETS[name]
    kind: Any = {"qwen2": transformers.Qwen2Config, "llama": transformers.LlamaConfig}
    config = kind[shape.model_type](
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
    )
    auto: Any = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(config)
    assert shape.n_parameters == sum(p.numel() for p in model.parameters())
    assert shape.n_parameters == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize("targets", [(), ("q_proj", "down_proj")])
def test_an_adapter_has_the_weights_that_peft_makes(targets: tuple[str, ...]) -> None:
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    found = json.loads((TINY / "config.json").read_text())
    auto: Any = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(transformers.Qwen2Config(**found))
    lora = LoraConfig(r=8, target_modules=list(targets) or "all-linear", task_type="CAUSAL_LM")
    trained = sum(p.numel() for p in get_peft_model(model, lora).parameters() if p.requires_grad)
    assert find("tiny", None, TINY).lora_parameters(8, targets) == trained


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sizes", [(256, 1024, 8, 2), (256, 512, 4, 4), (384, 1536, 6, 2)], ids=str)
def test_activations_are_what_autograd_keeps(dtype: str, sizes: tuple[int, ...]) -> None:
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    hidden, intermediate, heads, kv_heads = sizes
    layers, tokens = 3, 2 * 64
    config = transformers.Qwen2Config(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )
    auto: Any = transformers.AutoModelForCausalLM
    model: Any = auto.from_config(config, dtype=getattr(torch, dtype))
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora).train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    half = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16")
    with half, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model.base_model.model.model(torch.zeros(2, 64, dtype=torch.long))
    size = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)
    assert output.last_hidden_state.requires_grad
    shape = from_config({**config.to_dict(), "model_type": "qwen2"}, name="x", source="x")
    expected = layers * memory.layer_activations(shape, memory.ELEMENT_BYTES[dtype])
    assert size / tokens == pytest.approx(expected, rel=0.15)


def test_checkpointing_keeps_less_and_longer_sequences_more() -> None:
    shape = PRESETS["qwen2.5-coder-7b"]
    whole = memory.activations(shape, 2, tokens=4096, checkpointing=False)
    assert memory.activations(shape, 2, tokens=4096, checkpointing=True) < whole / 5
    assert memory.activations(shape, 2, tokens=8192, checkpointing=False) == 2 * whole


def test_a_kv_cache_is_counted_by_hand() -> None:
    # 28 layers x 4 heads of 128 x keys and values x 2 bytes = 57,344 bytes a token
    shape = PRESETS["qwen2.5-coder-7b"]
    assert memory.kv_cache(shape, 2, sequences=3, tokens=10) == 30 * 57344


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H200 NVL", "H200 NVL"),
        ("Ascend910B3", "910B"),
        ("Ascend910B2C", "910B"),
    ],
)
def test_devices_are_known_by_the_names_that_torch_gives(name: str, found: str) -> None:
    assert hardware(name).name == found


@pytest.mark.parametrize(
    "name",
    ["NVIDIA GH200 480GB", "NVIDIA L40", "NVIDIA A100X", "NVIDIA RTX A6000", "Ascend910B35",
     "NVIDIA A100-SXM4-40GB MIG 1g.5gb"],
)  # fmt: skip
def test_part_of_a_word_or_of_a_device_is_another_device(name: str) -> None:
    assert recognised(name) is None
    with pytest.raises(UserError, match="not one of H200 NVL, H200"):
        hardware(name)


def test_speed_limits() -> None:
    shape, h200 = PRESETS["qwen2.5-coder-7b"], hardware("H200")
    one = decode_tokens_per_s(shape, h200, batch=1, context=1, element_bytes=2)
    assert one == pytest.approx(4.8e12 / (2 * shape.n_parameters), rel=0.01)
    many = decode_tokens_per_s(shape, h200, batch=4096, context=1, element_bytes=2)
    assert many == pytest.approx(989e12 / (2 * shape.n_multiplied))
    assert decode_tokens_per_s(shape, hardware("910B"), batch=1, context=1, element_bytes=2) is None
    per_token = lora_flops_per_token(shape, 0, 0)
    assert per_token == 4 * shape.n_multiplied
    assert mfu(989e12 / per_token, per_token, h200.peak_flops) == pytest.approx(1)
    assert mfu(1.0, per_token, None) is None


# ---- laws

COUNT = st.integers(1, 400)
SPEED = st.floats(0.1, 1e6)
CAPACITY = st.builds(
    Capacity,
    generating=st.integers(1, 64),
    training=st.integers(1, 64),
    cores=st.integers(1, 512),
    overlaps=st.booleans(),
    takes_turns=st.booleans(),
)
RATES = st.fixed_dictionaries(
    {name: st.builds(Rate, value=SPEED, source=st.just("x"), measured=st.just(True)) for name in NAMES}
)  # fmt: skip


def config_of(tasks: int, n: int, eval_n: int, budget: int) -> Config:
    sets = [f"scheduler.tasks_per_round={tasks}", f"generate.n={n}", f"eval.n={eval_n}"]
    return configs.override(Config(), [*sets, f"finetune.tokens_per_round={budget}"])


def total(work: workload.Workload, capacity: Capacity, found: dict[str, Rate]) -> float:
    return hours.estimate(work, capacity, found).total


@settings(max_examples=25, deadline=None)
@given(COUNT, COUNT, st.integers(1, 9), st.integers(0, 3), st.sampled_from([0, 5000]), COUNT, CAPACITY, RATES)  # fmt: skip
def test_more_of_anything_never_takes_less_time(
    rounds: int,
    tasks: int,
    n: int,
    eval_n: int,
    budget: int,
    pool: int,
    capacity: Capacity,
    found: dict[str, Rate],
) -> None:
    config = config_of(tasks, n, eval_n, budget)
    base = total(workload.workload(config, pool, 5, rounds), capacity, found)
    longer = total(workload.workload(config, pool, 5, rounds + 1), capacity, found)
    wider = total(workload.workload(config, pool + 7, 5, rounds), capacity, found)
    assert base * (1 - 1e-9) <= min(longer, wider)
    for other in (
        config_of(tasks + 3, n, eval_n, budget),
        config_of(tasks, n + 1, eval_n, budget),
        config_of(tasks, n, eval_n + 1, budget),
    ):
        more = workload.workload(other, pool, 5, rounds)
        assert total(more, capacity, found) >= base * (1 - 1e-9)


@settings(max_examples=30, deadline=None)
@given(COUNT, COUNT, CAPACITY, RATES, st.integers(2, 5))
def test_hours_scale_with_the_rates(
    rounds: int, tasks: int, capacity: Capacity, found: dict[str, Rate], k: int
) -> None:
    work = workload.workload(config_of(tasks, 4, 1, 0), 1000, 100, rounds)
    slower = {
        name: dataclasses.replace(rate, value=rate.value / k if "per_s" in name else rate.value * k)
        for name, rate in found.items()
        if "tokens" not in name or "per_s" in name
    }
    before, after = total(work, capacity, found), total(work, capacity, {**found, **slower})
    assert after == pytest.approx(k * before)


@settings(max_examples=30, deadline=None)
@given(COUNT, COUNT, CAPACITY, RATES, st.integers(2, 5))
def test_capacity_divides_what_waits_for_it(
    rounds: int, tasks: int, capacity: Capacity, found: dict[str, Rate], k: int
) -> None:
    found |= {name: dataclasses.replace(found[name], value=0.0) for name in rates.MAY_BE_ZERO}
    work = workload.workload(config_of(tasks, 4, 1, 0), 1000, 100, rounds)
    more = Capacity(
        generating=k * capacity.generating,
        training=k * capacity.training,
        cores=k * capacity.cores,
        overlaps=capacity.overlaps,
        takes_turns=capacity.takes_turns,
    )
    assert total(work, more, found) == pytest.approx(total(work, capacity, found) / k)


@given(CAPACITY, RATES)
@settings(max_examples=30, deadline=None)
def test_overlap_helps_at_most_by_what_it_hides(capacity: Capacity, found: dict[str, Rate]) -> None:
    work = workload.workload(config_of(40, 4, 1, 0), 1000, 100, 10)
    apart = hours.estimate(work, dataclasses.replace(capacity, overlaps=False), found)
    beside = hours.estimate(work, dataclasses.replace(capacity, overlaps=True), found)
    training = next(p.hours for p in apart.phases if p.name == "LoRA rounds")
    rollouts = max(p.hours for p in apart.phases if p.name.startswith("rollouts"))
    saved = apart.total - beside.total
    assert saved == pytest.approx(min(training, rollouts), abs=1e-9 * apart.total)
    assert math.fsum(beside.by_resource.values()) == pytest.approx(beside.total)


@given(COUNT, COUNT, st.integers(1, 10_000), st.integers(1, 500), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_run_sees_no_more_tasks_than_there_are(
    rounds: int, tasks: int, pool: int, kept_out: int, new_share: float
) -> None:
    config = configs.override(
        Config(), [f"scheduler.tasks_per_round={tasks}", f"scheduler.new_share={new_share:.3f}"]
    )
    work = workload.workload(config, pool, kept_out, rounds)
    assert min(tasks, pool) <= work.seen <= min(pool, rounds * tasks)
    assert work.distinct_pairs <= work.seen * config.dpo.max_pairs_per_task


def test_a_workload_is_counted_by_hand() -> None:
    config = configs.override(
        Config(),
        ["scheduler.tasks_per_round=10", "scheduler.new_share=0.5", "generate.n=4", "eval.every=2",
         "eval.n=3", "eval.limit=20", "finetune.epochs=2", "dpo.epochs=3", "dpo.max_pairs=12"],
    )  # fmt: skip
    work = workload.workload(config, *workload.divided(config, 1000), rounds=5)
    assert (work.tasks, work.held_out, work.references) == (800, 20, 820)
    assert work.candidates == (5 * 10 + 8) * 4  # one audit of 8, after round 5
    assert work.evaluations == 5  # rounds 0, 2, 4, 5 and after DPO
    assert work.evaluation_candidates == 5 * 20 * 4
    assert (work.examples, work.seen) == (5 * 10 * 2, 30)
    assert (work.distinct_pairs, work.pairs) == (12, 36)
    panel = configs.override(config, ["eval.panel=7", "eval.panel_rounds=[1, 3, 4]"])
    work = workload.workload(panel, *workload.divided(panel, 1000), rounds=5)
    # Seven tasks more in five evaluations, and alone in rounds 1 and 3; 4 has an evaluation.
    assert work.evaluation_candidates == 5 * (20 * 4 + 7 * 3) + 2 * 7 * 3


def test_a_missing_rate_is_named() -> None:
    work = workload.workload(Config(), 100, 10, 3)
    capacity = Capacity(generating=1, training=1, cores=1, overlaps=False)
    with pytest.raises(MissingRate) as missing:
        hours.estimate(work, capacity, rates.shipped(5.0, 512, takes_turns=False))
    assert missing.value.name == "generate_tokens_per_s"


# ---- a real run


def test_a_run_is_estimated_from_its_own_rates() -> None:
    """Its rollouts' rates, its config: the time that it took, evaluations included, within 1.5 times."""
    found = of_run(RECORDED, model="tiny", kind="cpu")
    assert all(rate.measured for rate in found.values())
    config = configs.from_dict(json.loads((RECORDED / "config.json").read_text()), "config.json")
    config = configs.override(config, ["dpo.enabled=false", "scheduler.audit_every=0"])
    work = workload.workload(config, 60, 20, config.run.rounds)
    assert work.candidates == sum(
        len(file.read_text().splitlines()) for file in RECORDED.glob("rounds/*/candidates.jsonl")
    )
    zero = Rate(value=1e-9, source="verified before the first round", measured=True)
    known = rates.merged(found, {"reference_core_s": zero})
    capacity = Capacity(generating=1, training=1, cores=2, overlaps=False)
    estimated_s = 3600 * total(work, capacity, known)
    assert spent_s(RECORDED) / 1.5 < estimated_s < 1.5 * spent_s(RECORDED)


def test_a_runs_rates_are_counted_by_hand() -> None:
    found = of_run(RECORDED, model="tiny", kind="cpu")
    rounds = [json.loads(line) for line in (RECORDED / "metrics.jsonl").read_text().splitlines()]
    candidates = [
        json.loads(line)
        for file in RECORDED.glob("rounds/*/candidates.jsonl")
        for line in file.read_text().splitlines()
    ]
    tokens = sum(c["n_tokens"] for c in candidates)
    generate_s = sum(r["seconds"]["generate"] for r in rounds[1:])
    assert found["generate_tokens_per_s"].value == pytest.approx(tokens / generate_s)
    assert found["completion_tokens"].value == pytest.approx(tokens / len(candidates))
    assert "vllm on cpu" in found["generate_tokens_per_s"].source


# ---- the command


def planned(*arguments: str, out: Path) -> dict[str, Any]:
    assert main([*arguments, "--json", str(out)]) == 0
    result: dict[str, Any] = json.loads(out.read_text())
    return result


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*_*x*.toml")), ids=lambda f: f.stem)
def test_every_recipe_can_be_planned(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    npu = "910b" in file.stem
    speeds = ["--assume", "generate_tokens_per_s=4000", "--assume", "train_tokens_per_s=4000"]
    found = planned(
        "--config", str(file), "--tasks-count", "447000", "--rounds", "300", "--cores", "16",
        "--device", "910B" if npu else "L40S", "--devices", "4" if npu else "2",
        *(speeds if npu else []), out=tmp_path / "plan.json",
    )  # fmt: skip
    assert found["total_hours"] == pytest.approx(math.fsum(p["waits"] for p in found["hours"]))
    assert found["work"]["rounds"] == 300
    printed = capsys.readouterr().out
    assert f"binding: {found['binding']}" in printed
    assert "447,000" not in printed  # the held-out ones are not trained on
    assert "357,600 training tasks" in printed
    assert "assumed, not measured: " in printed


def test_what_binds(tmp_path: Path) -> None:
    def binding(*more: str) -> str:
        found = planned(
            "--config", str(SMALL), "--tasks-count", "10000", "--device", "L40S", "--cores", "16",
            "--set", "finetune.micro_batch_size=1", "--set", "dpo.micro_batch_size=1", *more,
            out=tmp_path / "plan.json",
        )  # fmt: skip
        return str(found["binding"])

    assert binding("--assume", "grade_core_s=100") == "grading cores"
    assert binding("--assume", "generate_tokens_per_s=1") == "generating devices"
    assert binding("--assume", "train_tokens_per_s=1") == "training devices"
    large = ("--set", "model.max_length=32768", "--set", "finetune.gradient_checkpointing=false")
    assert binding(*large) == "device memory"
    assert binding("--disk-gib", "1") == "disk"


def rates_file(path: Path, shape: str = "qwen2.5-coder-1.5b", device: str = "NVIDIA L40S") -> Path:
    found = {"generate_tokens_per_s": 7000.0, "train_tokens_per_s": 9000.0, "start_up_s": 60.0}
    path.write_text(
        json.dumps({"format": FORMAT, "device": {"name": device}, "rates": {shape: found}})
    )
    return path


def test_measured_rates_win_over_assumed_ones(tmp_path: Path) -> None:
    file = rates_file(tmp_path / "rates.json")
    base = ["--config", str(SMALL), "--tasks-count", "10000", "--rates", str(file)]
    found = planned(*base, out=tmp_path / "plan.json")
    assert found["rates"]["generate_tokens_per_s"] == {
        "value": 7000.0, "source": "rates.json, NVIDIA L40S", "measured": True,
    }  # fmt: skip
    assert found["device"]["name"] == "L40S"
    by_hand = planned(*base, "--assume", "generate_tokens_per_s=5", out=tmp_path / "plan.json")
    assert by_hand["rates"]["generate_tokens_per_s"]["source"] == "--assume"


def test_a_run_of_the_same_model_gives_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = planned("--measured", str(RECORDED), out=tmp_path / "plan.json")
    assert found["work"]["tasks"] == 2156
    assert found["rates"]["train_tokens_per_s"]["measured"]
    assert "recorded_run, 4 rounds, vllm on cpu, 2 cores" in capsys.readouterr().out


def damaged(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(RECORDED, run)
    (run / "rounds" / "0002" / "candidates.jsonl").write_text('{"n_tokens": 3\n')
    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "no.toml"], ["no.toml"]),
        (["--config", str(SMALL), "--device", "L40S"], ["--tasks-count"]),
        (["--config", str(SMALL), "--tasks-count", "9"], ["generate_tokens_per_s", "--rates"]),
        (["--config", str(SMALL), "--tasks-count", "9", "--device", "TPU"], ["--device TPU", "L40S"]),
        (["--assume", "speed=3"], ["--assume speed=3", "generate_tokens_per_s"]),
        (["--assume", "grade_core_s=fast"], ["grade_core_s=fast"]),
        (["--assume", "grade_core_s=0"], ["above 0"]),
        (["--assume", "grade_core_s=nan"], ["above 0"]),
        (["--set", "finetune.method=full"], ["finetune.method", "lora"]),
        (["--shape", "gpt-9"], ["--shape", "gpt-9", "config.json"]),
        (["--set", "model.path=Some/Thing-3B"], ["model.path", "Some/Thing-3B", "--shape"]),
        (["--devices", "2"], ["--devices", "CPU"]),
        (["--rounds", "-1"], ["run.rounds"]),
        (["--measured", "nothing/here"], ["nothing/here", "run directory"]),
        (["--measured", "{damaged}"], ["candidates.jsonl, line 1"]),
        (["--measured", "{recorded}", "--config", str(SMALL), "--tasks-count", "9", "--device", "L40S",
          "--set", "model.path=tiny"], ["recorded_run", "cpu", "cuda", "--device"]),
        (["--measured", "{unknown}"], ["environment", "'generator'"]),
        (["--measured", "{recorded}", "--set", "model.path=x/qwen2.5-coder-7b"], ["a run of tiny"]),
        (["--rates", "{rates}", "--shape", "tiny"], ["rates.json", "qwen2.5-coder-1.5b", "tiny"]),
        (["--config", str(SMALL), "--tasks-count", "9", "--rates", "{rates}", "--device", "H200"],
         ["rates.json", "L40S", "H200"]),
        (["--config", str(SMALL), "--tasks-count", "9", "--rates", "{bare}"], ["bare.json", "device"]),
        (["--rates", "{recorded}/config.json"], ["bench_gpu"]),
        (["--measured", "{recorded}", "--json", "no/such/folder/plan.json"], ["no/such/folder"]),
    ],
)  # fmt: skip
def test_unusable_input_is_one_line(
    arguments: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "damaged": damaged(tmp_path),
        "recorded": RECORDED,
        "rates": rates_file(tmp_path / "rates.json"),
        "bare": rates_file(tmp_path / "bare.json", device="NVIDIA RTX A6000"),
        "unknown": tmp_path / "unknown",
    }
    shutil.copytree(RECORDED, places["unknown"])
    (places["unknown"] / "environment.json").write_text("{}")
    assert main([a.format(**places) for a in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("srs.plan: ")
    assert shown.err.count("\n") == 1
    for word in words:
        assert word in shown.err


def test_a_config_json_gives_a_shape(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text((TINY / "config.json").read_text())
    by_file, by_name = find("x/y", str(file), TINY), find("tiny", None, TINY)
    assert by_file.n_parameters == by_name.n_parameters
    for text, word in (
        ('{"model_type": "mixtral"}', "mixtral"),
        ('{"model_type": "qwen2"}', "num_attention_heads"),
        ("[", "not a readable model config"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=word):
            find("x/y", str(file), TINY)


@pytest.mark.parametrize("suffix", ["", "-Instruct"])
def test_hub_ids_of_the_presets_are_known(suffix: str) -> None:
    shape: Shape = find(f"Qwen/Qwen2.5-Coder-1.5B{suffix}", None, TINY)
    assert shape is PRESETS["qwen2.5-coder-1.5b"]
    assert {device.kind for device in DEVICES} == {"cuda", "npu", "cpu"}


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "try:\n"
        "    import runpy; sys.argv = ['srs.plan', '--help']; runpy.run_module('srs.plan', run_name='__main__')\n"
        "except SystemExit:\n"
        "    print(sorted({'torch', 'vllm', 'transformers', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.splitlines()[-1] == "[]"
