"""What a run produced, for comparing two of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def results(run: Path) -> dict[str, Any]:
    """By file, without what only tells how long it took or where it ran."""
    found: dict[str, Any] = {}
    for path in sorted([*run.glob("rounds/**/*.json*"), run / "metrics.jsonl"]):
        if path.name != "seconds.json":
            text = path.read_text()
            rows = text.splitlines() if path.suffix == ".jsonl" else [text]
            found[str(path.relative_to(run))] = [
                {k: v for k, v in json.loads(row).items() if k not in ("wall_s", "seconds")}
                for row in rows
            ]
    for path in sorted(run.glob("adapters/*/adapter_model.safetensors")):
        found[str(path.relative_to(run))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
