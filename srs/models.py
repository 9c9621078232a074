"""Finding, loading and re-using a base model; shared by generation and training, in their processes."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs.config import ModelConfig
from srs.device import Device
from srs.types import UserError

TINY = Path(__file__).parent / "tiny" / "model"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """``name`` is what loaders take: an absolute folder, or a hub id."""

    name: str
    is_local: bool

    def environment(self) -> dict[str, str]:
        """Keeps loaders off the network when everything is here."""
        quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
        return {**quiet, "HF_HUB_OFFLINE": "1"} if self.is_local else quiet


def locate(model: ModelConfig) -> ModelSource:
    """Where ``model.path`` points. Raises UserError when it names a folder that holds no model."""
    text = model.path
    path = TINY if text == "tiny" else Path(text).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"model.path: {path} holds no config.json: not a model folder")
        return ModelSource(name=str(path.resolve()), is_local=True)
    is_hub_id = text != "tiny" and text.count("/") <= 1 and not text.startswith((".", "~", "/"))
    if not is_hub_id or path.exists():
        raise UserError(f"model.path: {path} does not exist: give a model folder or a hub id")
    return ModelSource(name=text, is_local=False)


@contextlib.contextmanager
def loading(source: ModelSource) -> Iterator[None]:
    """Loaders' complaints about the files or the network become one UserError."""
    try:
        yield
    except (OSError, ValueError) as e:
        reason = " ".join(str(e).split())[:300]
        advice = (
            "check the folder"
            if source.is_local
            else "no such hub id, or no network: download it first and give its folder"
        )
        raise UserError(f"model.path: cannot load {source.name}: {advice} ({reason})") from e


def load_tokenizer(source: ModelSource, model: ModelConfig) -> Any:
    """A transformers tokenizer with a padding token. Raises UserError."""
    from transformers import AutoTokenizer

    with loading(source):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            source.name, trust_remote_code=model.trust_remote_code
        )
    if tokenizer.eos_token_id is None:
        raise UserError(f"model.path: {source.name}: its tokenizer names no end-of-text token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(source: ModelSource, model: ModelConfig, device: Device) -> Any:
    """The causal language model on ``device``, frozen, in evaluation mode. Raises UserError."""
    import torch
    from transformers import AutoModelForCausalLM

    with loading(source):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.name,
            dtype=getattr(torch, device.dtype(model.dtype)),
            attn_implementation=device.attention,
            trust_remote_code=model.trust_remote_code,
        )
    return loaded.to(device.torch_device).eval().requires_grad_(False)


def load_config(source: ModelSource, model: ModelConfig) -> Any:
    """The transformers config. Raises UserError."""
    from transformers import AutoConfig

    with loading(source):
        return AutoConfig.from_pretrained(source.name, trust_remote_code=model.trust_remote_code)


def context_length(config: Any, model: ModelConfig) -> int:
    """Tokens that a prompt and its completion may have: ``model.max_length``, or fewer if the model's."""
    own = getattr(config.get_text_config(), "max_position_embeddings", None)
    return min(model.max_length, own) if own else model.max_length


def end_ids(source: ModelSource, tokenizer: Any) -> list[int]:
    """Tokens that end an answer: the tokenizer's own and those of the model's generation config."""
    from transformers import GenerationConfig

    ids = {int(tokenizer.eos_token_id)}
    with contextlib.suppress(OSError):  # many models ship none
        more = GenerationConfig.from_pretrained(source.name).eos_token_id
        ids.update([more] if isinstance(more, int) else more or [])
    return sorted(ids)


def fresh(model: Any) -> Any:
    """New modules around the same weights: adapters, hooks and patches on them leave ``model`` alone."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
