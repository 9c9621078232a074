"""Pretrain the tiny model: a base model that knows every step and is unsure of some.

``python -m scripts.tiny_lab.pretrain [--out srs/tiny/model]`` writes a folder that transformers and
vLLM load. The loss falls on answers only. The same seed gives the same text; weights agree up to
the arithmetic of the machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.tiny_lab import tokenizer as tiny_tokenizer
from scripts.tiny_lab.text import held_out_keys, samples
from srs import prompts
from srs.types import Task

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen2Config

TINY = Path(__file__).resolve().parents[2] / "srs" / "tiny"
CONTEXT = 2048
TOKENIZER_SAMPLES = 6000
BUCKET = 16
"""Batches drawn together and sorted by length, so that little is padded."""
IGNORED = -100


def config(tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    """About 2.3M parameters. Heads of 32 are the smallest that vLLM serves on every device."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        use_cache=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype="float32",
    )


def encode(
    tokenizer: PreTrainedTokenizerFast, task: Task, program: str
) -> tuple[list[int], list[int]]:
    """Token ids of prompt + answer + end, and labels that ignore the prompt; equal lengths."""
    prompt = tokenizer(prompts.render(task, tokenizer, chat=True)).input_ids
    text = prompts.answer(program, chat=True) + tiny_tokenizer.END
    answer = tokenizer(text).input_ids
    return prompt + answer, [IGNORED] * len(prompt) + answer


def batches(
    tokenizer: PreTrainedTokenizerFast, pairs: Iterator[tuple[Task, str]], size: int, seed: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of ``size``: input_ids and labels, each (size, longest).

    Padded on the right, where causal attention needs no mask.
    """
    import torch

    rng = random.Random(seed)
    while True:
        rows = [encode(tokenizer, *pair) for pair in itertools.islice(pairs, size * BUCKET)]
        rows.sort(key=lambda row: len(row[0]))
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(ids) for ids, _ in chunk)
            pad = int(tokenizer.pad_token_id)
            yield {
                "input_ids": torch.tensor([x + [pad] * (width - len(x)) for x, _ in chunk]),
                "labels": torch.tensor([y + [IGNORED] * (width - len(y)) for _, y in chunk]),
            }


def rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Learning rate: linear warm-up, then a cosine down to a tenth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def portable(folder: Path) -> None:
    """Name the tokenizer's class as transformers loads it, and let everybody read the files."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "Qwen2Tokenizer"
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        file.chmod(0o644)


def pretrain(args: argparse.Namespace) -> dict[str, Any]:
    """Train, save to ``args.out``, and return how it went."""
    # Threads that spin while they wait made a step 10 times as long on a machine with other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    from transformers import GenerationConfig, Qwen2ForCausalLM

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    held_out = held_out_keys(args.held_out)
    pairs = samples(random.Random(f"text/{args.seed}"), held_out)
    tokenizer = tiny_tokenizer.train(
        (
            prompts.user_message(task) + "\n" + prompts.answer(program, chat=True)
            for task, program in itertools.islice(pairs, TOKENIZER_SAMPLES)
        ),
        CONTEXT,
    )
    model = Qwen2ForCausalLM(config(tokenizer))  # type: ignore[no-untyped-call]
    # In bfloat16 on a CPU the backward pass of fused attention took 1.5 times as long as this one.
    model.set_attn_implementation("eager")
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        lr=args.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    started, losses, curve = time.monotonic(), [], {}
    source = batches(tokenizer, pairs, args.batch_size, args.seed)
    for step, batch in enumerate(itertools.islice(source, args.steps)):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args.steps, args.learning_rate)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            curve[step + 1] = round(sum(losses[-100:]) / 100, 4)
            print(
                f"step {step + 1}  loss {curve[step + 1]}  {time.monotonic() - started:.0f} s",
                flush=True,
            )

    out: Path = args.out
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(out)  # type: ignore[arg-type]
    tokenizer.save_pretrained(out)
    portable(out)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seed": args.seed,
        "steps": args.steps,
        "batch_size": args.batch_size,
        "learning_rate": args.learning_rate,
        "seconds": round(time.monotonic() - started),
        "loss": curve,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TINY / "model")
    parser.add_argument("--held-out", type=Path, default=TINY / "held_out.jsonl")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    summary = pretrain(args)
    (args.out / "pretraining.json").write_text(
        json.dumps(summary, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
