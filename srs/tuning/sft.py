"""One round of supervised fine-tuning, with a weight per example."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srs.config import FinetuneConfig
from srs.examples import step_batches
from srs.finetune import SftResult
from srs.prompts import completion_ids
from srs.tuning.adapter import Base, save, scratch, trainable
from srs.tuning.steps import MicroBatch, epochs_of_steps
from srs.tuning.trainer import make_trainer
from srs.types import SftExample

logger = logging.getLogger(__name__)


def sft(
    base: Base,
    config: FinetuneConfig,
    examples: Sequence[SftExample],
    *,
    start: Path | None,
    out: Path,
    seed: int,
) -> SftResult:
    """See `srs.finetune.Tuner.sft`."""
    model = trainable(base, config, start=start, seed=seed)
    rows = training_rows(base, examples)
    if not rows:
        save(base, model, out)
        return SftResult(loss=None, n_tokens=0, n_steps=0)
    objective = _Weighted(base, config, rows)
    with scratch() as folder:
        trainer = make_trainer(
            base,
            config,
            model,
            objective,
            steps_of(config, rows, seed=seed),
            micro_batch_size=config.micro_batch_size,
            learning_rate=config.learning_rate,
            folder=folder,
            seed=seed,
        )
        trainer.train()
    save(base, model, out)
    loss_sum, n_tokens = base.world.sums(float(objective.loss_sum), objective.n_tokens)
    return SftResult(
        loss=loss_sum / n_tokens, n_tokens=int(n_tokens), n_steps=trainer.state.global_step
    )


def training_rows(base: Base, examples: Sequence[SftExample]) -> list[dict[str, Any]]:
    """Token ids, labels (-100 on the prompt) and weight. What passes the context's end is cut.

    An example whose prompt alone fills the context is left out.
    """
    rows = []
    for example in examples:
        prompt, completion = completion_ids(
            example.prompt, example.completion, base.tokenizer, chat=base.chat
        )
        room = base.context - len(prompt)
        if room <= 0:
            logger.warning("%s: its prompt fills model.max_length: not trained on", example.task)
            continue
        rows.append(
            {
                "input_ids": prompt + completion[:room],
                "labels": [-100] * len(prompt) + completion[:room],
                "weight": example.weight,
            }
        )
    return rows


def steps_of(
    config: FinetuneConfig, rows: Sequence[dict[str, Any]], *, seed: int
) -> list[list[int]]:
    """The rows of each optimiser step, under the config's budget of tokens or steps if it has one."""
    if not (config.tokens_per_round or config.steps_per_round):
        return epochs_of_steps(
            len(rows), epochs=config.epochs, batch_size=config.batch_size, seed=seed
        )
    return step_batches(
        [_n_tokens(row) for row in rows],
        tokens=config.tokens_per_round,
        steps=config.steps_per_round,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=seed,
    )


def _n_tokens(row: dict[str, Any]) -> int:
    """Tokens that are predicted. The first of a text never is."""
    return sum(label != -100 for label in row["labels"][1:])


class _Weighted:
    """Token losses scaled by their example's weight, over the number of tokens of the whole step.

    The mean weight is 1, so the scale of the gradient stays that of unweighted training.
    """

    def __init__(self, base: Base, config: FinetuneConfig, rows: Sequence[dict[str, Any]]) -> None:
        import torch
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

        self._rows = rows
        self._packed = config.packing
        self._pad = DataCollatorForLanguageModeling(
            pad_token_id=base.tokenizer.pad_token_id, padding_free=config.packing
        )
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        """In nats, of this rank."""
        self.n_tokens = 0

    def begin(self, trainer: Any) -> None: ...

    def batch(self, part: MicroBatch, step: Sequence[int]) -> dict[str, Any]:
        """``weight``: (rows, 1), or (1, tokens - 1) when the examples lie end to end."""
        import torch

        rows = [self._rows[number] for number in part.rows]
        weights = [row["weight"] if part.counted else 0.0 for row in rows]
        if self._packed:
            repeats = torch.tensor([len(row["input_ids"]) for row in rows])
            by_token = torch.tensor(weights).repeat_interleave(repeats)
            weight = by_token[None, 1:]
        else:
            weight = torch.tensor(weights)[:, None]
        return {
            **self._pad([{key: row[key] for key in ("input_ids", "labels")} for row in rows]),
            "weight": weight,
            "of_tokens": sum(_n_tokens(self._rows[number]) for number in step),
            "n_tokens": sum(map(_n_tokens, rows)) if part.counted else 0,
        }

    def loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        """``log_probs`` is (rows, tokens - 1), zero where nothing is predicted."""
        weight, of_tokens = inputs.pop("weight"), inputs.pop("of_tokens")
        self.n_tokens += inputs.pop("n_tokens")
        out = model(**inputs, use_cache=False, fused_lm_head=True)
        log_probs = out.log_probs[:, -(inputs["labels"].shape[1] - 1) :]  # not of virtual tokens
        weighted = -(log_probs * weight).sum()
        self.loss_sum += weighted.detach().double().cpu()
        return weighted / of_tokens

    def step_begins(self, trainer: Any) -> None: ...

    def stops(self, trainer: Any) -> bool:  # noqa: ARG002
        return False
