"""The image's Dockerfile copies what there is, and constrains pip as the lock says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "scripts" / "modelarts" / "Dockerfile"


def copied() -> set[str]:
    lines = re.findall(r"^COPY --chown=\S+ (.+) \S+$", DOCKERFILE.read_text(), re.M)
    return {word for line in lines for word in line.split()}


def test_it_copies_every_package_and_nothing_that_is_not_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.rstrip("*") for pattern in packages} <= copied()
    assert {"configs", "scripts", "requirements"} <= copied()
    assert all((ROOT / name).exists() for name in copied())


def test_the_command_of_a_job_lies_where_the_image_has_the_script() -> None:
    from srs.modelarts.settings import JobSettings

    folder = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE.read_text(), re.M)
    default = JobSettings.__dataclass_fields__["command"].default
    assert default == f"{folder[0]}/scripts/modelarts/run.sh"
    assert (ROOT / "scripts/modelarts/run.sh").stat().st_mode & 0o111 == 0o111


def test_constraints_are_the_locks_without_what_the_image_brings() -> None:
    """Here: a torch of another version, which must not be named."""
    ran = subprocess.run(
        [sys.executable, "scripts/modelarts/constraints.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = ran.stdout.splitlines()
    names = {line.partition("==")[0] for line in lines}
    assert {"trl", "peft", "transformers"} <= names
    assert not {"torch", "fastapi"} & names
    locked = (ROOT / "requirements" / "ascend.lock").read_text().splitlines()
    assert set(lines) <= set(locked)
