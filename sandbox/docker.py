"""The Docker backend: one long-lived container per worker."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.link import Handle
from sandbox.runner import SandboxConfig, SandboxError

NAME = "docker"


def unavailable(config: SandboxConfig) -> str:
    return "not built yet"


def starter(config: SandboxConfig) -> Callable[[], Handle]:
    raise SandboxError(unavailable(config))
