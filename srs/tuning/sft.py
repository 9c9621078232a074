"""One LoRA round through TRL's SFTTrainer, with a weight per example."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srs.config import FinetuneConfig
from srs.examples import step_batches
from srs.finetune import SftResult
from srs.prompts import completion_ids
from srs.tuning.adapter import Base, save, scratch, trainable, trainer_arguments
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
        save(model, out)
        return SftResult(loss=None, n_tokens=0, n_steps=0)
    with scratch() as folder:
        batches = budgeted(config, rows, seed=seed)
        trainer = _trainer(base, config, model, rows, batches, folder=folder, seed=seed)
        trainer.train()
    save(model, out)
    return SftResult(
        loss=trainer.loss_sum.item() / trainer.n_tokens,
        n_tokens=trainer.n_tokens,
        n_steps=trainer.state.global_step,
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


def budgeted(
    config: FinetuneConfig, rows: Sequence[dict[str, Any]], *, seed: int
) -> list[list[int]] | None:
    """The rows of each optimiser step when the config sets a budget of tokens or steps, else None."""
    if not (config.tokens_per_round or config.steps_per_round):
        return None
    return step_batches(
        [sum(label != -100 for label in row["labels"]) for row in rows],
        tokens=config.tokens_per_round,
        steps=config.steps_per_round,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=seed,
    )


def _trainer(
    base: Base,
    config: FinetuneConfig,
    model: Any,
    rows: list[dict[str, Any]],
    batches: list[list[int]] | None,
    *,
    folder: str,
    seed: int,
) -> Any:
    """``batches``: the rows of each optimiser step, once; None = the trainer's own shuffled epochs."""
    import torch
    from datasets import Dataset
    from torch.utils.data import DataLoader
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

    pad = DataCollatorForLanguageModeling(pad_token_id=base.tokenizer.pad_token_id)

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        weights = torch.tensor([example["weight"] for example in examples])
        return {**pad(examples), "weight": weights}

    class WeightedSFTTrainer(SFTTrainer):
        """Token losses scaled by their example's weight, normalised by the number of tokens.

        The mean weight is 1, so the scale of the gradient stays that of unweighted training.
        """

        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.loss_sum = torch.zeros((), dtype=torch.float64)
            self.n_tokens = 0

        def _set_signature_columns_if_needed(self) -> None:
            self._signature_columns: Any = ["input_ids", "labels", "weight"]

        def get_train_dataloader(self) -> Any:
            if batches is None:
                return super().get_train_dataloader()
            rows: Any = self.train_dataset
            loader = DataLoader(rows, batch_sampler=batches, collate_fn=self.data_collator)
            return self.accelerator.prepare(loader)

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            """One whole optimiser step when there are ``batches``: its gradients add up here."""
            forward_backward: Any = super().training_step
            if batches is None:
                return forward_backward(model, inputs, num_items_in_batch)
            size = config.micro_batch_size
            losses = []
            for start in range(0, len(inputs["weight"]), size):
                part = {key: values[start : start + size] for key, values in inputs.items()}
                losses.append(forward_backward(model, part, num_items_in_batch))
            return torch.stack(losses).sum()

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            """``log_probs`` and ``label_mask`` are (rows, tokens - 1), zero on the prompt."""
            if return_outputs:
                raise NotImplementedError("training only")
            weights = inputs.pop("weight")
            out = model(**inputs, use_cache=False, fused_lm_head=True)
            weighted = -(out.log_probs * weights[:, None]).sum()
            here = out.label_mask.sum()
            self.loss_sum += weighted.detach().double().cpu()
            self.n_tokens += int(here)
            return weighted / (here if num_items_in_batch is None else num_items_in_batch)

    arguments = SFTConfig(
        output_dir=folder,
        **trainer_arguments(
            base,
            seed=seed,
            batch_size=config.batch_size if batches is None else config.micro_batch_size,
            micro_batch_size=config.micro_batch_size,
            epochs=config.epochs if batches is None else 1,
            learning_rate=config.learning_rate,
            gradient_checkpointing=config.gradient_checkpointing,
        ),
    )
    return WeightedSFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=collate,
        processing_class=base.tokenizer,
    )
