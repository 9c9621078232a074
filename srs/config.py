"""The run's configuration: typed sections, TOML files, and one clear error for each mistake."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from sandbox.runner import SandboxConfig
from scheduler.config import SchedulerConfig
from srs.types import UserError

T = TypeVar("T")
Target = Literal["self", "reference", "mix"]
Method = Literal["lora", "qlora", "dora", "full", "prefix", "prompt", "ptuning"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    rounds: int = 10
    seed: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TasksConfig:
    source: str = "tiny"
    """A .jsonl, .json or .parquet file, a hub id, or ``tiny``: the tasks that ship with the package."""
    held_out_share: float = 0.2
    """Share of the groups kept for evaluation; ``tiny`` brings its own held-out file instead."""
    split_seed: int = 0
    """Another seed holds out other groups."""
    subsets: tuple[str, ...] = ()
    """Keep only these subsets, in any case; empty = all."""
    styles: tuple[str, ...] = ()
    """Keep only these of ``instruct``, ``complete``, ``online_judge``; empty = all."""
    difficulties: tuple[str, ...] = ()
    """Keep only these of ``easy``, ``medium``, ``hard``, ``none`` (not rated); empty = all."""
    importable_only: bool = False
    """Keep only tasks whose imports exist in the sandbox."""
    limit: int = 0
    """Keep at most so many training tasks, drawn by hash; 0 = all."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    path: str = "tiny"
    """A local folder, a hub id, or ``tiny``: the model that ships with the package."""
    template: Literal["auto", "chat", "plain"] = "auto"
    """``auto`` uses the tokenizer's chat template when it has one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_length: int = 2048
    """Prompt and completion together, in tokens."""
    trust_remote_code: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DevicesConfig:
    placement: Literal["auto", "colocated", "split"] = "auto"
    """``colocated``: generation and training take turns on all devices; ``split``: the last ones train.
    ``auto`` splits when ``async_rounds`` is 1."""
    replicas: int = 0
    """Generation engines; 0 = one for each group of ``tensor_parallel`` devices, one on a CPU."""
    tensor_parallel: int = 1
    """Devices that share one engine."""
    train_devices: int = 0
    """Devices that train when placement is split; 0 = half of them."""
    train_processes: int = 0
    """Training processes; 0 = one for each device that trains, one on a CPU."""
    async_rounds: int = 0
    """Rounds that generation may run ahead of training: 0, or 1 (off-policy by one round)."""
    cluster: Literal["local", "ray"] = "local"
    """``ray``: generation, grading and training on the hosts of a Ray cluster (`docs/cluster.md`)."""
    ray_address: str = ""
    """``HOST:PORT`` of the cluster's head; empty = ``$RAY_ADDRESS``, else the cluster that this machine
    belongs to, else a new one of this machine alone."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GenerateConfig:
    engine: Literal["auto", "vllm", "transformers"] = "auto"
    n: int = 5
    """Candidates per task."""
    serve: Literal["lora", "merged"] = "lora"
    """``lora``: the engine keeps the base model and swaps adapters; ``merged``: it loads full weights into
    which the adapter was merged, for adapters that it can't serve."""
    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 512
    gpu_memory_utilization: float = 0.85
    """Share of a device's memory that an engine takes. Where training takes turns, nothing else is there."""
    kv_cache_gib: int = 1
    """vLLM's cache on a CPU."""
    batch_size: int = 64
    """Sequences per forward pass of the transformers engine."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    method: Method = "lora"
    """``qlora`` trains on a base in 4 bits (NVIDIA); ``full`` all weights; ``prefix``, ``prompt`` and
    ``ptuning`` virtual tokens. See docs/training.md for what can serve which."""
    target: Target = "mix"
    """``self``: own passing code; ``reference``; ``mix``: own, else the reference."""
    max_per_task: int = 1
    """Distinct own solutions taken per task and round."""
    lora_r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] = ()
    """Empty = every linear layer but the output head."""
    virtual_tokens: int = 20
    """Virtual tokens of ``prefix``, ``prompt`` and ``ptuning``."""
    learning_rate: float = 5e-5
    epochs: int = 1
    batch_size: int = 8
    """Examples per optimiser step, of all training processes together; each takes an equal share."""
    micro_batch_size: int = 8
    """Examples per forward pass of one process; divides ``batch_size``."""
    tokens_per_round: int = 0
    """Train on this many completion tokens each round, to the nearest example: the round's examples in
    a seeded order, again when they run out. Replaces ``epochs``; 0 = every example ``epochs`` times."""
    steps_per_round: int = 0
    """Take exactly this many optimiser steps each round, of nearly equal numbers of examples. Replaces
    ``batch_size``; 0 = as many as ``batch_size`` gives."""
    gradient_checkpointing: bool = False
    packing: bool = False
    """Lay the examples of a forward pass end to end instead of padding them; the result is the same."""
    strategy: Literal["ddp", "fsdp", "deepspeed"] = "ddp"
    """What several training processes share: ``ddp`` gradients only; ``fsdp`` (FSDP2) and ``deepspeed``
    (ZeRO, an extra install) the weights too."""
    zero_stage: Literal[1, 2, 3] = 3
    """Of ``deepspeed``: 1 shares out the optimiser's state, 2 gradients too, 3 the weights as well."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DpoConfig:
    enabled: bool = True
    learning_rate: float = 1e-5
    beta: float = 0.1
    sft_weight: float = 1.0
    """Weight of the SFT term beside the sigmoid loss (RPO's alpha)."""
    epochs: int = 2
    batch_size: int = 8
    micro_batch_size: int = 4
    max_pairs_per_task: int = 2
    max_age_rounds: int = 0
    """Ignore candidates older than so many rounds; 0 = no bound."""
    max_pairs: int = 0
    """At most so many of the run's own pairs in all; 0 = no bound."""
    extra_pairs: tuple[str, ...] = ()
    """Files of pairs to train on as well: of `evaluator.repair`, `evaluator.imports` or another run."""
    collapse_nats: float = 0.0
    """Stop when the chosen answers' mean log-probability fell by so many nats; 0 = never."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    every: int = 1
    """Evaluate after every so many rounds; before the first and after the last always."""
    n: int = 5
    """Samples per held-out task for pass@k, beside one greedy answer for pass@1; 0 = greedy only."""
    temperature: float = 0.8
    limit: int = 0
    """Evaluate on so many held-out tasks, drawn by hash; 0 = all."""
    rounds: tuple[int, ...] = ()
    """Evaluate after exactly these rounds, instead of ``every``; before the first and after the last
    always."""
    panel: int = 0
    """Measure so many training tasks, the first that come up as new ones, with ``n`` samples at every
    evaluation: what a run forgets. They are trained on like any other."""
    panel_rounds: tuple[int, ...] = ()
    """Measure the panel, and nothing else, after these rounds too."""

    def due(self, round: int) -> bool:
        """Whether to evaluate after this round. The last round of a run is evaluated anyway."""
        if round == 0:
            return True
        return round in self.rounds if self.rounds else round % self.every == 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    run: RunConfig = RunConfig()
    tasks: TasksConfig = TasksConfig()
    model: ModelConfig = ModelConfig()
    devices: DevicesConfig = DevicesConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    generate: GenerateConfig = GenerateConfig()
    sandbox: SandboxConfig = SandboxConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    dpo: DpoConfig = DpoConfig()
    eval: EvalConfig = EvalConfig()


def load(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file, apply ``section.key=value`` overrides in order, and check every key and type.

    Override values are TOML values; a value that isn't valid TOML is taken as a string.
    Raises UserError naming the file and key.
    """
    data = {} if path is None else read_toml(path)
    where = "--set" if path is None else str(path)
    _check_keys(data, Config, where, "")
    apply_overrides(data, overrides, Config)
    return from_dict(data, where)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as nested dicts. Raises UserError naming the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"{path}: cannot read the config: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: not valid TOML: {e}") from e


