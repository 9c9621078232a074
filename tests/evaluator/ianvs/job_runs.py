"""Runs an exported job: under the stand-in, or under Ianvs where some interpreter has it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

STAND_IN = Path(__file__).parent / "stand_in"
IANVS_PYTHON = os.environ.get("IANVS_PYTHON", sys.executable)
"""The interpreter that has Ianvs installed, when it isn't this one."""
NO_IANVS = "ianvs is not installed here; IANVS_PYTHON names a Python that has it"


def has_ianvs() -> bool:
    return not subprocess.run(
        [IANVS_PYTHON, "-c", "import core.cmd.benchmarking"], capture_output=True, check=False
    ).returncode


def run_stand_in(
    folder: Path, *arguments: str, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """``python`` is what the job takes for the training project's."""
    command = [sys.executable, str(STAND_IN / "benchmarking.py"), *arguments]
    return _run(folder, command, str(STAND_IN), python)


def run_ianvs(folder: Path) -> subprocess.CompletedProcess[str]:
    return _run(folder, [IANVS_PYTHON, "-m", "core.cmd.benchmarking"], "", sys.executable)


def _run(
    folder: Path, command: list[str], path: str, python: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "-f", "benchmarkingjob.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "SRS_PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )


def leaderboard(folder: Path, kind: str = "code") -> dict[str, dict[str, str]]:
    """By the row's name."""
    with (folder / f"workspace/srs_{kind}/rank/selected_rank.csv").open() as file:
        return {row["basemodel-adapter"]: row for row in csv.DictReader(file)}
