"""The sandbox itself says what programs in it can import."""

from sandbox.modules import importable_modules
from sandbox.pool import open_sandbox
from sandbox.runner import SandboxConfig


def test_modules_are_those_of_the_sandbox() -> None:
    with open_sandbox(SandboxConfig(backend="process", workers=1)) as sandbox:
        modules = importable_modules(sandbox)
    assert {"json", "pytest", "numpy"} <= modules
    assert "no_such_module" not in modules
