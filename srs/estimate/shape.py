"""A model's shape: the numbers of its config.json that decide memory and arithmetic."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srs.types import UserError

DENSE_TYPES = ("qwen2", "llama")
"""Grouped-query attention, SwiGLU, RMSNorm, no experts: what the formulas below are for."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A dense decoder with grouped-query attention and SwiGLU. ``source`` is where the numbers are from."""

    name: str
    model_type: str
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    """The output head is the embedding matrix."""
    attention_bias: bool
    positions: int
    source: str

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of one layer's linear maps."""
        h, i = self.hidden, self.intermediate
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (h, q),
            "k_proj": (h, kv),
            "v_proj": (h, kv),
            "o_proj": (q, h),
            "gate_proj": (h, i),
            "up_proj": (h, i),
            "down_proj": (i, h),
        }

    @property
    def n_parameters(self) -> int:
        """All weights: embeddings, head if it has its own, linear maps, biases of q, k and v, norms."""
        biases = sum(self.linears[name][1] for name in ("q_proj", "k_proj", "v_proj"))
        layer = self._layer_weights + biases * self.attention_bias + 2 * self.hidden
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * layer + self.hidden

    @property
    def n_multiplied(self) -> int:
        """Weights that every token is multiplied by: linear maps and head, not the embedding look-up."""
        return self.layers * self._layer_weights + self.vocab * self.hidden

    @property
    def kv_elements_per_token(self) -> int:
        return 2 * self.layers * self.kv_heads * self.head_dim

    def lora_parameters(self, rank: int, targets: Sequence[str] = ()) -> int:
        """``rank`` x (inputs + outputs) for each adapted map (Hu et al. 2022, section 4.1).

        ``targets`` empty = every linear map of the layers. Raises UserError for one that isn't there.
        """
        unknown = sorted(set(targets) - self.linears.keys())
        if unknown:
            raise UserError(
                f"finetune.target_modules: {unknown[0]} is not one of {', '.join(self.linears)}"
            )
        chosen = targets or tuple(self.linears)
        return self.layers * sum(rank * sum(self.linears[name]) for name in chosen)

    @property
    def _layer_weights(self) -> int:
        return sum(inputs * outputs for inputs, outputs in self.linears.values())


def _qwen(name: str, **numbers: int) -> Shape:
    return Shape(
        name=name.lower(),
        model_type="qwen2",
        head_dim=128,
        layers=28,
        tied=name.endswith("1.5B"),
        attention_bias=True,
        positions=32768,
        source=f"huggingface.co/Qwen/{name}, config.json",
        **numbers,
    )


PRESETS = {
    shape.name: shape
    for shape in (
        _qwen("Qwen2.5-Coder-1.5B", vocab=151936, hidden=1536, intermediate=8960, heads=12, kv_heads=2),
        _qwen("Qwen2.5-Coder-7B", vocab=152064, hidden=3584, intermediate=18944, heads=28, kv_heads=4),
        Shape(
            name="deepseek-coder-6.7b",
            model_type="llama",
            vocab=32256,
            hidden=4096,
            intermediate=11008,
            layers=32,
            heads=32,
            kv_heads=32,
            head_dim=128,
            tied=False,
            attention_bias=False,
            positions=16384,
            source="huggingface.co/deepseek-ai/deepseek-coder-6.7b-base, config.json",
        ),
    )
}  # fmt: skip


def read(path: Path, name: str = "") -> Shape:
    """The shape in a ``config.json``. Raises UserError naming the file and what is wrong with it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: not a readable model config: {e}") from e
    try:
        return from_config(found, name=name or path.parent.name, source=str(path))
    except KeyError as e:
        raise UserError(f"{path}: the key {e.args[0]} is missing") from e


def from_config(config: Mapping[str, Any], *, name: str, source: str) -> Shape:
    """Raises KeyError for a missing key, UserError for a kind of model that the formulas don't fit."""
    kind = config["model_type"]
    if kind not in DENSE_TYPES:
        raise UserError(
            f"{source}: model_type {kind}: the formulas are for {', '.join(DENSE_TYPES)}"
        )
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    return Shape(
        name=name,
        model_type=kind,
        vocab=int(config["vocab_size"]),
        hidden=hidden,
        intermediate=int(config["intermediate_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        tied=bool(config.get("tie_word_embeddings", False)),
        attention_bias=kind == "qwen2" or bool(config.get("attention_bias", False)),
        positions=int(config["max_position_embeddings"]),
        source=source,
    )


def find(model_path: str, wanted: str | None, tiny: Path) -> Shape:
    """The shape named by ``wanted`` (a preset, ``tiny``, or a config.json), else that of ``model.path``.

    ``tiny`` is the folder of the model that ships with the package. Nothing is downloaded.
    Raises UserError when neither says enough.
    """
    text = wanted or model_path
    if text == "tiny":
        return dataclasses.replace(
            read(tiny / "config.json", "tiny"), source="ships with the package"
        )
    path = Path(text).expanduser()
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        return read(path)
    bare = text.lower().rpartition("/")[2]
    for suffix in ("-instruct", "-base"):
        bare = bare.removesuffix(suffix)
    if bare in PRESETS:
        return PRESETS[bare]
    key = "--shape" if wanted else "model.path"
    raise UserError(
        f"{key}: the shape of {text} is not known here: give --shape one of tiny, {', '.join(PRESETS)}, "
        "or a config.json"
    )
