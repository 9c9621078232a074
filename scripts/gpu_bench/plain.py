"""What ours is compared with, each in a process of its own: plain vLLM and a plain TRL script."""

from __future__ import annotations

import importlib.metadata
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from srs import config as configs
from srs import models, prompts
from srs.device import Device
from srs.engines.canary import Canary
from srs.engines.engine import Prompt, Sample
from srs.types import SftExample, Task, from_json


class PlainVllm:
    """``vllm.LLM``. With ``same``, set up as `srs.engines.vllm_engine` does; else by vLLM's defaults,
    without LoRA. ``sleep`` turns sleep mode on.
    """

    def __init__(self, config: dict[str, Any], device: dict[str, Any], same: bool, sleep: bool) -> None:  # fmt: skip
        from vllm import LLM

        from srs.engines import cpu_lora, vllm_engine

        self.config = configs.from_dict(config, "config")
        here = Device(**{**device, "indices": tuple(device["indices"])})
        source = models.locate(self.config.model)
        self.tokenizer = models.load_tokenizer(source, self.config.model)
        self.chat = prompts.uses_chat(self.tokenizer, self.config.model.template)
        self.context = models.context_length(
            models.load_config(source, self.config.model), self.config.model
        )
        self.ends = models.end_ids(source, self.tokenizer)
        arguments: dict[str, Any] = {
            "model": source.name,
            "dtype": here.dtype(self.config.model.dtype),
            "max_model_len": self.context,
            "seed": self.config.run.seed,
            **here.vllm_arguments,
        }
        if here.kind == "cpu":
            cpu_lora.multiply_whole_batches()
        else:
            arguments["gpu_memory_utilization"] = self.config.generate.gpu_memory_utilization
        if same:
            arguments |= {
                "max_num_seqs": vllm_engine.MAX_SEQUENCES,
                "max_num_batched_tokens": max(self.context, vllm_engine.BATCHED_TOKENS),
                "enable_lora": True,
                "max_loras": 1,
                "max_lora_rank": vllm_engine.lora_rank(self.config.finetune.lora_r),
            }
        if sleep:
            arguments["enable_sleep_mode"] = True
        start = time.perf_counter()
        self.llm: Any = LLM(**arguments)
        self.load_s = time.perf_counter() - start
        self.same = same
        self.swaps = 0
        sampler: Any = self  # of an engine, the canary asks for samples alone
        self.canary = Canary(sampler, self.tokenizer)

    def describe(self) -> dict[str, Any]:
        return {"load_s": self.load_s}

    def generate(
        self, tasks: list[dict[str, Any]], adapter: str | None
    ) -> Iterator[dict[str, Any]]:
        """Tokens and seconds of one ``LLM.generate`` with n samples of each prompt, encoded before."""
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        g = self.config.generate
        lora = None
        if adapter and self.same:
            self.swaps += 1
            lora = LoRARequest(f"plain-{self.swaps}", self.swaps, adapter)
        encoded, parameters = [], []
        for number, task in enumerate(tasks):
            text = prompts.render(from_json(Task, task), self.tokenizer, chat=self.chat)
            encoded.append(prompts.prompt_ids(text, self.tokenizer, chat=self.chat))
            parameters.append(
                SamplingParams(
                    n=g.n,
                    seed=1000 * number if self.same else None,
                    temperature=g.temperature,
                    top_p=g.top_p,
                    max_tokens=min(g.max_tokens, self.context - len(encoded[-1])),
                    stop=list(prompts.stops(chat=self.chat)),
                    stop_token_ids=self.ends,
                )
            )
        start = time.perf_counter()
        outputs = self.llm.generate(
            [{"prompt_token_ids": ids} for ids in encoded],
            parameters,
            lora_request=lora,
            use_tqdm=False,
        )
        took_s = time.perf_counter() - start
        yield {
            "seconds": took_s,
            "tokens": sum(len(one.token_ids) for output in outputs for one in output.outputs),
            "prompt_tokens": sum(map(len, encoded)) / len(encoded),
        }

    def nap(self, adapter: str) -> Iterator[dict[str, Any]]:
        """Seconds to fall asleep (level 1) and to wake, and whether a canary answers as before."""
        self.canary.listen(Path(adapter))
        start = time.perf_counter()
        self.llm.sleep(level=1)
        asleep = time.perf_counter()
        self.llm.wake_up()
        awake = time.perf_counter()
        self.llm.reset_prefix_cache()
        yield {
            "sleep_s": asleep - start,
            "wake_s": awake - asleep,
            "same": self.canary.is_same(),
        }

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        adapter: Path | None,
        n: int,
        temperature: float,
        top_p: float,
    ) -> Iterator[tuple[int, list[Sample]]]:
        """See `srs.engines.engine.Engine.sample`."""
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        outputs = self.llm.generate(
            [{"prompt_token_ids": prompt.ids} for prompt in prompts],
            [
                SamplingParams(
                    n=n,
                    seed=prompt.seed,
                    temperature=temperature,
                    top_p=top_p,
                    max_tokens=prompt.max_tokens,
                    stop_token_ids=self.ends,
                )
                for prompt in prompts
            ],
            lora_request=LoRARequest("canary", 1, str(adapter)) if adapter else None,
            use_tqdm=False,
        )
        for position, output in enumerate(outputs):
            yield (
                position,
                [
                    Sample(
                        text=one.text,
                        n_tokens=len(one.token_ids),
                        truncated=one.finish_reason == "length",
                    )
                    for one in output.outputs
                ],
            )


