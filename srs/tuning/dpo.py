"""DPO with an SFT term, stopped when the chosen answers collapse.

Loss: sigmoid DPO (Rafailov et al. 2023, equation 7) + alpha times the mean negative log-likelihood of the chosen
tokens (Pang et al. 2024, Iterative Reasoning Preference Optimization). Both means are over the whole optimiser
step, so they depend neither on the micro-batches nor on the number of ranks; TRL's DPOTrainer takes the
second one over each micro-batch. The reference is the adapter that training starts from: its
log-probabilities are computed once, before the first step.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srs.config import DpoConfig, FinetuneConfig
from srs.finetune import DpoResult
from srs.prompts import completion_ids
from srs.tuning.adapter import Base, Snapshot, restore, save, scratch, snapshot, trainable
from srs.tuning.steps import MicroBatch, epochs_of_steps, share
from srs.tuning.trainer import make_trainer
from srs.types import PreferencePair

logger = logging.getLogger(__name__)


def dpo(
    base: Base,
    config: DpoConfig,
    tuning: FinetuneConfig,
    pairs: Sequence[PreferencePair],
    *,
    start: Path | None,
    out: Path,
    seed: int,
) -> DpoResult:
    """See `srs.finetune.Tuner.dpo`."""
    from trl.trainer.utils import disable_dropout_in_model

    model = trainable(base, tuning, start=start, seed=seed)
    disable_dropout_in_model(model)
    rows = training_rows(base, pairs)
    if not rows:
        save(base, model, out)
        return DpoResult(loss=None, n_pairs=0, n_steps=0, chosen_logp_before=None, chosen_logp_after=None, accuracy=None, collapsed=False)  # fmt: skip
    objective = _Preference(base, config, rows)
    with scratch() as folder:
        trainer = make_trainer(
            base,
            tuning,
            model,
            objective,
            epochs_of_steps(
                len(rows), epochs=config.epochs, batch_size=config.batch_size, seed=seed
            ),
            micro_batch_size=config.micro_batch_size,
            learning_rate=config.learning_rate,
            folder=folder,
            seed=seed,
        )
        loss = trainer.train().training_loss
        before = objective.reference
        after = objective.log_probabilities(trainer)
        fall = _mean(before, 0) - _mean(after, 0)
        if not objective.collapsed and config.collapse_nats and fall > config.collapse_nats:
            objective.collapse(fall)
        if objective.collapsed:
            restore(trainer.model, objective.good)
            after = objective.log_probabilities(trainer)
    save(base, model, out)
    margins = [(c - c0) - (r - r0) for (c0, r0), (c, r) in zip(before, after, strict=True)]
    return DpoResult(
        loss=loss,
        n_pairs=len(rows),
        n_steps=trainer.state.global_step,
        chosen_logp_before=_mean(before, 0),
        chosen_logp_after=_mean(after, 0),
        accuracy=sum(margin > 0 for margin in margins) / len(margins),
        collapsed=objective.collapsed,
    )


def training_rows(base: Base, pairs: Sequence[PreferencePair]) -> list[list[dict[str, Any]]]:
    """Token ids and labels (-100 on the prompt) of the chosen and of the rejected text of each pair.

    A pair that doesn't fit the context is left out: cut answers would teach the model to prefer not to end.
    """
    rows = []
    for pair in pairs:
        prompt, chosen = completion_ids(pair.prompt, pair.chosen, base.tokenizer, chat=base.chat)
        _, rejected = completion_ids(pair.prompt, pair.rejected, base.tokenizer, chat=base.chat)
        if len(prompt) + max(len(chosen), len(rejected)) > base.context:
            logger.warning("%s: a pair doesn't fit model.max_length: left out", pair.task)
            continue
        rows.append(
            [
                {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}
                for answer in (chosen, rejected)
            ]
        )
    return rows


class _Preference:
    """The loss, the reference, and a watch on how far the chosen answers fall below it."""

    def __init__(self, base: Base, config: DpoConfig, rows: Sequence[list[dict[str, Any]]]) -> None:
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

        self._base = base
        self._config = config
        self._rows = rows
        self._pad = DataCollatorForLanguageModeling(pad_token_id=base.tokenizer.pad_token_id)
        self.reference: list[tuple[float, float]] = []
        """Summed log-probability (nats) of each pair's chosen and rejected answer before training."""
        self._fallen = 0.0
        self._measured: Snapshot = {}
        self.good: Snapshot = {}
        """The weights before the step that measured the collapse, or before the last one that didn't."""
        self.collapsed = False

    def begin(self, trainer: Any) -> None:
        self.reference = self.log_probabilities(trainer)
        if self._config.collapse_nats:
            self.good = snapshot(trainer.model)

    def batch(self, part: MicroBatch, step: Sequence[int]) -> dict[str, Any]:
        """Chosen texts, then rejected ones. ``reference`` is (2, pairs)."""
        import torch

        tokens = sum(_n_tokens(self._rows[number][0]) for number in step)
        return {
            **self._texts(part),
            "reference": torch.tensor([self.reference[number] for number in part.rows]).T,
            "of_pairs": len(step),
            "of_tokens": tokens,
            "counted": float(part.counted),
        }

    def loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        from torch.nn.functional import logsigmoid

        reference, of_pairs = inputs.pop("reference"), inputs.pop("of_pairs")
        of_tokens, counted = inputs.pop("of_tokens"), inputs.pop("counted")
        chosen, rejected = _sums(model, inputs).chunk(2)
        risen, other = chosen - reference[0], rejected - reference[1]
        loss = -logsigmoid(self._config.beta * (risen - other)).sum() / of_pairs
        if self._config.sft_weight:
            loss = loss - self._config.sft_weight * chosen.sum() / of_tokens
        self._fallen -= float(risen.detach().double().sum()) * counted / of_pairs
        return loss * counted

    def step_begins(self, trainer: Any) -> None:
        self._fallen = 0.0
        if self._config.collapse_nats:
            self._measured = snapshot(trainer.model)

    def stops(self, trainer: Any) -> bool:  # noqa: ARG002
        """A step measures the weights that it began with; every rank adds what its pairs fell."""
        if not self._config.collapse_nats:
            return False
        (fall,) = self._base.world.sums(self._fallen)
        if fall > self._config.collapse_nats:
            self.collapse(fall)
        else:
            self.good = self._measured
        return self.collapsed

    def collapse(self, fall: float) -> None:
        self.collapsed = True
        logger.warning(
            "the chosen answers lost %.2f nats (dpo.collapse_nats = %g): going back to the last "
            "adapter before that",
            fall,
            self._config.collapse_nats,
        )

    def log_probabilities(self, trainer: Any) -> list[tuple[float, float]]:
        """Of every pair's answers, as `reference`, under the weights in training."""
        import torch

        world, size = self._base.world, self._config.micro_batch_size
        model = trainer.model_wrapped if trainer.is_deepspeed_enabled else trainer.model
        everything = range(len(self._rows))
        was_training = model.training
        model.eval()
        mine: list[tuple[int, float, float]] = []
        with torch.no_grad():
            for part in share(everything, rank=world.rank, ranks=world.size, size=size):
                texts = self._texts(part)
                inputs = {key: value.to(trainer.args.device) for key, value in texts.items()}
                with trainer.accelerator.autocast():
                    chosen, rejected = _sums(model, inputs).chunk(2)
                if part.counted:
                    mine += zip(part.rows, chosen.tolist(), rejected.tolist(), strict=True)
        model.train(was_training)
        found = {number: pair for rank in world.gather(mine) for number, *pair in rank}
        return [(found[number][0], found[number][1]) for number in everything]

    def _texts(self, part: MicroBatch) -> dict[str, Any]:
        pairs = [self._rows[number] for number in part.rows]
        texts: dict[str, Any] = self._pad(
            [dict(chosen) for chosen, _ in pairs] + [dict(rejected) for _, rejected in pairs]
        )
        return texts


def _sums(model: Any, inputs: dict[str, Any]) -> Any:
    """Each text's summed log-probability, (texts,) float32."""
    out = model(**inputs, use_cache=False, fused_lm_head=True)
    return out.log_probs.float().sum(1)


def _n_tokens(row: dict[str, Any]) -> int:
    return sum(label != -100 for label in row["labels"][1:])


def _mean(pairs: Sequence[tuple[float, float]], side: int) -> float:
    return sum(pair[side] for pair in pairs) / len(pairs)
