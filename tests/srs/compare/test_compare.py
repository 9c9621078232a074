"""The command on the real loop: killed, interrupted, with a failing run, and resumed to its end."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from srs import config as configs
from srs.compare.__main__ import DEFAULT_CONFIG, wanted

SETTINGS = (
    "generate.engine=transformers",
    "generate.n=4",
    "generate.max_tokens=48",
    "scheduler.tasks_per_round=6",
    "scheduler.frozen_tasks=0",
    "tasks.limit=40",
    "finetune.tokens_per_round=400",
    "finetune.steps_per_round=3",
    "eval.limit=6",
    "eval.n=2",
    "eval.rounds=[2]",
    "eval.panel=4",
    "eval.panel_rounds=[1, 2]",
    "sandbox.backend=process",
)


def command(out: Path, *more: str, arms: str = "random_review,sm2") -> list[str]:
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    return [
        *(sys.executable, "-m", "srs.compare", "--arms", arms, "--seeds", "1", "--rounds", "2"),
        *("--final-evaluations", "1"),
        *("--jobs", "2", "--out", str(out), *sets, *more),
    ]


def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=900, env=env)


def start(out: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(out), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def at_work_on(out: Path) -> list[str]:
    found = []
    for proc in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = proc.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(out) in words:
            found.append(words)
    return found


def ended_within(seconds: float, out: Path) -> bool:
    deadline = time.monotonic() + seconds
    while at_work_on(out) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not at_work_on(out)


def test_killed_interrupted_failed_and_resumed(tmp_path: Path) -> None:
    out = tmp_path / "comparison"
    # Without git: this checkout may change while the test runs, and other code would be refused.
    env = {**os.environ, "SRS_CACHE_DIR": str(tmp_path / "cache"), "GIT_DIR": str(tmp_path)}
    first, second = (out / "runs" / arm / "seed-0" for arm in ("random_review", "sm2"))

    killed = start(out, env)
    wait_for(lambda: (first / "rounds/0000/evaluation.json").exists(), killed)
    assert (out / "protocol.json").exists(), "written before the first run"
    assert not (second / "metrics.jsonl").exists(), "waits for the base model's evaluation"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert ended_within(30, out), at_work_on(out)

    interrupted = start(out, env)
    wait_for(lambda: (second / "rounds/0001/plan.json").exists(), interrupted)
    agreed = (out / "protocol.json").read_bytes()
    busy = run(*command(out, "--seeds", "2"), env=env)
    assert busy.returncode == 2
    assert "another comparison is running here" in busy.stderr
    assert (out / "protocol.json").read_bytes() == agreed, "who is refused adds no seeds"
    interrupted.send_signal(signal.SIGINT)
    _, errors = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130, errors
    assert "continue with: python -m srs.compare --arms random_review,sm2" in errors
    assert "Traceback" not in errors
    assert ended_within(5, out), at_work_on(out)

    other = run(*command(out, arms="random_review,leitner"), env=env)
    assert other.returncode == 2
    assert "--arms" in other.stderr

    memory = second / "memory.sqlite"
    for extra in ("-wal", "-shm"):
        memory.with_name(memory.name + extra).unlink(missing_ok=True)
    whole = memory.read_bytes()
    memory.write_bytes(b"x" * 4096)
    failed = run(*command(out), env=env)
    assert failed.returncode == 1, failed.stderr
    assert "sm2, seed 0: exit 2" in failed.stderr
    assert "no seed is finished in every arm (sm2 has 0)" in failed.stderr
    assert (first / "evaluation/comparison.json").exists(), "one failure stops nobody else"
    before = (first / "metrics.jsonl").stat().st_mtime_ns
    memory.write_bytes(whole)

    done = run(*command(out), env=env)
    assert done.returncode == 0, done.stderr
    assert (first / "metrics.jsonl").stat().st_mtime_ns == before, (
        "what is finished isn't run again"
    )
    for name in ("table.md", "verdict.md", "curves.svg", "results.json"):
        assert (out / name).stat().st_size > 100, name
    assert "**No verdict**" in done.stdout
    results = json.loads((out / "results.json").read_text())
    base = [json.loads((r / "rounds/0000/evaluation.json").read_text()) for r in (first, second)]
    assert base[0] == base[1]
    for arm in results["arms"].values():
        assert [point["round"] for point in arm["curve"]] == [0, 2]
        assert [point["candidates"] for point in arm["curve"]] == [0, 48]
        assert arm["spent"]["sft_steps"] == 6
        assert abs(arm["spent"]["sft_tokens"] - 800) < 100
        assert arm["log_loss"] is not None or arm["policy"] == "random_review"
    assert results["n_panel"] == 4
    assert results["averaged"] == 1
    assert "averaged over the last evaluation of" in results["verdict"]["rule"]
    assert results["verdict"]["rule"] in done.stdout
    threads = [
        json.loads((r / "environment.json").read_text())["tuner"]["threads"]
        for r in (first, second)
    ]
    assert threads == [max(1, len(os.sched_getaffinity(0)) // 2)] * 2
    measured = [
        json.loads((first / f"rounds/{name}.json").read_text())
        for name in ("0001/panel", "0002/evaluation")
    ]
    assert [sorted(m["panel"]) for m in measured] == [sorted(base[0]["panel"])] * 2
    assert "per_task" not in measured[0]
    assert not (first / "rounds/0001/evaluation.json").exists()
    assert not (first / "rounds/0002/panel.json").exists(), "the last round is evaluated in full"
    assert results["commits"] == {"unknown": 2}
    assert "It is not known what code made all of it" in done.stdout
    assert results["notes"] == [] or results["notes"][0].startswith("SFT tokens")

    again = run(*command(out), "--analyze-only", env=env)
    assert again.returncode == 0, again.stderr
    assert json.loads((out / "results.json").read_text()) == results


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arms", "unifrom"], "did you mean 'uniform'"),
        (["--arms", "uniform", "--seeds", "0"], "--seeds"),
        (["--arms", "uniform", "--set", "eval.pannel=3"], "eval.panel"),
        (["--arms", "x=sm2+scheduler.new_share=3"], "scheduler.new_share"),
        (["--arms", "x=adaptive+scheduler.hold_share=0.95"], "scheduler.hold_share"),
        (["--arms", "uniform", "--final-evaluations", "0"], "must be from 1 to 9"),
        (["--arms", "uniform", "--final-evaluations", "4"], "3 fall in the last fifth of 40"),
        (["--arms", "uniform", "--jobs", "-1"], "--jobs"),
        ([], "--arms"),
        (["--analyze-only"], "no comparison here"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(sys.executable, "-m", "srs.compare", "--out", str(out), *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("srs.compare: ")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(("rounds", "averaged"), [(1, 1), (20, 2), (40, 3), (80, 1)])
def test_three_evaluations_are_averaged_or_as_many_as_there_are_at_the_end(
    rounds: int, averaged: int
) -> None:
    """With the default config's evaluations, after rounds 8, 16, 24, 32, 36 and 40."""
    asked = argparse.Namespace(
        arms="uniform", seeds=1, rounds=rounds, jobs=0, final_evaluations=None
    )
    found = wanted(asked, configs.load(DEFAULT_CONFIG, []))
    assert found.analysis["averaged"] == averaged


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['srs.compare', '--help']\n"
        "try:\n"
        "    runpy.run_module('srs.compare', run_name='__main__')\n"
        "except SystemExit:\n"
        "    print(sorted({'torch', 'numpy', 'rich', 'pydantic', 'matplotlib', 'fsrs'} & set(sys.modules)))"
    )
    shown = run(sys.executable, "-c", code)
    assert shown.stdout.splitlines()[-1] == "[]", shown.stderr
