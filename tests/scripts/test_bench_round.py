"""Real rounds of the tiny lab, timed; and the arithmetic of the figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench_round import Round, model_processes, summary

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_round.py"
SMALL = (
    "generate.engine=transformers",
    "generate.n=2",
    "generate.max_tokens=48",
    "scheduler.tasks_per_round=4",
    "tasks.limit=12",
    "sandbox.backend=process",
    "sandbox.workers=1",
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    sets = [part for setting in SMALL for part in ("--set", setting)]
    return subprocess.run(
        [sys.executable, str(SCRIPT), *sets, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_real_rounds_are_timed(tmp_path: Path) -> None:
    out = tmp_path / "round.json"
    done = run("--rounds", "1", "--json", str(out))
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    (only,) = found["rounds"]
    assert only["number"] == 2  # the first and the last of three don't count
    assert only["same"], "generation alone gave other candidates than the round"
    assert only["wall_s"] > only["train_s"] + only["report_s"] > only["report_s"] > 0
    assert min(only["generate_s"], only["grade_s"], found["start_up_s"]) > 0
    bound_s = max(only["generate_s"], only["grade_s"]) + only["train_s"]
    assert found["median"]["ratio"] == pytest.approx(only["wall_s"] / bound_s)
    assert found["model_processes_started_again"] == 0
    assert len(found["swaps_s"]) == 5
    assert f"{found['median']['ratio']:.2f}" in done.stdout
    assert "engine start-up" in done.stdout


def test_medians_and_ratios() -> None:
    def one(number: int, wall_s: float) -> Round:
        times = {"generate_s": 3.0, "grade_s": 4.0, "train_s": 6.0, "report_s": 0.5}
        return Round(number=number, wall_s=wall_s, same=True, **times)

    found = summary([one(2, 10.0), one(3, 20.0), one(4, 12.0)], 30.0, [0.2, 0.1, 0.3])
    assert found["median"]["bound_s"] == 10.0
    assert found["median"]["ratio"] == pytest.approx(1.2)
    assert (found["swap_s"], found["start_up_s"]) == (0.2, 30.0)
    assert [r["ratio"] for r in found["rounds"]] == pytest.approx([1.0, 2.0, 1.2])


def test_a_model_process_is_told_from_others() -> None:
    assert model_processes() == set()
    with subprocess.Popen(
        [sys.executable, "-c", "input()", "srs.child"], stdin=subprocess.PIPE
    ) as child:
        found = model_processes()
        assert child.stdin is not None
        child.stdin.close()
    assert found == {child.pid}
    assert os.getpid() not in found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "devices.async_rounds=1"], "devices.async_rounds"),
        (["--config", "no.toml"], "no.toml"),
        (["--rounds", "0"], "--rounds"),
    ],
)
def test_unusable_input(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
