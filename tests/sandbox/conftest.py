import os
from collections.abc import Iterator
from typing import Literal, get_args

import pytest

from sandbox import docker
from sandbox.pool import open_sandbox
from sandbox.runner import Sandbox, SandboxConfig

BackendName = Literal["process", "docker"]
needs_docker = pytest.mark.usefixtures("docker_daemon")


@pytest.fixture(scope="session")
def docker_daemon() -> None:
    """Skips where no daemon answers or no image can be had; in CI that is a failure."""
    reason = docker.unavailable(SandboxConfig())
    if reason and os.environ.get("CI"):
        pytest.fail(f"CI must run the Docker tests: {reason}")
    if reason:
        pytest.skip(f"no Docker sandbox here: {reason}")


@pytest.fixture(scope="session", params=get_args(BackendName))
def backend(request: pytest.FixtureRequest) -> BackendName:
    if request.param == "docker":
        request.getfixturevalue("docker_daemon")
    name: BackendName = request.param
    return name


@pytest.fixture(scope="session")
def sandbox(backend: BackendName) -> Iterator[Sandbox]:
    with open_sandbox(SandboxConfig(backend=backend, workers=2)) as opened:
        yield opened
