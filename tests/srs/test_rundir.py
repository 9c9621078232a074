"""Phases appear whole or not at all, and one process holds a run."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srs import config as configs
from srs.config import Config, RunConfig
from srs.rollout import Rollout
from srs.rundir import RunDir, as_stored
from srs.types import Candidate, RoundRecord, UserError, Verdict


def record(number: int) -> RoundRecord:
    values = {field.name: None for field in dataclasses.fields(RoundRecord)}
    return RoundRecord(**{**values, "round": number, "seconds": {}})  # type: ignore[arg-type]


def graded(text: str) -> tuple[Candidate, Verdict]:
    candidate = Candidate(
        task="t", round=1, index=0, prompt="p", completion=text, code=None, policy="base",
        seed=1, n_tokens=3, truncated=False,
    )  # fmt: skip
    verdict = Verdict(
        task="t", round=1, index=0, outcome="no_code", n_passed=0, n_collected=2, wall_s=0.0
    )
    return candidate, verdict


def test_a_run_can_be_closed_and_resumed(tmp_path: Path) -> None:
    with RunDir.create(tmp_path / "run", Config()) as run:
        run.add_metrics(record(0))
    with RunDir.resume(tmp_path / "run") as again:
        assert again.config == Config()
        assert [row.round for row in again.metrics()] == [0]


def test_records_survive_surrogates_and_line_separators(tmp_path: Path) -> None:
    odd = "a\ud800b\u2028c\x85d\x00\r\n"
    with RunDir.create(tmp_path / "run", Config()) as run:
        run.write_rollout(1, Rollout(graded=(graded(odd),)))
        assert run.read_rollout(1).graded == (graded(odd),)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    with RunDir.create(tmp_path / "run", Config()) as run:
        run.write_json("a.json", 1)
        with pytest.raises(TypeError):
            run.write_json("a.json", [1, object()])
        assert run.read_json("a.json") == 1
    with RunDir.resume(tmp_path / "run"):
        assert not list((tmp_path / "run").rglob("*.partial"))


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunDir.create(tmp_path / "run", Config()) as run:

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"a\.json: the disk is full.*--resume"):
            run.write_json("a.json", 1)
        assert not run.has("a.json")
        assert not run.has("a.json.partial")


def test_a_full_disk_at_the_start_leaves_nothing_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"the disk is full; free some space and start again"):
            RunDir.create(tmp_path / "run", Config())
    assert not (tmp_path / "run").exists()
    RunDir.create(tmp_path / "run", Config()).close()


def test_what_a_start_that_was_killed_leaves_is_no_run(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("12345")
    (tmp_path / "config.json.partial").write_text("{")
    with RunDir.create(tmp_path, Config()) as run:
        assert run.config == Config()


@pytest.mark.parametrize("name", ["mine.txt", "download.partial"])
def test_a_folder_with_other_files_is_not_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match="not empty; choose another --run-dir"):
        RunDir.create(tmp_path, Config())


def test_creating_over_a_run_points_to_resume(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "run", Config()).close()
    with pytest.raises(UserError, match="add --resume"):
        RunDir.create(tmp_path / "run", Config())


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run to resume"):
        RunDir.resume(tmp_path)


def test_another_config_is_refused_by_key(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "run", Config()).close()
    with pytest.raises(UserError, match=r"started with run\.seed = 0, not 5"):
        RunDir.resume(tmp_path / "run", lambda c: configs.override(c, ["run.seed=5"]))


def test_a_config_is_stored_once_it_works_here(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "run", Config()).close()
    for kept in (False, True):
        with RunDir.resume(
            tmp_path / "run", lambda c: configs.override(c, ["sandbox.backend=docker"])
        ) as run:
            if kept:
                run.keep_config()
        with RunDir.resume(tmp_path / "run") as run:
            assert run.config.sandbox.backend == ("docker" if kept else Config().sandbox.backend)


def test_a_config_file_takes_nothing_back_that_was_said_beside_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stored = configs.override(Config(), ["run.rounds=300", "sandbox.backend=process"])
    assert as_stored(Config(), stored, ()) == stored
    assert "run.rounds stays 300, not 10: name it with --set to change it" in caplog.text
    asked = configs.override(Config(), ["run.rounds=20", "run.seed=5"])
    found = as_stored(asked, stored, {"run.rounds"})
    assert (found.run.rounds, found.sandbox.backend) == (20, "process")
    assert found.run.seed == 5, "what may not change is refused elsewhere"


def test_more_rounds_are_not_another_config(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "run", Config(run=RunConfig(rounds=2))).close()
    with RunDir.resume(tmp_path / "run", lambda c: configs.override(c, ["run.rounds=4"])) as run:
        assert run.config.run.rounds == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("devices.placement", "colocated"),
        ("devices.replicas", "2"),
        ("devices.tensor_parallel", "2"),
        ("devices.train_devices", "1"),
        ("devices.train_processes", "2"),
        ("generate.gpu_memory_utilization", "0.5"),
    ],
)
def test_a_run_may_go_on_with_other_devices(tmp_path: Path, key: str, value: str) -> None:
    RunDir.create(tmp_path / "run", Config()).close()
    for text in (
        f"{key}={value}",
        f"{key}={getattr(getattr(Config(), key.split('.')[0]), key.split('.')[1])}",
    ):
        with RunDir.resume(
            tmp_path / "run", lambda c, text=text: configs.override(c, [text])
        ) as run:
            assert run.config == configs.override(Config(), [text])


def test_how_far_generation_runs_ahead_is_what_the_run_is(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "run", Config()).close()
    with pytest.raises(UserError, match=r"started with devices\.async_rounds = 0, not 1"):
        RunDir.resume(tmp_path / "run", lambda c: configs.override(c, ["devices.async_rounds=1"]))


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with RunDir.create(tmp_path / "run", Config()):
        code = (
            "import sys; from pathlib import Path; from srs.rundir import RunDir\n"
            "from srs.types import UserError\n"
            "try: RunDir.resume(Path(sys.argv[1]))\n"
            "except UserError as e: print(e)"
        )
        shown = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True
        )
        assert f"another process (pid {os.getpid()}) is using this run" in shown.stdout


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    with RunDir.create(tmp_path / "run", Config()) as run:
        (run.path / "metrics.jsonl").write_text('{"round": ')
        with pytest.raises(UserError, match=r"metrics\.jsonl: damaged"):
            run.metrics()


def test_metrics_are_added_once_per_round(tmp_path: Path) -> None:
    with RunDir.create(tmp_path / "run", Config()) as run:
        for number in (0, 1, 1, 4):
            run.add_metrics(record(number))
        lines = (run.path / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["round"] for line in lines] == [0, 1, 4]


def test_the_newest_adapter_is_the_newest_before_the_round(tmp_path: Path) -> None:
    with RunDir.create(tmp_path / "run", Config()) as run:
        assert run.latest_adapter(9) is None
        for name in (1, 3, "dpo"):
            run.adapter(name).mkdir(parents=True)
        assert [run.latest_adapter(n) for n in (1, 2, 3, 4)] == [None, 1, 1, 3]


def test_time_adds_up_over_interruptions(tmp_path: Path) -> None:
    with RunDir.create(tmp_path / "run", Config()) as run:
        run.add_seconds(1, {"generate": 1.0})
    with RunDir.resume(tmp_path / "run") as run:
        run.add_seconds(1, {"generate": 0.5, "grade": 2.0})
        assert run.seconds(1) == {"generate": 1.5, "grade": 2.0}
