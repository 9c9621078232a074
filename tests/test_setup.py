"""Set-up: the accelerator is chosen from what answers, locks are complete, targets are documented."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
X86 = {"sys_platform": "linux", "platform_machine": "x86_64", "implementation_name": "cpython"}
ARM = X86 | {"platform_machine": "aarch64"}
MAC = X86 | {"platform_machine": "arm64", "sys_platform": "darwin"}
MACHINES = {
    "cpu": (X86, ARM, MAC),
    "cuda": (X86, ARM),
    "ascend": (X86, ARM),
}


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("setup")


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes a program of that name and shell body; its folder is to be the whole PATH."""

    def make(name: str, body: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return folder

    return make


def pins(lock: Path, machine: dict[str, str], python: str) -> dict[str, Version]:
    """The versions that a lock gives one machine. Two of one package would be a mistake."""
    environment = machine | {"python_version": python, "python_full_version": f"{python}.7"}
    found: dict[str, Version] = {}
    for line in lock.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert "*" not in specifier.version
        assert requirement.name not in found, f"{lock.name}: {requirement.name} twice"
        found[requirement.name] = Version(specifier.version)
    return found


def test_nothing_answers_means_cpu(setup: ModuleType, tmp_path: Path) -> None:
    assert setup.choose_accelerator({"PATH": str(tmp_path)}, dev=tmp_path)[0] == "cpu"


@pytest.mark.parametrize(("program", "chosen"), [("nvidia-smi", "cuda"), ("npu-smi", "ascend")])
def test_a_tool_that_lists_a_device_decides(
    setup: ModuleType,
    command: Callable[[str, str], Path],
    tmp_path: Path,
    program: str,
    chosen: str,
) -> None:
    path = command(program, "echo device 0")
    assert setup.choose_accelerator({"PATH": str(path)}, dev=tmp_path)[0] == chosen


@pytest.mark.parametrize("body", ["echo 'no driver'; exit 9", "exit 0"])
def test_a_tool_without_a_device_does_not(
    setup: ModuleType, command: Callable[[str, str], Path], tmp_path: Path, body: str
) -> None:
    command("nvidia-smi", body)
    path = command("npu-smi", body)
    assert setup.choose_accelerator({"PATH": str(path)}, dev=tmp_path)[0] == "cpu"


@pytest.mark.parametrize(("node", "chosen"), [("nvidiactl", "cuda"), ("davinci_manager", "ascend")])
def test_a_device_node_decides_where_the_tool_is_missing(
    setup: ModuleType, tmp_path: Path, node: str, chosen: str
) -> None:
    (tmp_path / node).touch()
    assert setup.choose_accelerator({"PATH": str(tmp_path)}, dev=tmp_path)[0] == chosen


def test_the_variable_overrides_and_is_checked(
    setup: ModuleType, command: Callable[[str, str], Path], tmp_path: Path
) -> None:
    path = str(command("nvidia-smi", "echo GPU 0"))
    chosen = setup.choose_accelerator({"PATH": path, "ACCELERATOR": "cpu"}, dev=tmp_path)
    assert chosen == ("cpu", "ACCELERATOR=cpu")
    with pytest.raises(setup.SetupError, match="ACCELERATOR=tpu: choose cpu, cuda, ascend"):
        setup.choose_accelerator({"PATH": path, "ACCELERATOR": "tpu"}, dev=tmp_path)


def test_a_missing_python_is_one_line(command: Callable[[str, str], Path]) -> None:
    path = command("python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "setup.sh")],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "no Python 3.11 or 3.12" in done.stderr


def test_the_python_named_is_taken_when_it_runs(command: Callable[[str, str], Path]) -> None:
    path = command("mine", 'case $1 in -c) exec "$REAL" "$@" ;; *) echo "runs $1" ;; esac')
    command("dirname", "echo scripts")
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "setup.sh")],
        env={"PATH": str(path), "PYTHON": "mine", "REAL": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "runs scripts/setup.py\n")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "the disk is full"),
        (
            "WARNING: NewConnectionError(...)\nERROR: No matching distribution\n",
            "check the network",
        ),
        ("x\nERROR: No matching distribution found for torch==9\n", "No matching distribution"),
        ("", "pip ended with code 1"),
    ],
)
def test_a_failed_pip_is_explained_in_one_line(setup: ModuleType, log: str, said: str) -> None:
    line = setup.explain(log, 1)
    assert said in line
    assert "\n" not in line


