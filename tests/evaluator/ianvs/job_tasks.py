"""Small tasks and jobs for the tests of the export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluator.ianvs_job import Job
from srs.config import Config, override, to_dict
from srs.types import Task

SUITE = (
    "def test_one():\n    assert double(1) == 2\n\n\ndef test_zero():\n    assert double(0) == 0\n"
)
GOOD = "def double(x):\n    return 2 * x\n"
STDIO = json.dumps({"stdin": ["1 2\n", "3 4\n"], "stdout": ["3\n", "7\n"]})


def task(id: str = "T_1_I", **fields: Any) -> Task:
    values: dict[str, Any] = {
        "group": id, "kind": "pytest", "style": "instruct", "subset": "T", "question": f"Double x. {id}",
        "declaration": "def double(x):", "entry_point": "double", "test": SUITE, "reference": GOOD,
    }  # fmt: skip
    return Task(id=id, **{**values, **fields})


def adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def config() -> dict[str, Any]:
    return to_dict(
        override(Config(), ["sandbox.backend=process", "sandbox.workers=1", "sandbox.timeout_s=10"])
    )


def job(
    rows: Mapping[str, Path | None] | None = None,
    tests: Mapping[str, Sequence[Task]] | None = None,
    **fields: Any,
) -> Job:
    values: dict[str, Any] = {"train": [task("T_9_I")], "config": config(), "device": "cpu"}
    return Job(
        rows=rows if rows is not None else {"base": None},
        tests=tests if tests is not None else {"held_out": [task()]},
        **{**values, **fields},
    )
