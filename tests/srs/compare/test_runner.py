"""Which run comes next, what a run begins with, and what the board says."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from srs import config as configs
from srs.compare.arms import parse
from srs.compare.board import Board
from srs.compare.protocol import Protocol
from srs.compare.runner import Run, held, next_run, planned, prepare
from srs.rundir import RunDir
from srs.types import UserError

CONFIG = configs.load(None, ["sandbox.workers=3"])


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    protocol = Protocol(
        arms=parse("uniform,slow=sm2+scheduler.new_share=0.2"),
        rounds=2,
        seed_batches=((0, 1),),
        config=CONFIG,
        codes=("abc",),
    )
    return planned(protocol, CONFIG, tmp_path)


def measured(run: Run, text: str = '{"policy": "base"}') -> None:
    run.base_evaluation.parent.mkdir(parents=True)
    run.base_evaluation.write_text(text)


def test_runs_come_seed_by_seed_with_their_own_config(runs: list[Run]) -> None:
    assert [run.cell for run in runs] == [("uniform", 0), ("slow", 0), ("uniform", 1), ("slow", 1)]
    assert runs[3].path.parts[-3:] == ("runs", "slow", "seed-1")
    slow = runs[3].config
    assert (slow.scheduler.policy, slow.scheduler.new_share) == ("sm2", 0.2)
    assert (slow.run.seed, slow.run.rounds) == (1, 2)
    assert "sandbox.workers=3" in runs[3].command


def test_one_run_of_each_seed_measures_the_base_model(runs: list[Run]) -> None:
    assert next_run(runs, set()) == runs[0]
    assert next_run(runs[1:], {0}) == runs[2], "another seed meanwhile"
    assert next_run([runs[1], runs[3]], {0, 1}) is None, "nothing to do but wait"
    measured(runs[1])
    assert next_run([runs[1], runs[3]], {0, 1}) == runs[1]


def test_the_others_begin_with_its_evaluation(runs: list[Run]) -> None:
    prepare(runs[0], runs)
    assert not runs[0].base_evaluation.exists()
    measured(runs[0])
    for run in runs[1:]:
        prepare(run, runs)
    assert runs[1].base_evaluation.read_text() == runs[0].base_evaluation.read_text()
    assert not runs[2].base_evaluation.exists(), "another seed samples other answers"
    stored = json.loads((runs[1].path / "config.json").read_text())
    assert configs.from_dict(stored, "test") == runs[1].config
    RunDir.resume(runs[1].path).close()


def test_a_run_that_has_begun_is_left_as_it_is(runs: list[Run]) -> None:
    prepare(runs[0], runs)
    measured(runs[0], "its own")
    (runs[0].path / "more").write_text("kept")
    measured(runs[1], "another's")
    prepare(runs[0], runs)
    assert runs[0].base_evaluation.read_text() == "its own"
    assert (runs[0].path / "more").exists()


def test_a_folder_without_a_config_is_begun_anew(runs: list[Run]) -> None:
    runs[0].path.mkdir(parents=True)
    (runs[0].path / "config.json.partial").write_text("{")
    prepare(runs[0], runs)
    assert (runs[0].path / "config.json").exists()
    assert not (runs[0].path / "config.json.partial").exists()


def test_a_folder_is_held_by_one_comparison(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(UserError, match="another comparison"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_the_board_off_a_terminal_prints_a_line_for_each_change(runs: list[Run]) -> None:
    now = [0.0]
    shown = io.StringIO()
    board = Board(
        {run.cell: run.path for run in runs},
        done=[("uniform", 0)],
        rounds=2,
        jobs=2,
        console=Console(file=shown, width=200),
        clock=lambda: now[0],
    )
    with board:
        board.started(("slow", 0))
        board.started(("uniform", 1))
        now[0] = 100.0
        board.ended(("slow", 0), failed=False)
        board.refresh()
        now[0] = 120.0
        board.ended(("uniform", 1), failed=True)
    assert shown.getvalue().splitlines() == [
        "slow, seed 0: running",
        "uniform, seed 1: running",
        "slow, seed 0: done in 1m40s; 2 of 4 runs done, 1 running, 50.0s left",
        "uniform, seed 1: failed in 2m00s; 2 of 4 runs done, 1 failed, 1m40s left",
    ]


def test_the_boards_table_shows_how_far_each_run_is(runs: list[Run], tmp_path: Path) -> None:
    board = Board(
        {run.cell: run.path for run in runs}, done=[], rounds=2, jobs=1, console=Console(file=io.StringIO())
    )  # fmt: skip
    board.started(("slow", 1))
    runs[3].path.mkdir(parents=True)
    (runs[3].path / "metrics.jsonl").write_text("half a li")
    page = Console(file=io.StringIO(), width=100, record=True)
    page.print(board.view())
    lines = page.export_text().splitlines()
    assert lines[0].split() == ["arm", "seed", "0", "seed", "1"]
    assert lines[1].split() == ["uniform", "waiting", "waiting"]
    assert lines[2].split() == ["slow", "waiting", "0/2"]
    assert "0 of 4 runs done, 1 running" in lines[3]
    assert tmp_path in runs[3].path.parents
