"""Stands in for Ray's package: a node for each start that $FAKE_RAY notes."""

import os
from pathlib import Path
from typing import Any


def init(address: str, **_: Any) -> None:
    assert ":" in address


def nodes() -> list[dict[str, bool]]:
    calls = Path(os.environ["FAKE_RAY"]).read_text().splitlines()
    return [{"Alive": True} for call in calls if call.startswith("start ")]


def shutdown() -> None:
    pass
