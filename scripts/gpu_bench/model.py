"""A model of a real shape with random weights, and a tokenizer and tasks to go with it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srs.device import Device
from srs.estimate.shape import Shape
from srs.models import TINY
from srs.types import Task

LETTERS = "abcdefghijklmnopqrstuvwxyz"
QUESTION_CHARACTERS, PROGRAM_CHARACTERS = 4.4, 2.9
"""For each token of the tiny tokenizer, in its tasks' questions and in programs."""


class ModelMaker:
    """Served by `srs.child`: construction writes the folder, ``describe`` says where it was done.

    The folder holds ``model/`` and ``adapter/``, a LoRA of rank ``rank`` on every linear map with random
    weights: a fresh one changes nothing, and an engine that lost it would go unnoticed.
    """

    def __init__(self, shape: dict[str, Any], folder: str, device: dict[str, Any], rank: int) -> None:  # fmt: skip
        import torch
        import transformers
        from peft import LoraConfig, get_peft_model

        self.device = Device(**{**device, "indices": tuple(device["indices"])})
        self.device.check()
        wanted, target = Shape(**shape), Path(folder)
        if (target / "model" / "config.json").is_file() and (target / "adapter").is_dir():
            return
        shutil.rmtree(target, ignore_errors=True)
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        kind = {"qwen2": transformers.Qwen2Config, "llama": transformers.LlamaConfig}
        config = kind[wanted.model_type](
            vocab_size=wanted.vocab,
            hidden_size=wanted.hidden,
            intermediate_size=wanted.intermediate,
            num_hidden_layers=wanted.layers,
            num_attention_heads=wanted.heads,
            num_key_value_heads=wanted.kv_heads,
            max_position_embeddings=wanted.positions,
            tie_word_embeddings=wanted.tied,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=0,
        )
        torch.manual_seed(0)
        with torch.device(self.device.torch_device):
            auto: Any = transformers.AutoModelForCausalLM
            model = auto.from_config(config, dtype=torch.bfloat16)
        n_parameters = sum(p.numel() for p in model.parameters())
        if n_parameters != wanted.n_parameters:
            raise RuntimeError(f"{wanted.name}: {n_parameters} weights, not {wanted.n_parameters}")
        model.save_pretrained(str(partial / "model"), max_shard_size="4GB")
        write_tokenizer(partial / "model", wanted.vocab)
        lora = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
            init_lora_weights=False,
        )
        get_peft_model(model, lora).save_pretrained(str(partial / "adapter"))
        partial.rename(target)

    def describe(self) -> dict[str, Any]:
        """The device's kind, its name in torch's words, and its memory in GiB (None on a CPU)."""
        import torch

        if self.device.kind == "cpu":
            return {"kind": "cpu", "name": "CPU", "memory_gib": None}
        properties = torch.get_device_module(self.device.kind).get_device_properties(0)
        return {
            "kind": self.device.kind,
            "name": properties.name,
            "memory_gib": properties.total_memory / 2**30,
        }


def write_tokenizer(folder: Path, vocab: int) -> None:
    """The tiny tokenizer, filled up to ``vocab`` entries: words of letters that no text is encoded to.

    A random model samples its whole vocabulary, and every token has to become text.
    """
    for name in ("tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(TINY / name, folder / name)
    tokenizer = json.loads((TINY / "tokenizer.json").read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    used = set(words.values()) | {added["id"] for added in tokenizer["added_tokens"]}
    for number in range(vocab):
        if number not in used:
            words[_word(number, words)] = number
    text = json.dumps(tokenizer, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def _word(number: int, taken: dict[str, int]) -> str:
    word = ""
    while number or len(word) < 3:
        number, digit = divmod(number, len(LETTERS))
        word += LETTERS[digit]
    while word in taken:
        word += "q"
    return word


def lengthened(tasks: Sequence[Task], prompt_tokens: int) -> list[Task]:
    """The same tasks with questions of about ``prompt_tokens`` tokens, made of their neighbours'."""
    wanted = int(prompt_tokens * QUESTION_CHARACTERS)
    found = []
    for place, task in enumerate(tasks):
        question, neighbour = task.question, place
        while len(question) < wanted:
            neighbour = (neighbour + 1) % len(tasks)
            question += "\n\n" + tasks[neighbour].question
        found.append(dataclasses.replace(task, question=question[: max(wanted, 1)]))
    return found
