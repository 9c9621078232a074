"""The tiny lab: tasks that hold what they promise, and a model that plain transformers loads."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from scripts.tiny_lab import make_tasks
from scripts.tiny_lab.compositions import UNUSED, Composition, Step, draw, load
from scripts.tiny_lab.primitives import PRIMITIVES, VARIABLES
from scripts.tiny_lab.text import as_task, held_out_keys, right_share, samples
from srs import prompts
from srs.config import TasksConfig
from srs.tasks import load as load_tasks
from srs.types import Task

ROOT = Path(__file__).parents[2]
TINY = ROOT / "srs" / "tiny"
BY_KEY = {p.key: p for p in PRIMITIVES}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TINY / name).read_text(encoding="utf-8").splitlines()]


TRAIN, HELD_OUT = rows("train.jsonl"), rows("held_out.jsonl")


def composition_of(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row["metadata"]["composition"])


def outcomes(row: dict[str, Any], program: str) -> dict[str, bool]:
    """Which of a row's tests pass with ``program`` (ours, so run here). Missing imports fail all."""
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    exec(row["test"].split("\n", 1)[1], namespace)
    found = {}
    for name in [n for n in namespace if n.startswith("test_")]:
        try:
            namespace[name]()
            found[name] = True
        except Exception:  # whatever a wrong program does, its test did not pass
            found[name] = False
    return found


def passes(row: dict[str, Any], program: str) -> bool:
    return all(outcomes(row, program).values())


# --- the shipped tasks


def test_counts_twins_and_families() -> None:
    assert len(TRAIN) >= 2000
    assert len(HELD_OUT) >= 200
    ids = Counter(row["question_id"] for row in TRAIN + HELD_OUT)
    assert max(ids.values()) == 1
    styles = {"I": "instruct", "C": "complete"}
    assert all(row["style"] == styles[row["question_id"][-1]] for row in TRAIN + HELD_OUT)
    twins = Counter(row["question_id"].rsplit("_", 1)[0] for row in TRAIN)
    assert set(twins.values()) == {2}
    families = {"TinyList", "TinyString", "TinyDict", "TinyNumber", "TinyAlgorithm"}
    for side in (TRAIN, HELD_OUT):
        assert {row["subset"] for row in side} == families
        assert {row["gpt_difficulty"] for row in side} == {"easy", "medium", "hard"}


def test_the_split_shares_no_composition_no_group_and_no_question() -> None:
    assert not {composition_of(r) for r in TRAIN} & {composition_of(r) for r in HELD_OUT}
    assert not {r["question"] for r in TRAIN} & {r["question"] for r in HELD_OUT}
    task_set = load_tasks(TasksConfig())
    assert not {t.group for t in task_set.train} & {t.group for t in task_set.held_out}


def test_every_primitive_of_a_held_out_task_is_in_the_training_tasks() -> None:
    used = {key for row in HELD_OUT for key in composition_of(row)}
    assert used <= {key for row in TRAIN for key in composition_of(row)}


@pytest.mark.parametrize("side", [TRAIN, HELD_OUT], ids=["train", "held_out"])
def test_every_reference_passes_its_tests(side: list[dict[str, Any]]) -> None:
    for row in side:
        found = outcomes(row, row["solution"])
        assert found == dict.fromkeys(("test_edge_cases", "test_examples", "test_more"), True)


def test_tests_have_at_least_five_asserts_and_begin_with_edge_cases() -> None:
    for row in TRAIN + HELD_OUT:
        assert row["test"].count("    assert ") >= 5
        assert row["test"].startswith(
            f"from solution import {row['test_info'][0]['function_name']}\n"
        )


def test_tests_refuse_stubs() -> None:
    for row in TRAIN + HELD_OUT:
        info = row["test_info"][0]
        parameter = info["parameter_list"].strip("()")
        expected = row["test"].rsplit(" == ", 1)[1].strip()
        for value in ("None", parameter, expected):
            assert not passes(row, f"{info['function_declaration']}\n    return {value}\n")


def test_tests_refuse_every_edit_and_every_mistake() -> None:
    n_run = 0
    for row in random.Random(0).sample(TRAIN + HELD_OUT, 80):
        composition = parse(row)
        assert composition.program() == row["solution"]
        edits = [composition.edited(i, replacement) for i, replacement in composition.edits()]
        programs = [
            edit.program().replace(edit.declaration, composition.declaration)
            for edit in edits
            if is_quick(edit)
        ]
        if is_quick(composition):
            programs += [
                composition.program(frozenset({i}))
                for i, step in enumerate(composition.steps)
                if step.primitive.wrong is not None
            ]
        for program in programs:
            n_run += 1
            assert not passes(row, program), f"{row['question_id']} lets pass:\n{program}"
    assert n_run > 1000


def is_quick(composition: Composition) -> bool:
    """Whether no step loops up to a number that an earlier step may have made huge."""
    slow = ["prime_list", "divisors", "factors", "primes", "fibonacci", "collatz", "root"]
    slow += ["count_up", "count_down", "stars"]
    return not {step.primitive.key for step in composition.steps[1:]} & set(slow)


