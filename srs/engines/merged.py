"""Serving adapters that an engine can't apply itself: merged into full weights, which it then loads."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from srs.engines.engine import Engine, Prompt, Sample
from srs.models import ModelSource
from srs.types import UserError

Merge = Callable[[ModelSource, Path, Path], None]
"""(base, adapter, out): write the merged model to ``out``, complete once it exists."""


class MergedEngine:
    """An `Engine` around one that serves full weights only; ``folder`` is its own, emptied first.

    The merged model lies on the disk while it is loaded and no longer.
    """

    def __init__(self, engine: Engine, base: ModelSource, folder: Path, merge: Merge) -> None:
        self._engine = engine
        self._base = base
        self._folder = folder
        self._merge = merge
        self._loaded: tuple[Path, int] | None = None
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def name(self) -> str:
        return self._engine.name

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        adapter: Path | None,
        n: int,
        temperature: float,
        top_p: float,
    ) -> Iterator[tuple[int, list[Sample]]]:
        self._load(adapter)
        return self._engine.sample(prompts, adapter=None, n=n, temperature=temperature, top_p=top_p)

    def sleep(self) -> None:
        self._engine.sleep()

    def wake(self) -> None:
        self._engine.wake()

    def reload(self, source: ModelSource) -> None:
        self._base, self._loaded = source, None
        self._engine.reload(source)

    def _load(self, adapter: Path | None) -> None:
        """Have the engine serve ``adapter``; None is the base model. Raises UserError."""
        key = None if adapter is None else (adapter, _written_at(adapter))
        if key == self._loaded:
            return
        if adapter is None:
            self._engine.reload(self._base)
        elif (adapter / "config.json").is_file():  # full weights: nothing to merge
            self._engine.reload(dataclasses.replace(self._base, name=str(adapter), is_local=True))
        else:
            self._folder.mkdir(parents=True, exist_ok=True)
            out = self._folder / adapter.name
            shutil.rmtree(out, ignore_errors=True)
            try:
                self._merge(self._base, adapter, out)
                self._engine.reload(dataclasses.replace(self._base, name=str(out), is_local=True))
            finally:
                shutil.rmtree(out, ignore_errors=True)
        self._loaded = key


def _written_at(folder: Path) -> int:
    """When the newest weights in ``folder`` were written, in ns. Raises UserError when it holds none."""
    times = [file.stat().st_mtime_ns for file in folder.glob("*.safetensors")]
    if not times:
        raise UserError(f"{folder}: no adapter there: it holds no .safetensors file")
    return max(times)
