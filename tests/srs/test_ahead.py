"""``devices.async_rounds = 1``: the next rollout goes on while a round trains, and nothing else changes."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from srs.child import ChildError
from srs.config import Config, DevicesConfig, RunConfig
from srs.lab import Lab
from srs.rollout import Rollout
from srs.train import rolling_out_ahead
from srs.types import RoundPlan

ROUNDS = 3
SETTINGS = (
    "devices.async_rounds=1",
    "generate.engine=transformers",
    "generate.n=2",
    "generate.max_tokens=32",
    "scheduler.tasks_per_round=6",
    "scheduler.new_share=0.5",
    "tasks.limit=24",
    "dpo.enabled=false",
    "eval.limit=3",
    "eval.n=0",
    "eval.every=9",
    "sandbox.backend=process",
)


def start(run: Path, env: dict[str, str], *more: str) -> subprocess.Popen[str]:
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    command = [sys.executable, "-m", "srs.train", "--rounds", str(ROUNDS), "--run-dir", str(run)]
    return subprocess.Popen(
        [*command, *sets, *more],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "SRS_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Path:
    run = tmp_path_factory.mktemp("ahead") / "run"
    finish(start(run, env))
    return run


class Round:
    """The run directory of a run whose round 1 trains: round 2 is planned, ``roll_out`` is its rollout."""

    def __init__(self, rounds: int, roll_out: Callable[[], bool]) -> None:
        self.has_rollout = lambda _: roll_out()
        devices, run = DevicesConfig(async_rounds=1), RunConfig(rounds=rounds)
        self.config = Config(devices=devices, run=run)
        self.started_after = lambda number: number + 1
        self.has = lambda _: True
        self.round = str
        self.read_plan = lambda number: RoundPlan(round=number, new=(), review=())
        self.read_rollout = lambda _: Rollout(graded=())
        self.metrics = lambda: ["the record of round 0"]


def a_lab(run: Round, ahead: ThreadPoolExecutor) -> Lab:
    return cast(Lab, SimpleNamespace(run=run, config=run.config, ahead=ahead))


def test_the_next_rollout_and_training_go_on_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=120)
    with ThreadPoolExecutor(1) as ahead:
        lab = a_lab(Round(2, lambda: both.wait() >= 0), ahead)
        with rolling_out_ahead(lab, 1):
            both.wait()


def test_nothing_goes_on_beside_the_last_round() -> None:
    with ThreadPoolExecutor(1) as ahead, rolling_out_ahead(a_lab(Round(1, fail), ahead), 1):
        pass


def test_a_rollout_that_fails_is_heard_of_after_training_and_one_of_training_at_once() -> None:
    trained = []
    with ThreadPoolExecutor(1) as ahead:
        with (
            pytest.raises(ChildError, match="the engine died"),
            rolling_out_ahead(a_lab(Round(2, fail), ahead), 1),
        ):
            trained.append(1)
        released = threading.Event()
        with (
            pytest.raises(ChildError, match="the trainer died"),
            rolling_out_ahead(a_lab(Round(2, lambda: released.wait(120)), ahead), 1),
        ):
            raise ChildError("the trainer died")
        released.set()
    assert trained == [1]


def fail() -> bool:
    raise ChildError("the engine died")


def test_candidates_are_one_adapter_behind_and_plans_are_not(whole: Path) -> None:
    policies = [
        {row["policy"] for row in lines(whole / f"rounds/000{number}/candidates.jsonl")}
        for number in (1, 2, 3)
    ]
    assert policies == [{"base"}, {"base"}, {"round-0001"}]
    for number in (1, 2):
        this, following = whole / f"rounds/000{number}", whole / f"rounds/000{number + 1}"
        assert written(following / "plan.json") < written(this / "train.json")
        (plan,) = lines(following / "plan.json")
        (before,) = lines(this / "plan.json")
        assert plan["review"], "what was failed is due at once: the plan knows the reviews"
        if number == 1:
            assert set(plan["review"]) <= set(before["new"])
    records = lines(whole / "metrics.jsonl")
    assert [record["round"] for record in records] == [0, 1, 2, 3]
    assert not (whole / "rounds/0004").exists(), "nothing is rolled out ahead of the last round"


def test_a_killed_run_resumes_to_the_same(whole: Path, env: dict[str, str], tmp_path: Path) -> None:
    """Killed while a round trains and the next one's candidates are written."""
    run = tmp_path / "run"
    process = start(run, env)
    while process.poll() is None and not (run / "rounds/0002/plan.json").exists():
        time.sleep(0.005)
    time.sleep(random.Random(5).uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(lines(run / "metrics.jsonl")) == 1, "round 1 was not complete"
    finish(start(run, env, "--resume"))
    assert results(run) == results(whole)


def results(run: Path) -> dict[str, Any]:
    """What the run produced, without what only tells how long it took."""
    found: dict[str, Any] = {}
    for folder in sorted((run / "rounds").iterdir()):
        for name in ("plan.json", "candidates.jsonl", "verdicts.jsonl"):
            if (folder / name).exists():
                found[f"{folder.name} {name}"] = lines(folder / name, without="wall_s")
        if (folder / "train.json").exists():
            found[f"{folder.name} training"] = json.loads((folder / "train.json").read_text())
    for adapter in sorted((run / "adapters").iterdir()):
        found[f"adapter {adapter.name}"] = (adapter / "adapter_model.safetensors").read_bytes()
    found["metrics"] = lines(run / "metrics.jsonl", without="seconds")
    assert len(found) >= 4 * ROUNDS + ROUNDS + 1
    return found


def lines(path: Path, without: str = "") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != without} for row in rows]


def written(path: Path) -> int:
    return path.stat().st_mtime_ns
