"""transformers, for machines without vLLM: slow, and bit-identical when the same prompts come again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from srs import models
from srs.engines.engine import Prompt, Sample
from srs.types import UserError

STOP_TAIL_TOKENS = 8
"""A stop string of at most so many bytes lies within as many tokens."""


class TransformersEngine:
    """Batches of whole tasks, in order; every row draws from a stream of its own."""

    name = "transformers"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int,
        ends: list[int],
        stops: tuple[str, ...],
        load: Callable[[models.ModelSource], Any] | None = None,
    ) -> None:
        """``load`` gives the model of other weights, for `reload`."""
        self._base = model
        self._load = load
        self._home = model.device
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._ends = frozenset(ends)
        self._stops = stops

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        adapter: Path | None,
        n: int,
        temperature: float,
        top_p: float,
    ) -> Iterator[tuple[int, list[Sample]]]:
        model = self._with_adapter(adapter)
        per_batch = max(1, self._batch_size // n)
        for start in range(0, len(prompts), per_batch):
            batch = prompts[start : start + per_batch]
            rows = [(prompt, prompt.seed + i) for prompt in batch for i in range(n)]
            samples = self._continue(model, rows, temperature, top_p)
            for i in range(len(batch)):
                yield start + i, samples[i * n : (i + 1) * n]

    def sleep(self) -> None:
        import torch

        self._base.to("cpu")
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def wake(self) -> None:
        self._base.to(self._home)

    def reload(self, source: models.ModelSource) -> None:
        assert self._load is not None
        self._base = self._load(source)

    def _with_adapter(self, adapter: Path | None) -> Any:
        if adapter is None:
            return self._base
        from peft import PeftModel

        if not (adapter / "adapter_model.safetensors").is_file():
            raise UserError(f"{adapter}: no adapter there: adapter_model.safetensors is missing")
        return PeftModel.from_pretrained(models.fresh(self._base), str(adapter)).eval()

    def _continue(
        self, model: Any, rows: list[tuple[Prompt, int]], temperature: float, top_p: float
    ) -> list[Sample]:
        """Continue every row until its end token, a stop string or its limit.

        Prompts are padded on the left to (rows, longest prompt); each step feeds (rows, 1).
        """
        import torch

        device = self._base.device
        limit = max(prompt.max_tokens for prompt, _ in rows)
        longest = max(len(prompt.ids) for prompt, _ in rows)
        pad = self._tokenizer.pad_token_id
        ids = torch.tensor(
            [[pad] * (longest - len(prompt.ids)) + prompt.ids for prompt, _ in rows], device=device
        )
        mask = torch.tensor(
            [[0] * (longest - len(p.ids)) + [1] * len(p.ids) for p, _ in rows], device=device
        )
        draws = torch.stack([_uniform(seed, limit) for _, seed in rows]).to(device)
        written: list[list[int]] = [[] for _ in rows]
        open_rows = set(range(len(rows)))
        ended = [False] * len(rows)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = None
        with torch.inference_mode():
            for step in range(limit):
                out = model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                cache = out.past_key_values
                chosen = choose(out.logits[:, -1].float(), draws[:, step], temperature, top_p)
                for row, token in enumerate(chosen.tolist()):
                    if row not in open_rows:
                        continue
                    written[row].append(token)
                    ended[row] = token in self._ends or self._has_stop(
                        written[row][-STOP_TAIL_TOKENS:]
                    )
                    if ended[row] or len(written[row]) == rows[row][0].max_tokens:
                        open_rows.discard(row)
                if not open_rows:
                    break
                ids = chosen[:, None]
                mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
                positions = positions[:, -1:] + 1
        return [
            Sample(text=self._text(tokens), n_tokens=len(tokens), truncated=not done)
            for tokens, done in zip(written, ended, strict=True)
        ]

    def _has_stop(self, tail: list[int]) -> bool:
        if not self._stops:
            return False
        text = self._tokenizer.decode(tail)
        return any(stop in text for stop in self._stops)

    def _text(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        for stop in self._stops:
            text = text.partition(stop)[0]
        return text


def choose(logits: Any, draws: Any, temperature: float, top_p: float) -> Any:
    """One token per row by inverting the nucleus's cumulative distribution at ``draws`` in [0, 1).

    ``logits`` (rows, vocabulary) float32, ``draws`` (rows,) → (rows,) int64. Temperature 0: the argmax.
    The nucleus is the smallest set of most likely tokens whose mass reaches ``top_p`` (Holtzman et al.
    2020, section 3.1).
    """
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits / temperature, -1)
    mass, order = torch.sort(probabilities, stable=True, dim=-1, descending=True)
    cumulative = mass.cumsum(-1)
    mass = mass.masked_fill(cumulative - mass >= top_p, 0.0)
    cumulative = mass.cumsum(-1)
    point = draws[:, None] * cumulative[:, -1:]
    place = torch.searchsorted(cumulative, point, right=True)
    last = (mass > 0).sum(-1, keepdim=True) - 1
    return order.gather(-1, torch.minimum(place, last))[:, 0]


def _uniform(seed: int, count: int) -> Any:
    """``count`` draws in [0, 1) from the stream of ``seed``, on the CPU so that devices agree."""
    import torch

    return torch.rand(count, generator=torch.Generator().manual_seed(seed))
