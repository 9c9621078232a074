"""DPO with an SFT term through TRL's DPOTrainer, stopped when the chosen answers collapse.

Loss: sigmoid DPO (Rafailov et al. 2023, equation 7) + alpha times the mean negative log-likelihood of the chosen
tokens (Pang et al. 2024, Iterative Reasoning Preference Optimization).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srs.config import DpoConfig, FinetuneConfig
from srs.finetune import DpoResult
from srs.prompts import completion_ids
from srs.tuning.adapter import (
    Base,
    Snapshot,
    restore,
    save,
    scratch,
    snapshot,
    trainable,
    trainer_arguments,
)
from srs.types import PreferencePair

logger = logging.getLogger(__name__)


def dpo(
    base: Base,
    config: DpoConfig,
    lora: FinetuneConfig,
    pairs: Sequence[PreferencePair],
    *,
    start: Path | None,
    out: Path,
    seed: int,
) -> DpoResult:
    """See `srs.finetune.Tuner.dpo`."""
    model = trainable(base, lora, start=start, seed=seed)
    rows = training_rows(base, pairs)
    if not rows:
        save(model, out)
        return DpoResult(loss=None, n_pairs=0, n_steps=0, chosen_logp_before=None, chosen_logp_after=None, accuracy=None, collapsed=False)  # fmt: skip
    with scratch() as folder:
        trainer = _trainer(base, config, lora, model, rows, folder=folder, seed=seed)
        chosen_before, rejected_before = log_probabilities(trainer, rows)
        before = _mean(chosen_before)
        guard = _Guard(trainer, limit_nats=config.collapse_nats)
        trainer.add_callback(guard.callback())
        loss = trainer.train().training_loss
        chosen, rejected = log_probabilities(trainer, rows)
        if not guard.collapsed and config.collapse_nats and before - _mean(chosen) > config.collapse_nats:  # fmt: skip
            guard.collapse(before - _mean(chosen))
        if guard.collapsed:
            restore(model, guard.good)
            chosen, rejected = log_probabilities(trainer, rows)
    save(model, out)
    margins = [
        (c - c0) - (r - r0)
        for c, c0, r, r0 in zip(chosen, chosen_before, rejected, rejected_before, strict=True)
    ]
    return DpoResult(
        loss=loss,
        n_pairs=len(rows),
        n_steps=trainer.state.global_step,
        chosen_logp_before=before,
        chosen_logp_after=_mean(chosen),
        accuracy=sum(margin > 0 for margin in margins) / len(margins),
        collapsed=guard.collapsed,
    )


def training_rows(base: Base, pairs: Sequence[PreferencePair]) -> list[dict[str, Any]]:
    """Token ids of the prompt and both answers. A pair that doesn't fit the context is left out:
    cut answers would teach the model to prefer not to end.
    """
    rows = []
    for pair in pairs:
        prompt, chosen = completion_ids(pair.prompt, pair.chosen, base.tokenizer, chat=base.chat)
        _, rejected = completion_ids(pair.prompt, pair.rejected, base.tokenizer, chat=base.chat)
        if len(prompt) + max(len(chosen), len(rejected)) > base.context:
            logger.warning("%s: a pair doesn't fit model.max_length: left out", pair.task)
            continue
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    return rows


def log_probabilities(
    trainer: Any, rows: Sequence[dict[str, Any]]
) -> tuple[list[float], list[float]]:
    """Summed token log-probabilities (nats) of every chosen and every rejected answer."""
    import torch

    model, size = trainer.model, trainer.args.per_device_train_batch_size
    was_training = model.training
    model.eval()
    chosen: list[float] = []
    rejected: list[float] = []
    with torch.no_grad():
        for start in range(0, len(rows), size):
            batch = trainer.data_collator(list(rows[start : start + size]))
            batch = {key: value.to(trainer.args.device) for key, value in batch.items()}
            answers = batch.pop("completion_mask")
            labels = batch["input_ids"].masked_fill(answers == 0, -100)
            with trainer.accelerator.autocast():
                out = model(**batch, labels=labels, use_cache=False, fused_lm_head=True)
            first, second = out.log_probs.float().sum(1).tolist(), len(answers) // 2
            chosen += first[:second]
            rejected += first[second:]
    model.train(was_training)
    return chosen, rejected


class _Guard:
    """Watches how far the chosen answers fell below the reference, and keeps the last good weights."""

    def __init__(self, trainer: Any, *, limit_nats: float) -> None:
        self._trainer = trainer
        self._limit = limit_nats
        self._measured: Snapshot = snapshot(trainer.model)
        self.good: Snapshot = self._measured
        self.collapsed = False

    def collapse(self, fall: float) -> None:
        self.collapsed = True
        logger.warning(
            "the chosen answers lost %.2f nats (dpo.collapse_nats = %g): going back to the last "
            "adapter before that",
            fall,
            self._limit,
        )

    def callback(self) -> Any:
        from transformers import TrainerCallback

        guard = self

        class Watch(TrainerCallback):
            """A step measures the weights that it begins with, and logs after having changed them."""

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                if guard._limit:
                    guard._measured = snapshot(guard._trainer.model)

            def on_log(self, *parts: Any, **more: Any) -> None:
                control, logs = parts[2], more["logs"]
                if not guard._limit or "rewards/chosen" not in logs:
                    return
                fall = -logs["rewards/chosen"] / guard._trainer.beta
                if fall > guard._limit:
                    guard.collapse(fall)
                    control.should_training_stop = True
                else:
                    guard.good = guard._measured

        return Watch()


def _trainer(
    base: Base, config: DpoConfig, lora: FinetuneConfig, model: Any, rows: list[dict[str, Any]], *, folder: str, seed: int
) -> Any:  # fmt: skip
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    class TokenDPOTrainer(DPOTrainer):
        """Takes token ids: TRL would encode prompts with a second BOS and append EOS to plain text."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    with_sft = config.sft_weight > 0
    arguments = DPOConfig(
        output_dir=folder,
        beta=config.beta,
        loss_type=["sigmoid", "sft"] if with_sft else ["sigmoid"],
        loss_weights=[1.0, config.sft_weight] if with_sft else [1.0],
        **trainer_arguments(
            base,
            seed=seed,
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size,
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            gradient_checkpointing=lora.gradient_checkpointing,
        ),
    )
    return TokenDPOTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=base.tokenizer,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
