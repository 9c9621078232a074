"""A run killed at any moment and resumed equals one that was never interrupted."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memory.store import Store
from srs.types import PreferencePair, to_json

Start = Callable[..., subprocess.Popen[str]]

SETTINGS = (
    "generate.engine=transformers",
    "generate.n=4",
    "generate.max_tokens=48",
    "scheduler.tasks_per_round=6",
    "scheduler.new_share=0.5",
    "tasks.limit=40",
    "eval.limit=6",
    "eval.n=2",
    "eval.every=1",
    "sandbox.backend=process",
)
MOMENTS = (
    "memory.sqlite",
    "rounds/0000/evaluation.json",
    "rounds/0001/plan.json",
    "rounds/0001/candidates.jsonl",
    "rounds/0001/verdicts.jsonl",
    "adapters/0001",
    "rounds/0001/train.json",
    "rounds/0001/evaluation.json",
    "rounds/0002/plan.json",
    "rounds/0002/verdicts.jsonl",
    "adapters/0002",
    "pairs.jsonl",
    "adapters/dpo",
    "dpo.json",
    "evaluation/dpo.json",
)
"""The run is killed soon after each of these appears: 15 moments, at least one in every phase."""


def command(run: Path, *more: str) -> list[str]:
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    return [sys.executable, "-m", "srs.train", "--rounds", "2", "--run-dir", str(run), *sets, *more]


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Starts a run, or resumes it, with a preference pair from elsewhere among its settings."""
    folder = tmp_path_factory.mktemp("shared")
    pair = PreferencePair(
        task="elsewhere", prompt="Say one.\n", chosen="x = 1\n", rejected="x = 2\n", chosen_round=0,
        rejected_round=0, chosen_policy="external", rejected_policy="external",
        rejected_outcome="failed", rejected_tests_passed=0.0,
    )  # fmt: skip
    pairs = folder / "pairs.jsonl"
    pairs.write_text(json.dumps(to_json(pair)) + "\n", encoding="utf-8")
    env = {**os.environ, "SRS_CACHE_DIR": str(folder / "cache")}

    def begin(run: Path, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(run, "--set", f"dpo.extra_pairs=['{pairs}']", *more),
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return begin


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, start: Start) -> Path:
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    finish(start(run))
    return run


def test_killed_fifteen_times_is_the_same_run(
    tmp_path: Path, uninterrupted: Path, start: Start
) -> None:
    run, stream, kills = tmp_path / "run", random.Random(7), 0
    for moment in MOMENTS:
        if (run / moment).exists():
            continue
        process = start(run, *(["--resume"] if (run / "config.json").exists() else []))
        while process.poll() is None and not (run / moment).exists():
            time.sleep(0.005)
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(stream.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert kills >= 10
    finish(start(run, "--resume"))
    assert results(run) == results(uninterrupted)


def test_interrupting_prints_the_resume_command_and_leaves_nothing_running(
    tmp_path: Path, start: Start
) -> None:
    run = tmp_path / "run"
    process = start(run)
    while process.poll() is None and not (run / "rounds/0001/plan.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert f"continue with: python -m srs.train --resume --run-dir {run}" in output
    assert "Traceback" not in output
    assert not processes_that_mention(str(run))


def test_a_finished_run_can_be_extended(tmp_path: Path, uninterrupted: Path, start: Start) -> None:
    """And preference pairs from elsewhere are trained on beside its own, each time."""
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    assert [row["task"] for row in lines(run / "pairs.jsonl")][-1] == "elsewhere"
    extending = start(run, "--resume", "--rounds", "3")
    while extending.poll() is None and not (run / "rounds/0003/plan.json").exists():
        time.sleep(0.005)
    for name in ("dpo.json", "pairs.jsonl", "adapters/dpo", "evaluation", "export/ianvs"):
        assert not (run / name).exists(), "round 2 is not the last one any more"
    finish(extending)
    pairs = lines(run / "pairs.jsonl")
    assert [row["task"] for row in pairs].count("elsewhere") == 1
    assert json.loads((run / "dpo.json").read_text())["n_pairs"] == len(pairs)
    rows = lines(run / "metrics.jsonl")
    assert [row["round"] for row in rows] == [0, 1, 2, 3]
    assert json.loads((run / "dpo.json").read_text())["round"] == 3


def results(run: Path) -> dict[str, Any]:
    """Everything a run produced, without what only tells how long it took."""
    found: dict[str, Any] = {}
    for number in ("0001", "0002"):
        folder = run / "rounds" / number
        found[f"{number} plan"] = lines(folder / "plan.json")
        found[f"{number} candidates"] = lines(folder / "candidates.jsonl")
        found[f"{number} verdicts"] = lines(folder / "verdicts.jsonl", without="wall_s")
        found[f"{number} training"] = json.loads((folder / "train.json").read_text())
        found[f"{number} evaluation"] = json.loads((folder / "evaluation.json").read_text())
    for adapter in sorted((run / "adapters").iterdir()):
        found[f"adapter {adapter.name}"] = (adapter / "adapter_model.safetensors").read_bytes()
    found["metrics"] = lines(run / "metrics.jsonl", without="seconds")
    found["pairs"] = lines(run / "pairs.jsonl")
    found["dpo"] = json.loads((run / "dpo.json").read_text())
    found["comparison"] = json.loads((run / "evaluation/comparison.json").read_text())
    with Store.open(run / "memory.sqlite") as memory:
        found["reviews"] = list(memory.reviews())
        tasks = {review.task for review in memory.reviews()}
        found["cards"] = {task: memory.card(task) for task in tasks}
    assert found["reviews"]
    return found


def lines(path: Path, without: str = "") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != without} for row in rows]


def processes_that_mention(text: str) -> list[str]:
    found = []
    for proc in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command_line = proc.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command_line:
            found.append(command_line)
    return found
