"""One LoRA round through TRL's SFTTrainer, with a weight per example."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srs.config import FinetuneConfig
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
        trainer = _trainer(base, config, model, rows, folder=folder, seed=seed)
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


def _trainer(
    base: Base, config: FinetuneConfig, model: Any, rows: list[dict[str, Any]], *, folder: str, seed: int
) -> Any:  # fmt: skip
    import torch
    from datasets import Dataset
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
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size,
            epochs=config.epochs,
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
