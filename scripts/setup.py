"""Make ``.venv``: choose the accelerator, install its lock, check that the result imports.

Standard library only; run by scripts/setup.sh. ``ACCELERATOR=cpu|cuda|ascend`` overrides the choice.
A stamp in ``.venv`` says what was installed and is written last, so an interrupted set-up is taken up
again by the next call, and a complete one costs nothing. pip's output goes to ``.venv/setup.log``.
Exit 2 with one line when set-up can't be done here.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from machine import (
    ACCELERATORS,
    SetupError,
    choose_accelerator,
    limits,
    refuse_full_disk,
    refuse_platform,
)

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup.stamp"
LOG = VENV / "setup.log"

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch publishes builds without CUDA; ``TORCH_CPU_INDEX`` names a mirror."""
CUDA_BUILDS = ("torchaudio", "torchcodec", "torchvision")
"""Beside a torch without CUDA, these make ``import transformers`` fail."""


def read_pins(lock: Path) -> dict[str, list[str]]:
    """A lock's requirement lines by package name; a name has several when markers split it."""
    pins: dict[str, list[str]] = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pins.setdefault(line.partition("==")[0], []).append(line)
    return pins


def direct_dependencies(pyproject: Path) -> list[str]:
    """The requirement strings of the project and its dev extra."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def image_constraints(
    pins: Mapping[str, list[str]], installed: set[str], direct: Sequence[str]
) -> list[str]:
    """The pins that apply on top of an image that brings its own stack.

    What the image has stays as it is, torch above all, unless the project depends on it directly.
    """
    names = {_normal(re.split(r"[^A-Za-z0-9._-]", text)[0]) for text in direct} - {"torch"}
    return [
        line
        for name, lines in pins.items()
        for line in lines
        if name in names or name not in installed
    ]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def explain(log: str, code: int) -> str:
    """The reason for pip's failure in one line."""
    if "No space left on device" in log or "Errno 28" in log:
        return "the disk is full: free some space and run it again"
    network = (
        "NewConnectionError|NameResolutionError|Temporary failure in name|Max retries|timed out"
    )
    if re.search(network, log):
        return "the package index doesn't answer: check the network (or pip's proxy and index settings)"
    errors = [line for line in log.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with code {code}"
    return f"{reason} (see {LOG})"


def _say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def _pip(*arguments: str) -> tuple[int, str]:
    """Run pip in the environment; its exit code and output, which also goes to the log."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    lines = []
    live = sys.stdout.isatty()
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            log.write(line)
            if live:
                width = shutil.get_terminal_size().columns - 1
                print(f"\r\033[K{line.strip()[:width]}", end="", flush=True)
        code = process.wait()
    if live:
        print("\r\033[K", end="", flush=True)
    return code, "".join(lines)


def _install(what: str, *arguments: str) -> None:
    started = time.monotonic()
    _say(what)
    code, log = _pip("install", "--no-compile", *arguments)
    if code != 0:
        raise SetupError(f"{what}: {explain(log, code)}")
    _say(f"  done in {time.monotonic() - started:.0f} s")


def _compile() -> None:
    """Byte code for what was installed, on all cores; pip takes one, half the time of an installation.

    Later is too late: who runs candidates may not write here, and would compile again each time. What
    doesn't compile (templates, other Pythons' syntax) is left, as pip leaves it.
    """
    started = time.monotonic()
    _say("compiling the packages to byte code")
    code = "import compileall, sysconfig as s; compileall.compile_dir(s.get_path('purelib'), quiet=2, workers=0)"
    subprocess.run(
        [str(PYTHON), "-W", "ignore", "-c", code], stdout=subprocess.DEVNULL, check=False, cwd=VENV
    )
    _say(f"  done in {time.monotonic() - started:.0f} s")


def _install_torch(requirement: str) -> None:
    """Torch first and alone: what comes later must find this build and not bring another.

    A ``+cpu`` build may be in pip's own places (``PIP_FIND_LINKS``, a mirror); on an ordinary machine
    it is only on PyTorch's index, and the same version without ``+cpu`` would be gigabytes of CUDA.
    """
    what = f"installing {requirement.partition(' ;')[0]}"
    started = time.monotonic()
    _say(what)
    code, log = _pip("install", "--no-compile", "--no-deps", "--retries", "2", requirement)
    if code != 0 and "+cpu" in requirement:
        index = os.environ.get("TORCH_CPU_INDEX", TORCH_CPU_INDEX)
        _say(f"  not on pip's own index; trying {index}")
        code, more = _pip(
            *("install", "--no-compile", "--no-deps", "--retries", "2"),
            *("--index-url", index, requirement),
        )
        if code != 0:
            raise SetupError(
                f"{what}: {explain(log + more, code)}; "
                "TORCH_CPU_INDEX= names a mirror, PIP_FIND_LINKS= a folder with the wheel"
            )
    elif code != 0:
        raise SetupError(f"{what}: {explain(log, code)}")
    _say(f"  done in {time.monotonic() - started:.0f} s")


def _make_venv(clear: bool, image: bool) -> None:
    _say(f"{'re' if VENV.exists() else ''}making .venv with Python {platform.python_version()}")
    try:
        venv.create(VENV, clear=clear, symlinks=True, with_pip=True, system_site_packages=image)
    except (OSError, subprocess.CalledProcessError) as e:
        raise SetupError(f"cannot make {VENV}: {e}") from e


def _works() -> bool:
    """Whether ``.venv`` holds this Python with pip: an interrupted start leaves less."""
    if not PYTHON.exists():
        return False
    code = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == _python()


def _python() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def _check_imports(accelerator: str) -> None:
    modules = ["torch", "transformers", "trl", "peft"]
    if accelerator == "ascend":
        modules.insert(1, "torch_npu")
    if sys.platform == "linux":
        modules.append("vllm")
    code = f"import {', '.join(modules)}"
    if accelerator == "cuda":
        code += "; print(torch.cuda.is_available())"
    started = time.monotonic()
    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=VENV,
    )
    if done.returncode != 0:
        with LOG.open("a", encoding="utf-8") as log:
            log.write(done.stderr)
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        hint = ""
        if accelerator == "ascend" and "ASCEND_HOME_PATH" not in os.environ:
            hint = "; source CANN's set_env.sh first"
        raise SetupError(f"the environment doesn't import: {reason}{hint} (see {LOG})")
    if accelerator == "cuda" and not done.stdout.rstrip().endswith("True"):
        _say(
            "torch sees no GPU here yet: its CUDA 13 needs driver 580 or newer (nvidia-smi shows yours)"
        )
    _say(f"{', '.join(modules)} import ({time.monotonic() - started:.0f} s)")


def set_up(environ: Mapping[str, str]) -> None:
    """Bring ``.venv`` to the state that the lock describes. Raises SetupError."""
    accelerator, reason = choose_accelerator(environ)
    lock = ROOT / "requirements" / f"{accelerator}.lock"
    pyproject = ROOT / "pyproject.toml"
    contents = hashlib.sha256(lock.read_bytes() + pyproject.read_bytes()).hexdigest()
    wanted = f"{accelerator} {_python()} {contents} {ROOT}\n"
    found = STAMP.read_text(encoding="utf-8") if STAMP.exists() else ""
    if found == wanted and PYTHON.exists():
        return

    _say(f"accelerator: {accelerator} ({reason}); ACCELERATOR={'|'.join(ACCELERATORS)} overrides")
    refuse_platform(accelerator)
    installed = {_normal(d.name) for d in importlib.metadata.distributions()}
    image = accelerator == "ascend" and "vllm-ascend" in installed
    fresh = not _works()
    if fresh:
        refuse_full_disk(ROOT, accelerator)
    STAMP.unlink(missing_ok=True)
    if fresh or (found and found.split()[0] != accelerator):
        _make_venv(clear=True, image=image)
    LOG.unlink(missing_ok=True)

    pins = read_pins(lock)
    if image:
        _say("vllm-ascend is installed: its packages stay, only what is missing is added")
        constraints = VENV / "constraints.txt"
        lines = image_constraints(pins, installed, direct_dependencies(pyproject))
        constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _install("installing setuptools", "--no-deps", *pins["setuptools"])
        _install(
            "installing what the image lacks",
            "--no-build-isolation",
            "-c",
            str(constraints),
            "-e",
            ".[dev]",
        )
    else:
        here = "darwin" if sys.platform == "darwin" else "linux"
        torch = [line for line in pins.pop("torch") if ";" not in line or f"'{here}'" in line]
        _install_torch(torch[0])
        rest = VENV / "requirements.txt"
        rest.write_text(
            "\n".join(line for lines in pins.values() for line in lines), encoding="utf-8"
        )
        _install(
            f"installing {len(pins)} locked packages (some minutes)", "--no-deps", "-r", str(rest)
        )
        if accelerator != "cuda":
            _pip("uninstall", "--yes", *CUDA_BUILDS)
        _install("installing this project", "--no-deps", "--no-build-isolation", "-e", ".")
    _compile()
    _check_imports(accelerator)
    for line in limits():
        _say(line)
    STAMP.write_text(wanted, encoding="utf-8")
    _say(f"{VENV.name} is ready")


def main() -> NoReturn:
    # `make train` and `make test` started together must not both install.
    with (ROOT / "pyproject.toml").open("rb+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        try:
            set_up(os.environ)
        except SetupError as e:
            print(f"setup: {e}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("\nsetup: interrupted; the next call takes it up again", file=sys.stderr)
            sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
