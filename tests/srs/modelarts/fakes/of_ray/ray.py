"""Stands in for Ray's package: a node for each call of the command that $FAKE_RAY notes."""

import os
from pathlib import Path
from typing import Any


def init(address: str, **_: Any) -> None:
    assert ":" in address


def nodes() -> list[dict[str, bool]]:
    return [{"Alive": True} for _ in Path(os.environ["FAKE_RAY"]).read_text().splitlines()]


def shutdown() -> None:
    pass
