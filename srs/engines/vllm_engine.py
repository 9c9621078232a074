"""vLLM, in this process, stepped by hand so that a task's samples leave as soon as they are done."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from srs import models
from srs.config import Config
from srs.device import Device
from srs.engines import cpu_lora
from srs.engines.engine import Prompt, Sample
from srs.types import UserError

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
MAX_SEQUENCES = 256
CPU_SEQUENCES = 256
BATCHED_TOKENS = 8192


class VllmEngine:
    """Valid on vLLM 0.23 to 0.32. Adapters are swapped in under a new name and id each time."""

    name = "vllm"

    def __init__(
        self,
        config: Config,
        source: models.ModelSource,
        device: Device,
        *,
        context: int,
        ends: list[int],
        stops: tuple[str, ...],
        sleep: bool = False,
    ) -> None:
        from vllm import EngineArgs, LLMEngine

        if device.kind == "cpu":
            _inspect_model_here(models.load_config(source, config.model).architectures or [])
            cpu_lora.multiply_whole_batches()
        memory = (
            {} if device.kind == "cpu"
            else {"gpu_memory_utilization": config.generate.gpu_memory_utilization}
        )  # fmt: skip
        arguments: dict[str, Any] = {
            "model": source.name,
            "trust_remote_code": config.model.trust_remote_code,
            "dtype": device.dtype(config.model.dtype),
            "max_model_len": context,
            "max_num_seqs": CPU_SEQUENCES if device.kind == "cpu" else MAX_SEQUENCES,
            "max_num_batched_tokens": max(context, BATCHED_TOKENS),
            "seed": config.run.seed,
            "disable_log_stats": True,
            "tensor_parallel_size": max(len(device.indices), 1),
            **lora_arguments(config),
            **({"enable_sleep_mode": True} if sleep else {}),
            **memory,
            **device.vllm_arguments,
        }
        self._engine = LLMEngine.from_engine_args(EngineArgs(**arguments))
        self._is_cpu = device.kind == "cpu"
        self._ends = ends
        self._stops = list(stops)
        self._adapters: dict[tuple[Path, int], Any] = {}
        self._requests = itertools.count()

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        adapter: Path | None,
        n: int,
        temperature: float,
        top_p: float,
    ) -> Iterator[tuple[int, list[Sample]]]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        lora = self._lora_request(adapter) if adapter else None
        positions: dict[str, int] = {}
        for position, prompt in enumerate(prompts):
            request_id = str(next(self._requests))
            positions[request_id] = position
            self._engine.add_request(
                request_id,
                {"prompt_token_ids": prompt.ids},
                SamplingParams(
                    n=n,
                    seed=prompt.seed,  # vLLM gives sample i the seed + i
                    temperature=temperature,
                    top_p=top_p,
                    max_tokens=prompt.max_tokens,
                    stop=self._stops,
                    stop_token_ids=self._ends,
                    output_kind=RequestOutputKind.FINAL_ONLY,
                ),
                lora_request=lora,
            )
        try:
            while positions:
                outputs: list[Any] = self._engine.step()
                for output in outputs:
                    if output.finished:
                        yield positions.pop(output.request_id), [_sample(o) for o in output.outputs]
        finally:
            if positions:
                self._engine.abort_request(list(positions))

    def sleep(self) -> None:
        """Level 1: weights to the host's memory, the cache dropped. Level 2 has crashed with LoRA."""
        self._engine.sleep(1)

    def wake(self) -> None:
        self._engine.wake_up()
        self._engine.reset_prefix_cache()

    def reload(self, source: models.ModelSource) -> None:
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": source.name})
        if self._is_cpu:
            self._engine.collective_rpc(_pack_output_head)
        self._engine.reset_prefix_cache()

    def _lora_request(self, adapter: Path) -> Any:
        """vLLM silently serves the old weights, or their cached prefixes, under an id it has seen."""
        from vllm.lora.request import LoRARequest

        weights = adapter / "adapter_model.safetensors"
        if not weights.is_file():
            raise UserError(f"{adapter}: no adapter there: {weights.name} is missing")
        key = (adapter, weights.stat().st_mtime_ns)
        if key not in self._adapters:
            number = len(self._adapters) + 1
            self._adapters[key] = LoRARequest(f"{adapter.name}-{number}", number, str(adapter))
        return self._adapters[key]


def lora_arguments(config: Config) -> dict[str, Any]:
    """What EngineArgs need to serve adapters; nothing where full weights are loaded instead."""
    if config.generate.serve == "merged":
        return {}
    return {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": lora_rank(config.finetune.lora_r),
    }


def lora_rank(rank: int) -> int:
    """The smallest rank that vLLM can be set up for and that holds ``rank``. Raises UserError."""
    fitting = [allowed for allowed in LORA_RANKS if allowed >= rank]
    if not fitting:
        raise UserError(
            f"finetune.lora_r: vLLM serves ranks up to {LORA_RANKS[-1]}, got {rank}: "
            "lower it or set generate.engine=transformers"
        )
    return fitting[0]


def _sample(output: Any) -> Sample:
    if output.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM ended a request with {output.finish_reason!r}")
    return Sample(
        text=output.text,
        n_tokens=len(output.token_ids),
        truncated=output.finish_reason == "length",
    )


def _pack_output_head(worker: Any) -> None:
    """On a CPU vLLM multiplies by packed copies of weights, and reloading leaves out that of a head that
    is tied to the embeddings: it would go on with the old one.
    """
    head = getattr(worker.model_runner.get_model(), "lm_head", None)
    method = getattr(head, "quant_method", None)
    if method is not None:
        method.process_weights_after_loading(head)


def _inspect_model_here(architectures: Sequence[str]) -> None:
    """Register the model's class as loaded: vLLM otherwise starts a second Python (13 s) to look at it.

    It does so to keep CUDA uninitialised, which doesn't matter on a CPU.
    """
    from vllm import ModelRegistry

    for architecture in architectures:
        known = ModelRegistry.models.get(architecture)
        if known is not None:
            ModelRegistry.register_model(architecture, known.load_model_cls())
