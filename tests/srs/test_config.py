"""TOML and overrides → Config, and one clear line for each mistake."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srs.config import Config, from_dict, load, override, to_dict
from srs.types import UserError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    return path


def error_of(path: Path | None, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_file_gives_the_defaults() -> None:
    assert load(None) == Config()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[generate]\nn = 7\n\n[tasks]\nsubsets = ['Leetcode']\n"))
    assert config.generate.n == 7
    assert config.tasks.subsets == ("Leetcode",)
    assert dataclasses.replace(config, generate=Config().generate, tasks=Config().tasks) == Config()


def test_overrides_win_over_the_file_and_the_last_one_wins(tmp_path: Path) -> None:
    path = written(tmp_path, "[run]\nrounds = 3\nseed = 4\n")
    config = load(
        path, ["run.rounds=5", "run.rounds=6", "model.path=a/b", "finetune.learning_rate=1e-4"]
    )
    assert (config.run.rounds, config.run.seed) == (6, 4)
    assert config.model.path == "a/b"
    assert config.finetune.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tasks.source=rows.jsonl", "rows.jsonl"),
        ("tasks.source='a b'", "a b"),
        ("tasks.source=a=b", "a=b"),
        ("tasks.source= owner/name:train ", "owner/name:train"),
    ],
)
def test_an_override_that_is_no_toml_value_is_text(text: str, value: str) -> None:
    assert load(None, [text]).tasks.source == value


def test_override_of_a_config_is_as_if_it_had_been_loaded_so(tmp_path: Path) -> None:
    path = written(tmp_path, "[generate]\nn = 7\n")
    texts = ["generate.top_p=0.5", "tasks.styles=['complete']"]
    assert override(load(path), texts) == load(path, texts)
    assert override(load(path), []) == load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[genrate]\nn = 1", ["unknown key genrate", "did you mean generate?"]),
        (
            "[generate]\ntemprature = 1",
            ["unknown key generate.temprature", "generate.temperature?"],
        ),
        ("generate = 1", ["generate is a section", "[generate]"]),
        ("[generate]\nn = 'many'", ["generate.n", "'many'"]),
        ("[generate]\nn = 0", ["generate.n must be 1 or more"]),
        ("[generate]\ntop_p = 1.5", ["generate.top_p must be above 0 and at most 1"]),
        ("[generate]\nmax_tokens = 2048", ["generate.max_tokens must leave room"]),
        ("[generate]\nengine = 'gpt'", ["generate.engine", "vllm", "'gpt'"]),
        ("[scheduler]\npolicy = 'fsrs9'", ["scheduler.policy", "sm2", "'fsrs9'"]),
        ("[tasks]\nheld_out_share = 1", ["tasks.held_out_share must be between 0 and 1"]),
        ("[tasks]\nsubsets = 'Leetcode'", ["tasks.subsets", "'Leetcode'"]),
        ("[tasks]\nlimit = -1", ["tasks.limit must be 0 or more"]),
        ("[finetune]\nbatch_size = 0", ["finetune.batch_size must be 1 or more"]),
        ("[finetune]\nmicro_batch_size = 0", ["finetune.micro_batch_size must be 1 or more"]),
        ("[dpo]\nlearning_rate = nan", ["dpo.learning_rate must be above 0"]),
        ("[dpo]\nbeta = 0", ["dpo.beta must be above 0"]),
        ("[dpo]\nsft_weight = -1", ["dpo.sft_weight must be 0 or more"]),
        ("[dpo]\ncollapse_nats = -0.1", ["dpo.collapse_nats must be 0 or more"]),
        ("[dpo]\nmax_pairs = -1", ["dpo.max_pairs must be 0 or more"]),
        ("[finetune]\nmax_per_task = 0", ["finetune.max_per_task must be 1 or more"]),
        ("[eval]\ntemperature = -1", ["eval.temperature must be 0 or more"]),
        (
            "[generate]\ngpu_memory_utilization = 1.5",
            ["generate.gpu_memory_utilization must be above 0 and at most 1"],
        ),
        ("[sandbox]\ntimeout_s = 0", ["sandbox.timeout_s must be above 0"]),
        ("[sandbox]\ntimeout_s = inf", ["sandbox.timeout_s must be finite"]),
        (
            "[finetune]\nbatch_size = 8\nmicro_batch_size = 3",
            ["finetune.micro_batch_size must divide"],
        ),
        ("[dpo]\nmicro_batch_size = 3", ["dpo.micro_batch_size must divide"]),
        ("[run\nrounds = 1", ["not valid TOML"]),
    ],
)
def test_a_mistake_in_a_file_is_one_line_with_file_and_key(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = written(tmp_path, text)
    message = error_of(path)
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rounds=3", ["--set rounds=3: write it as section.key=value"]),
        ("run.rounds", ["--set run.rounds: write it as section.key=value"]),
        ("run.ronds=3", ["--set run.ronds=3", "did you mean run.rounds?"]),
        ("rnu.rounds=3", ["--set rnu.rounds=3", "did you mean run?"]),
        ("run.rounds=x", ["run.rounds", "'x'"]),
        ("run.rounds=-1", ["run.rounds must be 0 or more"]),
    ],
)
def test_a_mistake_in_an_override_names_it(text: str, words: list[str]) -> None:
    message = error_of(None, text)
    for word in words:
        assert word in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot read the config: No such file" in error_of(tmp_path / "none.toml")
    assert "cannot read the config: Is a directory" in error_of(tmp_path)
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe[run]")
    assert f"{path}: not valid TOML" in error_of(path)


configs = st.fixed_dictionaries(
    {},
    optional={
        "run": st.fixed_dictionaries({"rounds": st.integers(0, 99), "seed": st.integers(0, 2**31)}),
        "tasks": st.fixed_dictionaries(
            {
                "source": st.text(min_size=1),
                "held_out_share": st.floats(0.01, 0.99),
                "subsets": st.lists(st.text(), max_size=3),
            }
        ),
        "generate": st.fixed_dictionaries(
            {"n": st.integers(1, 50), "temperature": st.floats(0, 2)}
        ),
        "dpo": st.fixed_dictionaries({"enabled": st.booleans(), "beta": st.floats(0.01, 1)}),
    },
)


@settings(deadline=None)  # a busy machine is not a broken law
@given(configs)
def test_to_dict_and_from_dict_are_inverse_through_json(data: dict[str, Any]) -> None:
    config = from_dict(data, "test")
    assert from_dict(json.loads(json.dumps(to_dict(config))), "test") == config


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["eval.panel=4", "eval.n=1"], ["eval.panel", "eval.n of 2"]),
        (["eval.panel=-1"], ["eval.panel", "0 or more"]),
        (["eval.rounds=[4, -1]"], ["eval.rounds"]),
        (["eval.panel=4", "eval.panel_rounds=[0]"], ["eval.panel_rounds", "1 or more"]),
        (["eval.panel_rounds=[3]"], ["eval.panel_rounds", "set eval.panel"]),
        (["finetune.steps_per_round=-1"], ["finetune.steps_per_round"]),
        (["finetune.tokens_per_round=-1"], ["finetune.tokens_per_round"]),
    ],
)
def test_budgets_and_panels_have_bounds(texts: list[str], words: list[str]) -> None:
    message = error_of(None, *texts)
    assert all(word in message for word in words), message


def test_evaluation_rounds_are_a_list_of_numbers() -> None:
    assert load(None, ["eval.rounds=[0, 4, 8]"]).eval.rounds == (0, 4, 8)