def override(config: Config, overrides: Sequence[str]) -> Config:
    """The config with ``section.key=value`` overrides applied. Raises UserError as `load` does."""
    data = to_dict(config)
    apply_overrides(data, overrides, Config)
    return from_dict(data, "--set")


def apply_overrides(data: dict[str, Any], overrides: Sequence[str], cls: type) -> None:
    """Set ``section.key=value`` in ``data``, in order, for the sections of ``cls``. Raises UserError."""
    for text in overrides:
        key, equals, raw = text.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot):
            raise UserError(f"--set {text}: write it as section.key=value")
        override = {section: {name: _toml_value(raw.strip())}}
        _check_keys(override, cls, f"--set {text}", "")
        data.setdefault(section, {}).update(override[section])


def from_dict(data: dict[str, Any], where: str) -> Config:
    """Build a Config from nested dicts, checking types and bounds. Raises UserError naming the key."""
    config = typed(Config, data, where)
    _check_bounds(config, where)
    return config


def typed(cls: type[T], data: dict[str, Any], where: str) -> T:
    """A dataclass of sections from nested dicts: unknown keys and wrong types raise UserError."""
    import pydantic

    _check_keys(data, cls, where, "")
    try:
        return pydantic.TypeAdapter(cls).validate_python(data)
    except pydantic.ValidationError as e:
        first = e.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: {key}: {first['msg']}, got {first['input']!r}") from e