class PlainTrl:
    """A plain script around TRL's SFTTrainer with a LoraConfig: same data, batches and settings."""

    def __init__(self, config: dict[str, Any], device: dict[str, Any]) -> None:
        self.config = configs.from_dict(config, "config")
        self.device = Device(**{**device, "indices": tuple(device["indices"])})
        source = models.locate(self.config.model)
        self.tokenizer = models.load_tokenizer(source, self.config.model)
        self.chat = prompts.uses_chat(self.tokenizer, self.config.model.template)
        self.model = models.load_model(source, self.config.model, self.device)
        import trl.trainer.sft_trainer  # noqa: F401 -- not in the time of the first training

    def describe(self) -> dict[str, Any]:
        return {"trl": importlib.metadata.version("trl")}

    def train(self, examples: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Seconds from the examples to the saved adapter; tokens of prompts and completions, without
        padding, as our rows and as TRL's own count them; GiB at the peak (None on a CPU).
        """
        import torch
        from datasets import Dataset
        from peft import LoraConfig, PeftModel
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        records = [from_json(SftExample, example) for example in examples]
        ours = 0
        for record in records:
            before, after = prompts.completion_ids(
                record.prompt, record.completion, self.tokenizer, chat=self.chat
            )
            ours += len(before) + len(after)
        tune = self.config.finetune
        accelerator: Any = None
        if self.device.kind != "cpu":
            accelerator = torch.get_device_module(self.device.kind)
            accelerator.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory(prefix="srs-plain-trl-") as folder:
            start = time.perf_counter()
            trainer = SFTTrainer(
                model=models.fresh(self.model),
                args=SFTConfig(
                    output_dir=folder,
                    per_device_train_batch_size=tune.micro_batch_size,
                    gradient_accumulation_steps=tune.batch_size // tune.micro_batch_size,
                    num_train_epochs=tune.epochs,
                    learning_rate=tune.learning_rate,
                    lr_scheduler_type="linear",
                    optim=self.device.optimizer,
                    bf16=self.model.dtype == torch.bfloat16,
                    use_cpu=self.device.kind == "cpu",
                    gradient_checkpointing=tune.gradient_checkpointing,
                    dataloader_pin_memory=self.device.kind != "cpu",
                    max_length=self.config.model.max_length,
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                ),
                train_dataset=Dataset.from_list(
                    [{"prompt": r.prompt, "completion": r.completion} for r in records]
                ),
                processing_class=self.tokenizer,
                peft_config=LoraConfig(
                    r=tune.lora_r,
                    lora_alpha=tune.lora_alpha,
                    lora_dropout=tune.lora_dropout,
                    target_modules="all-linear",
                    task_type="CAUSAL_LM",
                ),
            )
            trainer.train()
            wrapped: Any = trainer.model
            if not isinstance(wrapped, PeftModel):
                raise RuntimeError("TRL trained no adapter")
            wrapped.save_pretrained(str(Path(folder) / "adapter"))
            took_s = time.perf_counter() - start
        rows: Any = trainer.train_dataset
        yield {
            "seconds": took_s,
            "our_tokens": ours * tune.epochs,
            "tokens": sum(map(len, rows["input_ids"])) * tune.epochs,
            "steps": trainer.state.global_step,
            "peak_gib": accelerator.max_memory_allocated() / 2**30 if accelerator else None,
        }
