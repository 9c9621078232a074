"""The accelerator: one description per kind, found without initialising it.

What torch and the engines need to be told on NVIDIA, Ascend and a CPU stands here; no other module calls
what torch has for one of them. The orchestrator only looks at device files; the processes that use the
accelerator get an environment from here before they start and check it with torch once they run.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from srs.types import UserError

Kind = Literal["cuda", "npu", "cpu"]
VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}
ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NPU_ALLOC_CONF")
"""Settings of torch's caching allocator: the common name and each device's own."""
NO_CANN = (
    "torch-npu is installed but cannot load ({reason}): with Ascend devices, source CANN's set_env.sh "
    "(/usr/local/Ascend/ascend-toolkit/set_env.sh) first; without them, uninstall torch-npu or set "
    "TORCH_DEVICE_BACKEND_AUTOLOAD=0"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a process may use: ``indices`` are the values for the visible-devices variable."""

    kind: Kind
    indices: tuple[str, ...] = ()
    threads: int = 1
    """Cores this process may run on: CPU threads, fixed because the count changes rounding."""

    @property
    def torch_device(self) -> str:
        """Inside a child the visible devices are renumbered, so the first one is always 0."""
        return "cpu" if self.kind == "cpu" else f"{self.kind}:0"

    @property
    def visible_variable(self) -> str | None:
        return VISIBLE.get(self.kind)

    @property
    def attention(self) -> str:
        """For transformers; flash-attn is an extra install on NVIDIA and absent elsewhere."""
        return "sdpa"

    @property
    def optimizer(self) -> str:
        return "adamw_torch" if self.kind == "npu" else "adamw_torch_fused"

    @property
    def distributed_backend(self) -> str:
        """Of `torch.distributed`, between the processes that train."""
        return {"cuda": "nccl", "npu": "hccl", "cpu": "gloo"}[self.kind]

    @property
    def can_quantize(self) -> bool:
        """Whether bitsandbytes runs here: it has no kernels for Ascend."""
        return self.kind == "cuda"

    @property
    def sleeps(self) -> bool:
        """Whether an engine lends its memory to training and stays alive.

        On Ascend it ends instead: sleep mode needs settings that cost speed (see `environment`), and a
        process that has exited surely holds nothing. A CPU has nothing to lend.
        """
        return self.kind == "cuda"

    def dtype(self, wanted: str) -> str:
        """``auto`` is bfloat16 on an accelerator and float32 on a CPU."""
        if wanted != "auto":
            return wanted
        return "float32" if self.kind == "cpu" else "bfloat16"

    @property
    def vllm_arguments(self) -> dict[str, Any]:
        """Engine arguments that this device needs.

        On a CPU a prompt must not be prefilled in chunks: vLLM rewinds the offset of a seeded
        request's generator after a partial prefill, and torch's CPU generators have none.
        """
        if self.kind == "cpu":
            return {"enforce_eager": True, "enable_chunked_prefill": False}
        if self.kind == "npu":
            return {"enforce_eager": True}
        return {}

    def environment(self, base: Mapping[str, str], *, sleep: bool = False) -> dict[str, str]:
        """``base`` with what a child on this device needs, set before its first import of torch.

        ``sleep``: for an engine in vLLM's sleep mode. Its memory pool and torch's expandable segments
        exclude each other, and on Ascend weights in the NZ layout don't survive a sleep.
        """
        env = dict(base)
        if self.visible_variable and self.indices:
            env[self.visible_variable] = ",".join(self.indices)
        match self.kind:
            case "cpu":
                env["CUDA_VISIBLE_DEVICES"] = ""
                env["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
                env["OMP_NUM_THREADS"] = str(self.threads)
                # Threads that spin while waiting cost a factor of 15 when graders share the cores.
                env["OMP_WAIT_POLICY"] = "PASSIVE"
                # Otherwise every engine on the machine pins its threads to the same first cores.
                env.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
            case "cuda":
                # A torch-npu that lies about would stop torch itself from loading.
                env["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
                # `check` asks the driver, after which a forked worker could not.
                env["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
                env.setdefault("OMP_NUM_THREADS", str(min(self.threads, 8)))
                env.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            case "npu":
                env["OMP_NUM_THREADS"] = "1"
                env["TASK_QUEUE_ENABLE"] = "1"
                env["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
                env["HCCL_DETERMINISTIC"] = "true"
                env["LCCL_DETERMINISTIC"] = "1"
                # Left by ModelArts: hccl would read its ranks there and not from torchrun.
                env.pop("RANK_TABLE_FILE", None)
                if sleep:
                    env["VLLM_ASCEND_ENABLE_NZ"] = "0"
                if "PYTORCH_NPU_ALLOC_CONF" in env:  # torch-npu refuses to see both
                    env.pop("PYTORCH_ALLOC_CONF", None)
        if sleep:
            _drop_expandable_segments(env)
        env["TOKENIZERS_PARALLELISM"] = "false"
        return env

    def check(self) -> None:
        """Compare with what torch finds, in a child. Raises UserError when it can't use the device."""
        torch = _torch()
        if self.kind == "cpu":
            return
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is None or found.type != self.kind:
            raise UserError(
                f"this machine has {self.kind} devices but torch {torch.__version__} cannot use them: "
                f"install the build for them, or set {self.visible_variable}= to run on the CPU"
            )


def detect(
    environment: Mapping[str, str] | None = None,
    *,
    dev: Path = Path("/dev"),
    torch_version: str | None = None,
    has_torch_npu: bool | None = None,
) -> Device:
    """The accelerator of this machine, from device files and installed packages only.

    An accelerator counts when its device files exist, this environment's torch was built for it, and
    its visible-devices variable doesn't hide it (``CUDA_VISIBLE_DEVICES=`` means: use the CPU).
    """
    env = os.environ if environment is None else environment
    if torch_version is None:
        torch_version = importlib.metadata.version("torch")
    if has_torch_npu is None:
        has_torch_npu = importlib.util.find_spec("torch_npu") is not None
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    npus = _visible(_count(dev, "davinci"), env.get(VISIBLE["npu"]))
    if npus and has_torch_npu:
        return Device(kind="npu", indices=npus, threads=threads or 1)
    present = _count(dev, "nvidia") or int((dev / "dxg").exists())
    gpus = _visible(present, env.get(VISIBLE["cuda"]))
    if gpus and not torch_version.endswith("+cpu"):
        return Device(kind="cuda", indices=gpus, threads=threads or 1)
    return Device(kind="cpu", threads=threads or 1)


def core_shares(n: int) -> list[frozenset[int]]:
    """The cores for each of ``n`` loops at once, as many for each; empty where a process can't be bound.

    Two loops with two threads each on the same two cores get done three quarters of what two with a
    core each do: threads that wait for one another wait for the other loop as well.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [frozenset()] * n
    cores = sorted(os.sched_getaffinity(0))
    size = max(1, len(cores) // n)
    return [
        frozenset(cores[core % len(cores)] for core in range(part * size, (part + 1) * size))
        for part in range(n)
    ]


def _torch() -> Any:
    """The module torch. Raises UserError when torch-npu, which torch loads itself, finds no CANN."""
    try:
        import torch
    except (ImportError, RuntimeError) as e:
        cause = e.__cause__ or e
        if "torch_npu" in str(e) or "libhccl" in str(cause) or "libascend" in str(cause):
            raise UserError(NO_CANN.format(reason=str(cause).split("\n")[0])) from e
        raise
    return torch


def _drop_expandable_segments(env: dict[str, str]) -> None:
    """Take that one setting out of the allocator's, in place."""
    for variable in ALLOCATOR:
        if variable in env:
            parts = env[variable].split(",")
            kept = [p for p in parts if p.partition(":")[0].strip() != "expandable_segments"]
            env[variable] = ",".join(kept)
            if not kept:
                del env[variable]


def _count(dev: Path, prefix: str) -> int:
    """How many device files there are such as ``nvidia0``; ``nvidiactl`` is none.

    Their numbers are the host's: in a container that has some of its devices, CUDA and CANN count those
    from 0 (NVIDIA/nvidia-docker issue 907, vllm-ascend issue 16256).
    """
    return sum(path.name.removeprefix(prefix).isdecimal() for path in dev.glob(f"{prefix}*"))


def _visible(present: int, variable: str | None) -> tuple[str, ...]:
    if not present:
        return ()
    if variable is None:
        return tuple(map(str, range(present)))
    return tuple(part.strip() for part in variable.split(",") if part.strip() not in ("", "-1"))
