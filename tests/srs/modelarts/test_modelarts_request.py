"""A job's request: the SDK's models know every field of it, and ModelArts' rules hold."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srs.modelarts import names
from srs.modelarts.__main__ import main
from srs.modelarts.request import build
from srs.modelarts.settings import JobSettings, Settings, TrainSettings, load
from srs.types import UserError

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs" / "modelarts").glob("*.toml"))
JOB = JobSettings(
    name="job",
    flavor="modelarts.pool.visual.4xlarge",
    run_url="obs://bucket/run",
    image="swr/o/i:1",
)
PRESET = dataclasses.replace(
    JOB, image="", engine_name="Ascend-Powered-Engine", engine_version="pytorch_2.1",
    code_dir="obs://bucket/code/srs",
)  # fmt: skip
FULL = dataclasses.replace(
    JOB, nodes=4, pool="pool-1", retry_always=True, retry_when_hung=True, log_url="obs://bucket/log",
    run_url="/mnt/sfs/run", nfs={"/mnt/sfs": "10.0.0.2:/share"}, obs={"/mnt/pfs": "/pfs/data"},
    inputs={"weights": "obs://bucket/w"}, environment={"HF_HUB_OFFLINE": "1"}, description="A job",
)  # fmt: skip


def settings(job: JobSettings = JOB, **train: Any) -> Settings:
    return Settings(modelarts=job, train=TrainSettings(**{"config": "configs/tiny.toml", **train}))


@pytest.fixture
def sdk() -> Any:
    pytest.importorskip(
        "huaweicloudsdkmodelarts", reason="the Huawei Cloud SDK is not installed: make setup"
    )
    from srs.modelarts import sdk

    return sdk


@pytest.mark.parametrize("job", [JOB, PRESET, FULL], ids=["custom", "preset", "everything"])
def test_the_sdk_knows_every_field(sdk: Any, job: JobSettings) -> None:
    sdk.check(build(settings(job, rounds=3, tasks="/data/t.jsonl", set=("run.seed=1",))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"metadata": {"nane": "x"}},
            "metadata.nane: not a field of JobMetadata; did you mean name",
        ),
        ({"spec": {"resource": {"node_count": "4"}}}, "spec.resource.node_count: must be int"),
        ({"spec": {"resource": {"node_count": True}}}, "spec.resource.node_count: must be int"),
        ({"algorithm": {"inputs": {}}}, "algorithm.inputs: must be a list"),
        ({"algorithm": {"inputs": [{"local": "/x"}]}}, r"algorithm.inputs\[0\].local: not a field"),
        ({"algorithm": {"environments": {"A": 1}}}, "algorithm.environments.A: must be str"),
    ],
)
def test_the_sdk_check_finds_a_wrong_field(sdk: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sdk.check(build(settings()) | change)


def test_a_custom_image_has_a_command_and_a_preset_engine_a_boot_file() -> None:
    custom, preset = build(settings())["algorithm"], build(settings(PRESET))["algorithm"]
    assert custom["engine"] == {"image_url": "swr/o/i:1"}
    assert custom["command"] == "/home/ma-user/srs/scripts/modelarts/run.sh"
    assert "boot_file" not in custom
    assert preset["engine"]["engine_name"] == "Ascend-Powered-Engine"
    assert preset["boot_file"] == "/bucket/code/srs/scripts/modelarts/boot.py"
    assert preset["boot_file"].startswith(preset["code_dir"])
    assert (ROOT / "scripts/modelarts/boot.py").is_file()
    assert "command" not in preset


def test_overrides_travel_in_a_variable_and_plain_words_as_parameters() -> None:
    algorithm = build(settings(rounds=2, set=("tasks.subsets=['a b']", "run.seed=1")))["algorithm"]
    assert json.loads(algorithm["environments"]["SRS_SET"]) == [
        "tasks.subsets=['a b']",
        "run.seed=1",
    ]
    assert {p["name"]: p["value"] for p in algorithm["parameters"]} == {
        "run_url": "obs://bucket/run",
        "config": "configs/tiny.toml",
        "rounds": "2",
    }


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"name": "a b"}, "modelarts.name"),
        ({"name": ""}, "modelarts.name"),
        ({"name": "n" * 65}, "modelarts.name"),
        ({"description": "d" * 257}, "modelarts.description"),
        ({"command": "run.sh"}, "modelarts.command"),
        ({"command": "/bin/a && /bin/b"}, "modelarts.command"),
        ({"command": "bash -c /bin/a"}, "modelarts.command"),
        ({"command": "/bin/$X"}, "modelarts.command"),
        ({"environment": {"MA_X": "1"}}, "modelarts.environment.MA_X"),
        ({"environment": {"A": "$HOME"}}, "modelarts.environment.A"),
        ({"environment": {"1A": "1"}}, "modelarts.environment.1A"),
        ({"environment": {"A": "x" * 4097}}, "modelarts.environment.A"),
        ({"environment": {f"A{i}": "1" for i in range(101)}}, "modelarts.environment"),
        ({"run_url": "obs://Bucket/x"}, "modelarts.run_url"),
        ({"run_url": "relative"}, "modelarts.run_url"),
        ({"run_url": "/mnt/x"}, "modelarts.run_url"),
        ({"log_url": "/bucket"}, "modelarts.log_url"),
        ({"inputs": {"a b": "obs://bucket/x"}}, "modelarts.inputs.a b"),
        ({"inputs": {"tasks": "obs://bucket/x"}}, "modelarts.inputs.tasks"),
        ({"inputs": {"a": "s3://bucket/x"}}, "modelarts.inputs.a"),
        ({"nfs": {"/home/ma-user/modelarts/x": "h:/p"}}, "modelarts.nfs./home/ma-user/modelarts/x"),
        ({"nfs": {"/mnt": "host"}}, "modelarts.nfs./mnt"),
        ({"obs": {"mnt": "/bucket"}}, "modelarts.obs.mnt"),
        ({"nodes": 0}, "modelarts.nodes"),
        ({"retries": -1}, "modelarts.retries"),
        ({"flavor": ""}, "modelarts.flavor"),
        ({"image": ""}, "modelarts.engine_name"),
        ({"engine_name": "E"}, "modelarts.image"),
        ({"image": "swr/o/i:1 x"}, "modelarts.image"),
    ],
)
def test_a_broken_rule_names_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as caught:
        build(settings(dataclasses.replace(JOB, **change)))
    assert str(caught.value).startswith(key)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=70))
def test_a_name_is_taken_exactly_when_modelarts_takes_it(name: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    try:
        names.check_name("k", name)
        taken = True
    except UserError:
        taken = False
    assert taken == (1 <= len(name) <= 64 and set(name) <= allowed)


@given(st.text(max_size=40))
def test_no_command_that_needs_a_shell_passes(text: str) -> None:
    try:
        names.check_command("k", f"/{text}")
    except UserError:
        return
    assert not set(f"/{text}") & set(" \t\n&|;<>$`\"'\\*?(){}")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_job_file_renders(path: Path, tmp_path: Path, sdk: Any) -> None:
    out = tmp_path / "job.json"
    assert main(["render", "--config", str(path), "--out", str(out)]) == 0
    job = json.loads(out.read_text(encoding="utf-8"))
    sdk.check(job)
    assert job == build(load(path))
    assert CONFIGS


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modelarts.nod=2"], "unknown key modelarts.nod; did you mean modelarts.nodes"),
        (["modelarts.nodes=two"], "modelarts.nodes: .*integer"),
        (["train.config=/etc/x.toml"], "train.config: name a file inside the repository"),
        (
            ["train.set=['finetune.lora=8']"],
            "train: --set finetune.lora=8: unknown key finetune.lora",
        ),
        (["train.config=configs/none.toml"], "train: .*none.toml: cannot read the config"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(
    overrides: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "job.json"
    sets = [word for text in overrides for word in ("--set", text)]
    assert main(["render", "--config", str(CONFIGS[0]), "--out", str(out), *sets]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    with pytest.raises(UserError, match=message):
        load(CONFIGS[0], overrides)
    assert not out.exists()


def test_help_answers_at_once_without_the_sdk() -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "srs.modelarts", "submit", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--endpoint" in ran.stdout
    assert "huaweicloudsdk" not in ran.stderr
    assert "torch" not in ran.stderr
