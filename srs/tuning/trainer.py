"""One training call: TRL's trainer, given its steps one by one, on any number of ranks.

steps (rows of each optimiser step, the same on every rank)
  └─ share(rank) ─► micro-batches ─► Objective.loss ─► backward …, gradients meet at the last ─► update
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

from srs.config import FinetuneConfig
from srs.tuning.adapter import Base
from srs.tuning.steps import MicroBatch, share


class Objective(Protocol):
    """What is minimised. A step's loss is the sum of its micro-batches' losses over all ranks."""

    def begin(self, trainer: Any) -> None:
        """Called when the model is where it will be trained, before the first step."""
        ...

    def batch(self, part: MicroBatch, step: Sequence[int]) -> dict[str, Any]:
        """The tensors of one forward pass. An uncounted part must end in a loss of zero."""
        ...

    def loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        """This micro-batch's part of its step's loss, a scalar tensor."""
        ...

    def step_begins(self, trainer: Any) -> None: ...

    def stops(self, trainer: Any) -> bool:
        """Asked after every update, on every rank; all must give the same answer."""
        ...


def make_trainer(
    base: Base,
    config: FinetuneConfig,
    model: Any,
    objective: Objective,
    steps: Sequence[Sequence[int]],
    *,
    micro_batch_size: int,
    learning_rate: float,
    folder: str,
    seed: int,
) -> Any:
    """A TRL trainer whose ``train()`` takes ``steps``. The learning rate falls linearly to 0 within it."""
    import torch
    from datasets import Dataset
    from torch.utils.data import DataLoader
    from transformers import TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    world = base.world

    class StepTrainer(SFTTrainer):
        """Every item of its loader is one optimiser step: this rank's micro-batches of it."""

        def create_accelerator_and_postprocess(self) -> None:
            super().create_accelerator_and_postprocess()
            if getattr(self.args, "fsdp_plugin_args", None) and not self.is_fsdp_enabled:
                _shard_on_cpu(self)

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def get_train_dataloader(self) -> Any:
            # Not prepared by accelerate, which would deal the items out among the ranks again.
            return DataLoader(
                list(steps),  # type: ignore[arg-type]
                batch_size=None,
                collate_fn=lambda step: {
                    "parts": [objective.batch(part, step) for part in _shares(step)]
                },
            )

        def training_step(
            self,
            model: Any,
            inputs: Any,
            num_items_in_batch: Any = None,  # noqa: ARG002 -- the trainer's signature
        ) -> Any:
            forward_backward: Any = super().training_step
            losses = []
            parts = inputs["parts"]
            objective.step_begins(self)
            for number, part in enumerate(parts, 1):
                last = number == len(parts)
                self.accelerator.gradient_state._set_sync_gradients(last)
                apart = not last and not self.is_deepspeed_enabled
                with self.accelerator.no_sync(model) if apart else contextlib.nullcontext():
                    losses.append(forward_backward(model, part))
            return torch.stack(losses).sum()

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,  # noqa: ARG002 -- the trainer's signature
        ) -> Any:
            """Times the number of ranks: their gradients, and the losses logged, are averaged."""
            if return_outputs:
                raise NotImplementedError("training only")
            return objective.loss(model, inputs) * world.size

    def _shares(step: Sequence[int]) -> list[MicroBatch]:
        return share(step, rank=world.rank, ranks=world.size, size=micro_batch_size)

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            objective.begin(trainer)

        def on_step_end(self, *parts: Any, **__: Any) -> None:
            if objective.stops(trainer):
                parts[2].should_training_stop = True

    if world.size > 1 and config.strategy == "ddp":
        # DDP would send every frozen weight from rank 0 to the others, each round.
        model._ddp_params_and_buffers_to_ignore = [
            *(name for name, weight in model.named_parameters() if not weight.requires_grad),
            *(name for name, _ in model.named_buffers()),
        ]
    trainer = StepTrainer(
        model=model,
        args=SFTConfig(
            output_dir=folder,
            **arguments(
                base,
                config,
                micro_batch_size=micro_batch_size,
                learning_rate=learning_rate,
                seed=seed,
            ),
        ),
        # What it learns from are the steps; TRL looks at the first row of a data set when it is made.
        train_dataset=Dataset.from_list([{"input_ids": [0], "labels": [0]}]),
        processing_class=base.tokenizer,
    )
    trainer.add_callback(Watch())
    return trainer


def arguments(
    base: Base, config: FinetuneConfig, *, micro_batch_size: int, learning_rate: float, seed: int
) -> dict[str, Any]:
    """For SFTConfig, whatever is trained."""
    dtype = str(base.model.dtype).removeprefix("torch.")
    on_cpu = base.device.kind == "cpu"
    return {
        "per_device_train_batch_size": micro_batch_size,
        "num_train_epochs": 1,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "optim": base.device.optimizer,
        "seed": seed,
        "data_seed": seed,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "use_cpu": on_cpu,
        "gradient_checkpointing": config.gradient_checkpointing,
        "dataloader_pin_memory": not on_cpu,
        "max_length": None,
        "save_strategy": "no",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        **(_distributed(base, config) if base.world.size > 1 else {}),
    }


def _distributed(base: Base, config: FinetuneConfig) -> dict[str, Any]:
    # Accelerators have their own by default.
    backend = base.device.distributed_backend if base.device.kind == "cpu" else None
    match config.strategy:
        case "ddp":
            return {
                "ddp_backend": backend,
                "ddp_find_unused_parameters": False,
                "ddp_broadcast_buffers": False,
            }
        case "fsdp":
            return {
                "ddp_backend": backend,
                "fsdp": True,
                "fsdp_config": {
                    "version": 2,
                    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
                    "reshard_after_forward": True,
                    "state_dict_type": "FULL_STATE_DICT",
                    "cpu_ram_efficient_loading": False,
                    # Not its activation_checkpointing: that renames the modules under PEFT's feet.
                },
            }
        case "deepspeed":
            return {
                "deepspeed": {
                    "zero_optimization": {"stage": config.zero_stage},
                    "bf16": {"enabled": "auto"},
                    "fp16": {"enabled": "auto"},
                    "train_micro_batch_size_per_gpu": "auto",
                    "gradient_accumulation_steps": "auto",
                    "gradient_clipping": "auto",
                }
            }


def _shard_on_cpu(trainer: Any) -> None:
    """accelerate leaves FSDP off when the ranks are CPU processes; the sharding itself works there."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state = trainer.accelerator.state
    state.distributed_type = DistributedType.FSDP
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    trainer.is_fsdp_enabled = True
