"""An adapter and its base as one model folder, for engines that can't load the adapter while they run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from srs import models
from srs.tuning.adapter import WEIGHTS, is_full
from srs.types import UserError


def merge(
    source: models.ModelSource,
    adapter: Path,
    out: Path,
    *,
    dtype: str = "float32",
    trust_remote_code: bool = False,
) -> None:
    """Write the weights of ``source`` with ``adapter`` in them to ``out``, with the base's tokenizer.

    The sum is taken in float32 and stored as ``dtype``. A folder that holds a full model already (of
    ``finetune.method = full``) is copied as it is. ``out`` exists only once it is complete. Works on the CPU, in
    memory for one float32 copy of the model: call it in a process that may use that much. Raises UserError when
    ``adapter`` holds neither or can't be merged (virtual tokens), FileExistsError when ``out`` is there.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; merged weights are never overwritten")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if is_full(adapter):
        shutil.copytree(adapter, partial)
    else:
        _merge_into(source, adapter, partial, dtype, trust_remote_code)
    partial.rename(out)


def _merge_into(
    source: models.ModelSource, adapter: Path, folder: Path, dtype: str, trust_remote_code: bool
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (adapter / WEIGHTS).is_file():
        raise UserError(f"{adapter}: no adapter to merge: {WEIGHTS} is missing")
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if settings.get("num_virtual_tokens"):
        raise UserError(f"{adapter}: virtual tokens can't be merged into weights")
    with models.loading(source):
        base: Any = AutoModelForCausalLM.from_pretrained(
            source.name, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
        tokenizer = AutoTokenizer.from_pretrained(source.name, trust_remote_code=trust_remote_code)
    wrapped: Any = PeftModel.from_pretrained(base, str(adapter))
    merged = wrapped.merge_and_unload(safe_merge=True).to(getattr(torch, dtype))
    merged.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
