"""What a plan makes of rates: whose devices they are of, batches, DPO's passes, and turns."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srs import config as configs
from srs.config import Config
from srs.estimate import hours, workload
from srs.estimate.hours import Capacity
from srs.estimate.measured import of_run
from srs.estimate.rates import FORMAT, Rate
from srs.plan import main

RECORDED = Path(__file__).parent / "recorded_run"
SMALL = Path(__file__).parents[2] / "configs" / "qwen2.5-coder-1.5b_2xl40s.toml"
RATES = {
    "generate_tokens_per_s": 1000.0,
    "train_tokens_per_s": 500.0,
    "grade_core_s": 0.01,
    "reference_core_s": 0.03,
    "prompt_tokens": 100.0,
    "completion_tokens": 200.0,
}


def rates(**more: float) -> dict[str, Rate]:
    given = {**RATES, **more}
    return {name: Rate(value=v, source="x", measured=True) for name, v in given.items()}


def planned(out: Path, *arguments: str) -> dict[str, Any]:
    base = ["--config", str(SMALL), "--tasks-count", "10000", "--rounds", "10", "--cores", "16"]
    assert main([*base, *arguments, "--json", str(out)]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def phase(found: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = [p for p in found["hours"] if p["name"] == name]
    return dict(one)


# ---- a run's rates


def run_on(
    folder: Path,
    kind: str,
    *,
    generator: dict[str, Any] | None = None,
    tuner: dict[str, Any] | None = None,
    **devices: Any,
) -> Path:
    """The recorded run as if it had been on other devices."""
    shutil.copytree(RECORDED, folder)
    file = folder / "environment.json"
    found = json.loads(file.read_text())
    found["generator"] |= {"device": kind, **(generator or {})}
    found["tuner"] |= {"device": kind, **(tuner or {})}
    file.write_text(json.dumps(found))
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["devices"] |= devices
    file.write_text(json.dumps(config))
    return folder


def test_a_runs_speeds_are_those_of_one_device(tmp_path: Path) -> None:
    one = of_run(run_on(tmp_path / "one", "cuda"), model="tiny", kind="cuda")
    eight = of_run(
        run_on(
            tmp_path / "eight", "cuda", generator={"replicas": 4}, tuner={"processes": 8},
            tensor_parallel=2,
        ),
        model="tiny", kind="cuda",
    )  # fmt: skip
    for name in ("generate_tokens_per_s", "train_tokens_per_s"):
        assert one[name].value == pytest.approx(8 * eight[name].value)
    assert "8 devices generate, 8 train" in eight["train_tokens_per_s"].source
    assert one["grade_core_s"].value == eight["grade_core_s"].value


def test_a_cpu_is_one_device_however_many_engines_share_it(tmp_path: Path) -> None:
    one = of_run(RECORDED, model="tiny", kind="cpu")
    shared = run_on(tmp_path / "r", "cpu", generator={"replicas": 2}, tuner={"processes": 2})
    two = of_run(shared, model="tiny", kind="cpu")
    for name in ("generate_tokens_per_s", "train_tokens_per_s"):
        assert one[name].value == two[name].value


@pytest.mark.parametrize(
    ("devices", "in_turns"),
    [({}, True), ({"placement": "split"}, False), ({"async_rounds": 1}, False), ({"cluster": "ray"}, False)],
)  # fmt: skip
def test_turns_that_a_runs_speeds_include_cost_nothing_more(
    devices: dict[str, Any], in_turns: bool, tmp_path: Path
) -> None:
    run = run_on(tmp_path / "run", "cuda", **devices)
    found = of_run(run, model="tiny", kind="cuda")
    assert ("train_start_s" in found) is in_turns
    # Half of its rollouts come after an evaluation, into whose time the engines' way back falls.
    assert "engine_turn_s" not in found
    without = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in without:
        record["seconds"].pop("eval", None)
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in without))
    found = of_run(run, model="tiny", kind="cuda")
    assert ("engine_turn_s" in found) is in_turns


# ---- batches


def test_an_assumed_decoding_rate_is_that_of_an_engines_share(tmp_path: Path) -> None:
    speeds, caches = {}, {}
    for n in (1, 2, 3, 8):
        found = planned(tmp_path / "plan.json", "--device", "L40S", "--devices", str(n))
        speeds[n] = found["rates"]["generate_tokens_per_s"]["value"]
        (caches[n],) = [key for key in found["device_memory_gib"]["generation"] if "KV" in key]
    assert [round(speeds[n]) for n in (1, 2, 8)] == [10741, 7762, 2913]
    for n, share in ((1, 200), (2, 100), (3, 67), (8, 25)):
        assert caches[n].startswith(f"KV cache, {share} sequences")


def test_a_pair_of_devices_that_share_an_engine_share_its_batch(tmp_path: Path) -> None:
    both = ["--device", "L40S", "--devices", "2", "--set", "devices.tensor_parallel=2"]
    found = planned(tmp_path / "plan.json", *both)
    assert "for 200 sequences" in found["rates"]["generate_tokens_per_s"]["source"]


def test_evaluations_have_batches_of_their_own(tmp_path: Path) -> None:
    found = planned(tmp_path / "plan.json", "--device", "L40S", "--devices", "2")
    assert "for 256 sequences" in phase(found, "evaluations: generate")["sources"][0]
    few = planned(
        tmp_path / "p.json", "--device", "L40S", "--set", "eval.limit=3", "--set", "eval.n=2"
    )
    assert "for 6 sequences" in phase(few, "evaluations: generate")["sources"][0]
    measured = ["--assume", "generate_tokens_per_s=70", "--device", "L40S"]
    found = planned(tmp_path / "plan.json", *measured)
    assert phase(found, "evaluations: generate")["rate"] == "1 x 70 tokens/s"


def test_twice_the_engines_have_half_the_batch(tmp_path: Path) -> None:
    two = planned(tmp_path / "2.json", "--device", "L40S", "--devices", "2")
    four = planned(tmp_path / "4.json", "--device", "L40S", "--devices", "4")
    # Four devices train faster as well: that aside, it is what doubling those that generate gives.
    trains = [phase(p, name)["hours"] for p in (two, four) for name in ("LoRA rounds", "DPO")]
    faster = sum(trains[:2]) - sum(trains[2:])
    assert two["hours_with_twice"]["generating"] - faster == pytest.approx(four["total_hours"])


# ---- DPO


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 500))
def test_the_reference_is_computed_once_however_many_epochs(epochs: int, pool: int) -> None:
    config = configs.override(Config(), [f"dpo.epochs={epochs}", "dpo.max_pairs_per_task=1"])
    work = workload.workload(config, pool, 5, rounds=3)
    capacity = Capacity(generating=1, training=1, cores=1, overlaps=False)
    (dpo,) = [p for p in hours.estimate(work, capacity, rates()).phases if p.name == "DPO"]
    one_pass = (
        work.distinct_pairs * 2 * 300 / 500 / 3600
    )  # chosen and rejected of 300 tokens, 500/s
    # 4 FLOP a weight for a step's forward and backward pass, 2 for a forward pass before and one after.
    assert dpo.hours == pytest.approx(one_pass * (epochs + 0.5 + 0.5))


# ---- turns


@pytest.mark.parametrize(("dpo", "trainings"), [("true", 11), ("false", 10)])
def test_every_turn_starts_a_training_process(dpo: str, trainings: int) -> None:
    config = configs.override(Config(), [f"dpo.enabled={dpo}"])
    work = workload.workload(config, 100, 5, rounds=10)
    apart = Capacity(generating=1, training=1, cores=1, overlaps=False)
    turns = dataclasses.replace(apart, takes_turns=True)
    known = rates(train_start_s=20.0, engine_turn_s=7.0, start_up_s=60.0)
    without, found = (hours.estimate(work, c, known) for c in (apart, turns))
    # Once more at the beginning, to see that it can.
    more_s = (trainings + 1) * 20 + trainings * 7
    assert 3600 * (found.total - without.total) == pytest.approx(more_s)
    assert not any("turn" in p.rate for p in without.phases)


def rates_file(path: Path, *, name: str, kind: str, **more: float) -> Path:
    device = {"name": name, "kind": kind, "memory_gib": 48.0}
    found = {
        "generate_tokens_per_s": 7000.0,
        "train_tokens_per_s": 9000.0,
        "start_up_s": 60.0,
        **more,
    }
    shapes = {"qwen2.5-coder-1.5b": found}
    path.write_text(json.dumps({"format": FORMAT, "device": device, "rates": shapes}))
    return path


@pytest.mark.parametrize(("name", "kind"), [("NVIDIA RTX A6000", "cuda"), ("Ascend910B3", "npu")])
def test_turns_are_paid_with_a_benchmarks_rates(
    name: str, kind: Literal["cuda", "npu"], tmp_path: Path
) -> None:
    file = rates_file(
        tmp_path / "r.json", name=name, kind=kind, train_start_s=30.0, engine_turn_s=50.0
    )
    found = planned(tmp_path / "plan.json", "--rates", str(file), "--devices", "2")
    assert found["device"]["kind"] == kind
    assert phase(found, "training starts")["hours"] == pytest.approx(12 * 30 / 3600)
    assert phase(found, "engines give way")["hours"] == pytest.approx(11 * 50 / 3600)
    assert phase(found, "engine start-up")["hours"] == pytest.approx(60 / 3600)
    split = planned(
        tmp_path / "s.json",
        "--rates",
        str(file),
        "--devices",
        "2",
        "--set",
        "devices.placement=split",
    )
    assert not {"training starts", "engines give way"} & {p["name"] for p in split["hours"]}


def test_rates_of_a_device_that_nobody_published_still_make_a_plan(tmp_path: Path) -> None:
    file = rates_file(tmp_path / "r.json", name="NVIDIA RTX A6000", kind="cuda")
    for more in ([], ["--device", "nvidia rtx a6000"]):
        found = planned(tmp_path / "plan.json", "--rates", str(file), *more)
        assert found["device"]["memory_gib"] == 48.0
        assert found["device"]["peak_flops"] is None
        assert phase(found, "training starts")["sources"][0].startswith("assumed: 10 s")
