"""Prints pip constraints for an Ascend image that brings its own stack, for scripts/modelarts/Dockerfile.

What the image has installed stays as it is, except what this project depends on directly; the versions are
those of requirements/ascend.lock. scripts/setup.py does the same for a machine, and then imports torch_npu,
which needs the driver that an image doesn't have while it is built.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from setup import direct_dependencies, image_constraints, read_pins  # noqa: E402


def constraints(installed: set[str]) -> list[str]:
    """Requirement lines, given the normalised names of what is installed."""
    pins = read_pins(ROOT / "requirements" / "ascend.lock")
    direct = direct_dependencies(ROOT / "pyproject.toml")
    found: list[str] = image_constraints(pins, installed, direct)
    return found


if __name__ == "__main__":
    names = {d.name for d in importlib.metadata.distributions()}
    print("\n".join(constraints({re.sub(r"[-_.]+", "-", name).lower() for name in names})))