def to_dict(config: Config) -> dict[str, Any]:
    """The config as nested JSON-ready dicts; `from_dict` inverts it."""
    result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return result


def _check_keys(data: dict[str, Any], cls: type, where: str, prefix: str) -> None:
    hints = get_type_hints(cls)
    for key, value in data.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0.0)
            raise UserError(f"{where}: unknown key {prefix}{key}; did you mean {prefix}{near[0]}?")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise UserError(f"{where}: {prefix}{key} is a section: write [{prefix}{key}]")
            _check_keys(value, hints[key], where, f"{prefix}{key}.")


def _check_bounds(c: Config, where: str) -> None:
    rules = (
        (c.run.rounds >= 0, "run.rounds", "must be 0 or more"),
        (0 < c.tasks.held_out_share < 1, "tasks.held_out_share", "must be between 0 and 1"),
        (c.tasks.limit >= 0, "tasks.limit", "must be 0 or more"),
        (c.devices.replicas >= 0, "devices.replicas", "must be 0 or more"),
        (c.devices.tensor_parallel >= 1, "devices.tensor_parallel", "must be 1 or more"),
        (c.devices.train_devices >= 0, "devices.train_devices", "must be 0 or more"),
        (c.devices.train_processes >= 0, "devices.train_processes", "must be 0 or more"),
        (c.devices.async_rounds in (0, 1), "devices.async_rounds", "must be 0 or 1"),
        (c.scheduler.tasks_per_round >= 1, "scheduler.tasks_per_round", "must be 1 or more"),
        (0 <= c.scheduler.new_share <= 1, "scheduler.new_share", "must be from 0 to 1"),
        (c.scheduler.audit_every >= 0, "scheduler.audit_every", "must be 0 or more"),
        (c.scheduler.audit_size >= 1, "scheduler.audit_size", "must be 1 or more"),
        (c.scheduler.frozen_tasks >= 0, "scheduler.frozen_tasks", "must be 0 or more"),
        (c.generate.n >= 1, "generate.n", "must be 1 or more"),
        (c.generate.temperature >= 0, "generate.temperature", "must be 0 or more"),
        (0 < c.generate.top_p <= 1, "generate.top_p", "must be above 0 and at most 1"),
        (c.generate.max_tokens >= 1, "generate.max_tokens", "must be 1 or more"),
        (c.generate.max_tokens < c.model.max_length, "generate.max_tokens", "must leave room for a prompt in model.max_length"),
        (0 < c.generate.gpu_memory_utilization <= 1, "generate.gpu_memory_utilization", "must be above 0 and at most 1"),
        (c.sandbox.timeout_s > 0, "sandbox.timeout_s", "must be above 0"),
        (c.sandbox.timeout_s < math.inf, "sandbox.timeout_s", "must be finite"),
        (c.sandbox.memory_mib >= 64, "sandbox.memory_mib", "must be 64 or more"),
        (c.sandbox.workers >= 0, "sandbox.workers", "must be 0 or more"),
        (c.finetune.lora_r >= 1, "finetune.lora_r", "must be 1 or more"),
        (c.finetune.virtual_tokens >= 1, "finetune.virtual_tokens", "must be 1 or more"),
        (c.finetune.epochs >= 1, "finetune.epochs", "must be 1 or more"),
        (c.finetune.learning_rate > 0, "finetune.learning_rate", "must be above 0"),
        (c.finetune.batch_size >= 1, "finetune.batch_size", "must be 1 or more"),
        (c.finetune.micro_batch_size >= 1, "finetune.micro_batch_size", "must be 1 or more"),
        (c.finetune.batch_size % max(c.finetune.micro_batch_size, 1) == 0, "finetune.micro_batch_size", "must divide finetune.batch_size"),
        (c.finetune.max_per_task >= 1, "finetune.max_per_task", "must be 1 or more"),
        (c.finetune.tokens_per_round >= 0, "finetune.tokens_per_round", "must be 0 or more"),
        (c.finetune.steps_per_round >= 0, "finetune.steps_per_round", "must be 0 or more"),
        (c.dpo.learning_rate > 0, "dpo.learning_rate", "must be above 0"),
        (c.dpo.beta > 0, "dpo.beta", "must be above 0"),
        (c.dpo.sft_weight >= 0, "dpo.sft_weight", "must be 0 or more"),
        (c.dpo.max_pairs_per_task >= 0, "dpo.max_pairs_per_task", "must be 0 or more"),
        (c.dpo.max_age_rounds >= 0, "dpo.max_age_rounds", "must be 0 or more"),
        (c.dpo.max_pairs >= 0, "dpo.max_pairs", "must be 0 or more"),
        (c.dpo.collapse_nats >= 0, "dpo.collapse_nats", "must be 0 or more"),
        (c.dpo.epochs >= 1, "dpo.epochs", "must be 1 or more"),
        (c.dpo.batch_size >= 1, "dpo.batch_size", "must be 1 or more"),
        (c.dpo.micro_batch_size >= 1, "dpo.micro_batch_size", "must be 1 or more"),
        (c.dpo.batch_size % max(c.dpo.micro_batch_size, 1) == 0, "dpo.micro_batch_size", "must divide dpo.batch_size"),
        (c.eval.every >= 1, "eval.every", "must be 1 or more"),
        (c.eval.limit >= 0, "eval.limit", "must be 0 or more"),
        (c.eval.n >= 0, "eval.n", "must be 0 or more"),
        (c.eval.temperature >= 0, "eval.temperature", "must be 0 or more"),
        (all(round >= 0 for round in c.eval.rounds), "eval.rounds", "must each be 0 or more"),
        (c.eval.panel >= 0, "eval.panel", "must be 0 or more"),
        (not c.eval.panel or c.eval.n >= 2, "eval.panel", "needs eval.n of 2 or more: one half picks what is mastered, the other measures it"),
        (all(round >= 1 for round in c.eval.panel_rounds), "eval.panel_rounds", "must each be 1 or more"),
        (not c.eval.panel_rounds or bool(c.eval.panel), "eval.panel_rounds", "needs a panel: set eval.panel"),
    )  # fmt: skip
    for ok, key, rule in rules:
        if not ok:
            raise UserError(f"{where}: {key} {rule}")


def _toml_value(raw: str) -> Any:
    try:
        return tomllib.loads(f"v = {raw}")["v"]
    except tomllib.TOMLDecodeError:
        return raw
