"""Every file in configs/ loads; those of the published settings hold them."""

import difflib
from pathlib import Path

import pytest

from srs.config import load
from srs.types import UserError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
PUBLISHED = [path for path in CONFIGS if "tiny" not in path.stem]


def test_the_published_settings_have_a_file_for_each_model() -> None:
    assert {path.stem for path in PUBLISHED} >= {
        "qwen2.5-coder-1.5b_2xl40s",
        "qwen2.5-coder-7b_4x910b",
        "deepseek-coder-6.7b-base_4x910b",
        "deepseek-coder-6.7b-instruct_4x910b",
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_it_loads(path: Path) -> None:
    load(path)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_where_training_waits_its_turn_the_engine_has_the_card(path: Path) -> None:
    config = load(path)
    assert config.devices.async_rounds == 0
    assert config.devices.placement == "auto"
    assert config.generate.gpu_memory_utilization >= 0.8


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_misspelt_key_is_refused_with_the_nearest_one(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    section, key = next(
        (section, line.partition("=")[0].strip())
        for section, line in _keys(text)
        if len(line.partition("=")[0].strip()) > 4
    )
    broken = tmp_path / path.name
    broken.write_text(text.replace(f"\n{key} =", f"\n{key[:-1]} =", 1), encoding="utf-8")
    with pytest.raises(
        UserError, match=f"unknown key {section}.{key[:-1]}; did you mean {section}.{key}"
    ):
        load(broken)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_the_published_settings(path: Path) -> None:
    c = load(path)
    assert c.tasks.source == "KodCode/KodCode-Light-RL-10K"
    assert c.tasks.held_out_share == 0.2
    assert (c.scheduler.tasks_per_round, c.scheduler.new_share) == (40, 0.7)
    assert (c.generate.n, c.generate.temperature, c.generate.top_p) == (5, 0.7, 0.95)
    assert c.sandbox.timeout_s == 5.0
    assert (c.finetune.lora_r, c.finetune.lora_alpha, c.finetune.learning_rate) == (8, 16, 5e-5)
    assert (c.dpo.learning_rate, c.dpo.beta, c.dpo.epochs) == (1e-5, 0.1, 2)
    assert c.finetune.target == "mix"


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_base_models_get_the_plain_template_and_instruct_models_their_own(path: Path) -> None:
    model = load(path).model
    assert model.template == ("chat" if model.path.lower().endswith("instruct") else "plain")


def test_the_published_files_differ_only_in_model_device_and_memory() -> None:
    """So that a comparison of models compares models."""
    free = ("path =", "template =", "micro_batch_size =", "gradient_checkpointing =", "#")
    first = PUBLISHED[0].read_text(encoding="utf-8").splitlines()
    for path in PUBLISHED[1:]:
        for line in difflib.ndiff(first, path.read_text(encoding="utf-8").splitlines()):
            if line.startswith(("- ", "+ ")) and line[2:].strip():
                assert line[2:].startswith(free), f"{path.name}: {line}"


def _keys(text: str) -> list[tuple[str, str]]:
    result, section = [], ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif "=" in line and not line.startswith("#"):
            result.append((section, line))
    return result
