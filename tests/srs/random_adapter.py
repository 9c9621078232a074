"""LoRA adapters of random weights, large enough to change what the model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def make_adapter(model: Path, out: Path, *, seed: int = 1) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        tuned = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear"))
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        tuned.save_pretrained(str(out))
    return out