def parse(row: dict[str, Any]) -> Composition:
    """The composition of a row, its constants read from the function's name."""
    words = row["test_info"][0]["function_name"].split("_")
    steps = []
    for key in composition_of(row):
        primitive = BY_KEY[key]
        words = words[len(key.removesuffix("_k").split("_")) :]
        constant = int(words.pop(0)) if primitive.takes_constant else UNUSED
        steps.append(Step(primitive, constant))
    return Composition(tuple(steps))


def test_the_generator_writes_the_shipped_bytes(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "scripts.tiny_lab.make_tasks", "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
    )
    for name in ("train.jsonl", "held_out.jsonl"):
        assert (tmp_path / name).read_bytes() == (TINY / name).read_bytes()


# --- primitives and pretraining text


@pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda p: p.key)
def test_a_primitive_is_total_and_keeps_its_input(primitive: Any) -> None:
    composition = Composition((Step(primitive, 3),))
    kinds = {"list": list, "words": list, "string": str, "dict": dict, "number": int}
    for wrong in (False, True) if primitive.wrong else (False,):
        function = load(composition.program(frozenset({0} if wrong else ())), composition.name)
        for value in make_tasks.POOL[primitive.source]:
            before = repr(value)
            assert isinstance(function(value), kinds[primitive.target])
            assert repr(value) == before


def test_pretraining_never_shows_a_held_out_composition() -> None:
    held_out = held_out_keys(TINY / "held_out.jsonl")
    assert held_out == {composition_of(row) for row in HELD_OUT}
    names = {parse(row).name for row in HELD_OUT}
    stream = samples(random.Random(1), held_out)
    assert not names & {task.id for task, _ in islice(stream, 5000)}


def test_pretraining_doubts_each_doubtful_step_at_its_share() -> None:
    held_out = held_out_keys(TINY / "held_out.jsonl")
    n, right = Counter[str](), Counter[str]()
    for task, program in islice(samples(random.Random(2), held_out), 30000):
        if task.id in BY_KEY:  # a single step without a constant
            n[task.id] += 1
            right[task.id] += program == task.reference
    assert len(n) > 100
    for key, count in n.items():
        share = right_share(BY_KEY[key])
        assert abs(right[key] / count - share) < 4.5 * (share * (1 - share) / count) ** 0.5 + 1e-9


def test_pretraining_shows_tasks_as_the_loop_does() -> None:
    loaded = {task.id: task for task in load_tasks(TasksConfig()).train}
    for row in random.Random(3).sample(TRAIN, 100):
        mine = as_task(parse(row), row["style"])
        assert prompts.user_message(mine) == prompts.user_message(loaded[row["question_id"]])


def test_draws_chain_by_type() -> None:
    for depth in (1, 2, 3, 4):
        steps = draw(random.Random(depth), depth).steps
        assert len(steps) == depth
        assert all(a.primitive.target == b.primitive.source for a, b in pairwise(steps))
        assert steps[0].primitive.source in VARIABLES


# --- the shipped model


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TINY / "model")


@pytest.fixture(scope="module")
def held_out_tasks() -> list[Task]:
    return list(load_tasks(TasksConfig()).held_out)


def test_the_model_is_small(tokenizer: Any) -> None:
    assert sum(f.stat().st_size for f in (TINY / "model").iterdir()) <= 12 * 2**20
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.pad_token not in (None, tokenizer.eos_token)


def test_prompts_end_on_a_token_boundary(tokenizer: Any, held_out_tasks: list[Task]) -> None:
    for task in held_out_tasks:
        assert task.reference is not None
        prompt = prompts.render(task, tokenizer, chat=True)
        completion = prompts.answer(task.reference, chat=True)
        apart = tokenizer(prompt).input_ids + tokenizer(completion).input_ids
        assert tokenizer(prompt + completion).input_ids == apart
        assert tokenizer.decode(apart) == prompt + completion


def test_any_text_survives_the_tokenizer(tokenizer: Any) -> None:
    text = "naïve 漢字 🙂\t\x00\r\n  def f(x):  return 'ü'"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_base_model_knows_much_and_doubts_much(
    tokenizer: Any, held_out_tasks: list[Task]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(TINY / "model", dtype=torch.float32)
    assert 2_000_000 <= model.num_parameters() <= 6_000_000
    by_id = {row["question_id"]: row for row in HELD_OUT}
    chosen = held_out_tasks[:48]
    encoded = tokenizer(
        [prompts.render(task, tokenizer, chat=True) for task in chosen],
        return_tensors="pt",
        padding=True,
    )
    with torch.inference_mode():
        output = model.generate(**encoded, max_new_tokens=192)
    passed = 0
    for task, ids in zip(chosen, output[:, encoded.input_ids.shape[1] :], strict=True):
        code = prompts.extract_code(tokenizer.decode(ids, skip_special_tokens=True))
        assert code is not None
        passed += passes(by_id[task.id], code)
    # 95% binomial range around a share of 25 to 45%.
    assert 0.1 < passed / len(chosen) < 0.6
