from collections.abc import Iterator

import pytest

from sandbox.pool import open_sandbox
from sandbox.runner import Sandbox, SandboxConfig


@pytest.fixture(scope="session")
def process_sandbox() -> Iterator[Sandbox]:
    with open_sandbox(SandboxConfig(backend="process", workers=2)) as sandbox:
        yield sandbox
