"""Handlers that `test_ranks.py` has run in several ranks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srs import config as configs
from srs.tuning.worker import TrainingWorker
from srs.types import UserError


class Plain:
    """No torch: a rank is up in a moment."""

    def __init__(self, refuse: str = "", mib: int = 0) -> None:
        self.rank = int(os.environ["RANK"])
        self.ballast = b"x" * (mib << 20)  # what the kernel takes time to free
        if refuse:
            raise UserError(refuse)

    def describe(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "ranks": int(os.environ["WORLD_SIZE"])}

    def where(self, folder: str) -> Iterator[int]:
        """Every rank leaves its pid; rank 0's answer is the one that is heard."""
        Path(folder, str(self.rank)).write_text(str(os.getpid()))
        yield self.rank

    def refuse(self) -> Iterator[int]:
        yield 1
        raise UserError("adapter: no adapter there")

    def fail(self, rank: int, kind: str) -> Iterator[int]:
        """Only ``rank`` fails; the others would go on for long."""
        yield 0
        if self.rank == rank and kind == "raise":
            raise ValueError("broken\nin two lines")
        if self.rank == rank:
            os._exit(7)
        time.sleep(300)


class Recording(TrainingWorker):
    """Trains under other config keys for one call, and tells each step's loss."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        from transformers import Trainer

        self.losses: list[float] = []
        log = Trainer.log

        def recording(trainer: Any, logs: dict[str, float], *rest: Any) -> None:
            if "loss" in logs:
                self.losses.append(logs["loss"])
                parameters = trainer.model.parameters()
                self.kinds = {type(parameter).__name__ for parameter in parameters}
            log(trainer, logs, *rest)

        setattr(Trainer, "log", recording)  # noqa: B010

    def train(self, how: str, overrides: list[str], **arguments: Any) -> Iterator[dict[str, Any]]:
        before, self.config = self.config, configs.override(self.config, overrides)
        self.losses.clear()
        (result,) = getattr(self, how)(**arguments)
        self.config = before
        yield {"result": result, "losses": list(self.losses), "kinds": sorted(self.kinds)}

    def pids(self) -> Iterator[list[int]]:
        yield [pid for rank in self.base.world.gather([os.getpid()]) for pid in rank]
