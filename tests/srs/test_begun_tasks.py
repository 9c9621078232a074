"""A resumed run works on the tasks that it began with, or not at all."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from srs import config as configs
from srs import lab
from srs.config import Config
from srs.rundir import RunDir
from srs.tasks import SANDBOX_MODULES, TaskSet
from srs.types import UserError


def write(path: Path, *, n: int = 12, answer: str = "") -> Path:
    """Every second task needs a module that not every sandbox has."""
    rows = [
        {
            "question_id": f"Demo_{i}_I",
            "question": f"Return {i}.",
            "solution": f"{'import scipy' if i % 2 else 'import math'}\ndef f{i}():\n    return {i}{answer}\n",
            "test": f"from solution import f{i}\n\ndef test_it():\n    assert f{i}() == {i}\n",
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "tasks.jsonl")


@pytest.fixture
def run(tmp_path: Path, file: Path) -> Iterator[RunDir]:
    config = configs.override(
        Config(), [f"tasks.source={file}", "tasks.importable_only=true", "tasks.held_out_share=0.3"]
    )
    with RunDir.create(tmp_path / "run", config) as opened:
        yield opened


def loaded(run: RunDir, monkeypatch: pytest.MonkeyPatch, *modules: str) -> TaskSet:
    """In a sandbox that has these modules beside the usual ones."""
    monkeypatch.setattr(lab, "open_sandbox", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(lab, "importable_modules", lambda _: SANDBOX_MODULES | {*modules})
    return lab._load_tasks(run)


@pytest.mark.parametrize("modules", [(), ("scipy",)])
def test_a_sandbox_with_other_modules_changes_no_tasks(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, modules: tuple[str, ...]
) -> None:
    begun = loaded(run, monkeypatch, *modules)
    assert len(begun.train) + len(begun.held_out) == (12 if modules else 6)
    others = () if modules else ("scipy",)
    assert loaded(run, monkeypatch, *others) == begun


@pytest.mark.parametrize(("n", "answer"), [(11, ""), (14, ""), (12, " + 0")])
def test_other_tasks_or_other_texts_are_refused(
    run: RunDir, file: Path, monkeypatch: pytest.MonkeyPatch, n: int, answer: str
) -> None:
    begun = loaded(run, monkeypatch, "scipy")
    write(file, n=n, answer=answer)
    with pytest.raises(UserError, match=r"not the tasks that this run began with: .* bring them"):
        loaded(run, monkeypatch, "scipy")
    write(file)
    assert loaded(run, monkeypatch, "scipy") == begun


def test_the_order_of_the_rows_means_nothing(
    run: RunDir, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = loaded(run, monkeypatch, "scipy")
    file.write_text("".join(f"{line}\n" for line in reversed(file.read_text().splitlines())))
    assert loaded(run, monkeypatch, "scipy") == begun
