"""A Qwen2 model with random weights and its own byte-level tokenizer: real parts, in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from srs.types import Task

END, START, TEXT_END = "<|im_end|>", "<|im_start|>", "<|endoftext|>"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "def add_one(x):\n    return x + 1\n```python\n```",
    "Answer with one Python code block.\n\n### Problem\nStart from this declaration:",
    "for i in range(10):\n    print(i)\n    return [v for v in xs if v]\n\n### Answer\n",
]


def make_tokenizer(*, bos: str | None = None, eos: str = END, chat_template: str | None = CHAT) -> Any:  # fmt: skip
    """A byte-level BPE tokenizer; with ``bos`` it begins every text with it, as Llama's do."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = [TEXT_END, START, END, *([bos] if bos else []), *([eos] if eos != END else [])]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        TEXT * 20,
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=bos, eos_token=eos, pad_token=TEXT_END
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def make_model(folder: Path, *, positions: int = 256) -> Path:
    """Write a model folder that transformers and vLLM load. 100 thousand parameters."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def make_task(number: int, *, question: str | None = None) -> Task:
    return Task(
        id=f"add_{number}",
        group=f"add_{number}",
        kind="pytest",
        style="instruct",
        subset="test",
        question=question or f"Add {number} to x.",
        declaration=f"def add_{number}(x):",
        entry_point=f"add_{number}",
        test=f"def test_add():\n    assert add_{number}(1) == {number + 1}",
        reference=f"def add_{number}(x):\n    return x + {number}",
    )
