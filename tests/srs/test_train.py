"""The command line, on real parts: what it refuses, and a run that learns nothing."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from srs import ending, lab, train
from srs.child import ChildError
from srs.rundir import DiskFullError, RunDir
from srs.tasks import TINY

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
SMALL = (
    "generate.engine=transformers",
    "generate.n=2",
    "generate.max_tokens=32",
    "scheduler.tasks_per_round=4",
    "eval.limit=4",
    "eval.n=0",
    "sandbox.backend=process",
)


def srs_train(
    *arguments: str, settings: tuple[str, ...] = SMALL, **environment: str
) -> subprocess.CompletedProcess[str]:
    sets = [part for setting in settings for part in ("--set", setting)]
    return subprocess.run(
        [sys.executable, "-m", "srs.train", *sets, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    errors = [line for line in done.stderr.splitlines() if line.startswith("srs.train:")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0], done.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "try:\n"
        "    import runpy; sys.argv = ['srs.train', '--help']; runpy.run_module('srs.train', run_name='__main__')\n"
        "except SystemExit:\n"
        "    print(sorted({'torch', 'vllm', 'transformers', 'trl', 'datasets', 'numpy', 'rich', 'pydantic'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks", "nothing/here.jsonl"], ["nothing/here.jsonl", "no such file"]),
        (["--set", "scheduler.polcy=sm2"], ["scheduler.polcy", "scheduler.policy"]),
        (["--set", "scheduler.policy=sm3"], ["scheduler.policy", "sm2"]),
        (["--set", "model.path=/no/such/model"], ["/no/such/model"]),
        (["--config", "no.toml"], ["no.toml"]),
        (["--set", "dpo.extra_pairs=['no.jsonl']"], ["no.jsonl"]),
        (["--rounds", "-1"], ["run.rounds"]),
        (["--resume"], ["no run to resume"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert_refused(srs_train("--run-dir", str(run), *arguments), *words)
    assert not run.exists()


def test_a_hub_id_without_network_says_what_to_do(tmp_path: Path) -> None:
    done = srs_train(
        "--run-dir", str(tmp_path / "run"), "--tasks", "KodCode/KodCode-V1", HF_HUB_OFFLINE="1"
    )
    assert_refused(done, "KodCode/KodCode-V1")
    assert not (tmp_path / "run").exists()


def test_every_bad_row_is_reported(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question_id": "A_1_I"}\nnot json\n')
    done = srs_train("--run-dir", str(tmp_path / "run"), "--tasks", str(rows))
    assert done.returncode == 2
    assert "rows.jsonl:1" in done.stderr
    assert "rows.jsonl:2" in done.stderr


def test_an_engine_that_died_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # main's is for a process of its own

    def died(_: RunDir) -> None:
        raise ChildError("the generation process was ended by SIGKILL\nrun/logs/generate.log ends:")

    monkeypatch.setattr(lab, "open_lab", died)
    run = tmp_path / "run"
    assert train.main(["--run-dir", str(run)]) == ending.CRASHED == 1
    assert capsys.readouterr().err.splitlines() == [
        "srs.train: the generation process was ended by SIGKILL",
        "run/logs/generate.log ends:",
        f"continue with: python -m srs.train --resume --run-dir {run}",
    ]
    RunDir.resume(run).close()  # it is there, and held by nobody


def test_a_full_disk_takes_no_run_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # main's is for a process of its own

    def full(_: RunDir) -> None:
        raise DiskFullError("memory.sqlite: the disk is full; free some space and continue with --resume")  # fmt: skip

    monkeypatch.setattr(lab, "open_lab", full)
    run = tmp_path / "run"
    assert train.main(["--run-dir", str(run)]) == ending.UNUSABLE
    assert f"continue with: python -m srs.train --resume --run-dir {run}" in capsys.readouterr().err
    RunDir.resume(run).close()


def test_a_run_that_ends_early_is_evaluated_at_its_end_and_keeps_its_tasks(tmp_path: Path) -> None:
    """Every task has its turn in round 1, of three, and only every other round is evaluated."""
    run, tasks = tmp_path / "run", tmp_path / "tasks.jsonl"
    tasks.write_text("\n".join((TINY / "train.jsonl").read_text().splitlines()[:8]) + "\n")
    arguments = (
        *("--run-dir", str(run), "--rounds", "3", "--tasks", str(tasks)),
        *("--set", "scheduler.policy=onepass", "--set", "eval.every=2"),
        *("--set", "scheduler.tasks_per_round=8", "--set", "dpo.enabled=false"),
    )
    done = srs_train(*arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [0, 1]
    evaluation = json.loads((run / "rounds/0001/evaluation.json").read_text())
    assert rows[-1]["val_pass_at_1"] == evaluation["pass_at_1"]["value"]
    assert rows[-1]["seconds"]["eval"] > 0

    tasks.write_text("\n".join(tasks.read_text().splitlines()[:-1]) + "\n")
    assert_refused(
        srs_train(*arguments, "--resume"),
        "tasks.jsonl: these are not the tasks that this run began with",
    )


def test_a_run_that_can_learn_nothing_still_runs_and_its_damage_is_named(tmp_path: Path) -> None:
    """MBPP is beyond the tiny model: no passes, no pairs, and nothing to train on from itself."""
    if not DATA.is_dir():
        pytest.skip(f"the KodCode-shaped MBPP rows are not at {DATA}")
    run = tmp_path / "run"
    small = (*SMALL, "finetune.target=self", "tasks.limit=12", "sandbox.timeout_s=30")
    arguments = (
        "--run-dir",
        str(run),
        "--tasks",
        str(DATA / "mbpp_kodcode.jsonl"),
        "--rounds",
        "2",
    )
    done = srs_train(*arguments, settings=small)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [0, 1, 2]
    assert all(row["n_candidates"] == 8 for row in rows[1:])
    assert (run / "report.html").stat().st_size > 10_000
    if not any(row["pass_rate"] for row in rows[1:]):
        assert (run / "pairs.jsonl").read_text() == ""
        assert not (run / "adapters").exists()

    assert_refused(srs_train(*arguments, settings=small), "add --resume")
    assert_refused(
        srs_train(*arguments, "--resume", "--set", "run.seed=3", settings=small),
        "run.seed = 0, not 3",
    )
    memory = run / "memory.sqlite"
    for extra in ("-wal", "-shm"):
        memory.with_name(memory.name + extra).unlink(missing_ok=True)
    memory.write_bytes(b"x" * 4096)
    refused = srs_train("--run-dir", str(run), "--resume", settings=())
    assert_refused(refused, "memory.sqlite")
    assert memory.read_bytes() == b"x" * 4096


def test_a_newer_memory_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    from srs import config as configs

    (run / "config.json").write_text(json.dumps(configs.to_dict(configs.Config())))
    with sqlite3.connect(run / "memory.sqlite") as memory:
        memory.execute("PRAGMA user_version = 9999")
    done = srs_train("--run-dir", str(run), "--resume", settings=())
    assert done.returncode == 2, done.stderr
    assert "newer" in done.stderr
    assert (run / "memory.sqlite").is_file()