def test_an_image_keeps_its_stack(setup: ModuleType) -> None:
    locked = {
        "numpy": ["numpy==2.3.5"],
        "torch": ["torch==2.10.0+cpu"],
        "transformers": ["transformers==5.5.4"],
        "trl": ["trl==1.16.0"],
        "xxhash": ["xxhash==4.1.0"],
    }
    installed = {"numpy", "torch", "transformers"}
    direct = ["torch>=2.10", "transformers>=5.5", "trl>=1.16"]
    assert setup.image_constraints(locked, installed, direct) == [
        "transformers==5.5.4",
        "trl==1.16.0",
        "xxhash==4.1.0",
    ]


def test_every_accelerator_has_a_lock(setup: ModuleType) -> None:
    assert {lock.stem for lock in LOCKS} == set(setup.ACCELERATORS) == set(MACHINES)


@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_what_the_project_asks_for(setup: ModuleType, lock: Path, python: str) -> None:
    asked = [Requirement(text) for text in setup.direct_dependencies(ROOT / "pyproject.toml")]
    for machine in MACHINES[lock.stem]:
        found = pins(lock, machine, python)
        for requirement in asked:
            assert requirement.name in found, f"{lock.name} lacks {requirement.name}"
            assert requirement.specifier.contains(found[requirement.name], prereleases=True)
        assert found["setuptools"] >= Version("77")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--" not in text
    assert not re.search(r"\b[a-z0-9-]+\.(org|com|io|net|cn)\b", text)


def test_a_torch_without_cuda_meets_no_cuda_builds(setup: ModuleType) -> None:
    for name in ("cpu", "ascend"):
        lock = setup.read_pins(ROOT / "requirements" / f"{name}.lock")
        assert not set(setup.CUDA_BUILDS) & set(lock)
        assert "+cpu" in "".join(lock["torch"])


def test_the_running_environment_is_the_cpu_lock() -> None:
    """The lock is closed: what is installed here asks for nothing that it lacks."""
    from importlib.metadata import distribution

    stamp = Path(sys.prefix) / "setup.stamp"
    if not stamp.exists() or not stamp.read_text().startswith("cpu "):
        pytest.skip("this environment wasn't made by `make setup` for the CPU")
    machine = {"x86_64": X86, "aarch64": ARM, "arm64": MAC}[os.uname().machine]
    locked = pins(
        ROOT / "requirements" / "cpu.lock", machine, "{}.{}".format(*sys.version_info[:2])
    )
    left_out = {"torchaudio", "torchcodec", "torchvision", "triton", "opencv-python-headless"}
    for name, version in locked.items():
        package = distribution(name)
        assert Version(package.version) == version
        for text in package.requires or ():
            requirement = Requirement(text)
            wanted = requirement.name.lower().replace("_", "-").replace(".", "-")
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert wanted in locked or wanted in left_out, f"{name} asks for {wanted}"


def test_targets_are_documented() -> None:
    makefile = (ROOT / "Makefile").read_text()
    declared = next(line for line in makefile.splitlines() if line.startswith(".PHONY:"))
    targets = set(declared.split()[1:])
    assert targets == set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    assert {t for t in targets if f"| `make {t}` |" not in contributing} == set()


def test_ci_runs_the_documented_test_command() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    assert "make test" in ci
    assert "make test" in (ROOT / "README.md").read_text()
