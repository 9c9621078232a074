"""The command line: a table and results.json, calibration from run directories, errors in one line."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler.simulator.__main__ import main, read_run
from scheduler.simulator.calibrate import calibrate
from scheduler.simulator.parameters import Parameters, from_toml

SMALL = ["--tasks", "150", "--rounds", "6", "--tasks-per-round", "12", "--n", "3", "--frozen", "3"]


def test_a_comparison_is_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "l.toml").write_text("reach = 0.7\n")
    out = tmp_path / "out"
    arguments = [*SMALL, "--seeds", "2", "--learner", str(tmp_path / "l.toml"), "--out", str(out)]
    assert main(["--policies", "sm2, uniform", *arguments]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split()[:2] == ["policy", "held-out,"]
    assert [line.split()[0] for line in lines[1:3]] == ["sm2", "uniform"]
    assert "uniform, seed 1" in printed.err
    results = json.loads((out / "results.json").read_text())
    assert results["parameters"]["reach"] == 0.7
    assert [(s["policy"], s["seed"]) for s in results["scores"]] == [
        ("sm2", 0), ("uniform", 0), ("sm2", 1), ("uniform", 1),
    ]  # fmt: skip
    assert all(len(run["rounds"]) == 6 for run in results["runs"])
    assert results["runs"][0]["rounds"][0]["n_candidates"] == 36


def test_the_share_for_held_tasks_can_be_chosen(tmp_path: Path) -> None:
    found = []
    for share in ("0.1", "0.8"):
        command = [*SMALL, "--rounds", "20", "--seeds", "1", "--policies", "adaptive"]
        assert main([*command, "--hold-share", share, "--out", str(tmp_path / share)]) == 0
        found.append(json.loads((tmp_path / share / "results.json").read_text())["scores"])
    assert found[0] != found[1]


def test_the_module_runs_as_a_program() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "scheduler.simulator", "--policies", "seed", "--seeds", "1", *SMALL],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "seed " in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "sm3"], "did you mean 'sm2'?"),
        (["--tasks", "0"], "--tasks: must be 1 or more"),
        (["--new-share", "2"], "--new-share: must be from 0 to 1"),
        (["--frozen", "-1"], "--frozen: must be 0 or more"),
        (["--hold-share", "1"], "scheduler.hold_share: must be above 0 and below 0.9"),
        (["--learner", "nowhere.toml"], "nowhere.toml: cannot read it"),
        (["--calibrate", "nowhere"], "nowhere/config.json: cannot read it"),
    ],
)
def test_unusable_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A run directory as `srs.train` leaves it: two finished rounds, and a third that was cut."""
    folder = tmp_path / "run"
    for number in range(4):
        (folder / "rounds" / f"{number:04d}").mkdir(parents=True)
    (folder / "config.json").write_text('{"scheduler": {"tasks_per_round": 3}}')
    for number, plan in ((1, ["a", "b"]), (2, ["c"]), (3, ["d"])):
        part = folder / "rounds" / f"{number:04d}"
        review = ["a"] if number == 2 else []
        (part / "plan.json").write_text(
            json.dumps({"round": number, "new": plan, "review": review})
        )
        if number < 3:
            (part / "verdicts.jsonl").write_text(
                "".join(
                    json.dumps({"task": task, "outcome": outcome}) + "\n"
                    for task in plan + review
                    for outcome in ("passed", "failed", "tampered")
                )
            )
    for number, passed in ((0, 1), (2, 2)):
        (folder / "rounds" / f"{number:04d}" / "evaluation.json").write_text(
            json.dumps({"sampled_per_task": {f"out-{i}": [passed, 3] for i in range(5)}})
        )
    (folder / "rounds" / "0001" / "panel.json").write_text(
        json.dumps({"panel": {"a": [[1, 2], [2, 2]], "b": [[0, 2], [0, 2]]}})
    )
    return folder


def test_a_run_directory_is_read_up_to_its_last_finished_round(recorded: Path) -> None:
    run = read_run(recorded)
    assert (run.name, run.tasks_per_round, len(run.rounds)) == ("run", 3, 3)
    assert [len(part.reviews) for part in run.rounds] == [0, 2, 2]
    assert [len(part.evaluations) for part in run.rounds] == [5, 2, 5]
    assert [r.n_passed for r in run.rounds[1].evaluations] == [3, 0]
    assert run.held_out == {f"out-{i}" for i in range(5)}, "and not the panel's"
    assert run.rounds[2].reviews[1].pass_rate == pytest.approx(1 / 3)


def test_calibration_prints_its_fit_and_writes_a_learner(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fitted.toml"
    before = sorted(path.stat().st_mtime_ns for path in recorded.rglob("*"))
    assert main(["--calibrate", str(recorded), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "told by the data" in printed
    assert [line.split()[0] for line in printed.splitlines()[1:4]] == ["new", "review", "held"]
    fitted = from_toml(out.read_text(), str(out))
    assert fitted != Parameters()
    assert sorted(path.stat().st_mtime_ns for path in recorded.rglob("*")) == before
    assert main([*SMALL, "--policies", "sm2", "--seeds", "1", "--learner", str(out)]) == 0


def test_an_interrupted_calibration_keeps_its_best_and_goes_on_from_it(
    recorded: Path, tmp_path: Path
) -> None:
    out, unfinished = tmp_path / "fitted.toml", tmp_path / "fitted.toml.unfinished"
    out.write_text("reach = 0.7\n")
    command = [sys.executable, "-m", "scheduler.simulator", "--out", str(out), "--calibrate"]
    with subprocess.Popen(
        [*command, *[str(recorded)] * 200], stderr=subprocess.PIPE, text=True
    ) as fitting:
        assert fitting.stderr is not None
        costs = [cost_said(fitting.stderr.readline())]
        while costs[-1] > costs[0] - 1:
            costs.append(cost_said(fitting.stderr.readline()))
        fitting.send_signal(signal.SIGINT)
        *more, said, error = fitting.stderr.read().splitlines()
    assert fitting.returncode == 130
    assert (said, error) == (
        f"the best so far: --learner {unfinished} goes on from it",
        "error: interrupted",
    )
    assert out.read_text() == "reach = 0.7\n", "a fit that has not ended replaces no other"
    kept = float(unfinished.read_text().splitlines()[0].split()[-2])
    assert kept <= min([*costs, *map(cost_said, more)])

    class EnoughError(Exception):
        pass

    def first(_: int, cost: float, __: Parameters) -> None:
        assert cost == pytest.approx(kept, abs=0.01)
        raise EnoughError

    begun = from_toml(unfinished.read_text(), str(unfinished))
    with pytest.raises(EnoughError):
        calibrate([read_run(recorded)] * 200, first, begun)
    again = ["--calibrate", str(recorded), "--learner", str(unfinished), "--out", str(out)]
    assert main(again) == 0
    assert from_toml(out.read_text(), str(out)) != begun
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["fitted.toml"]


def cost_said(line: str) -> float:
    """``evaluation 12: 345.67 nats``."""
    return float(line.split()[2])


def test_a_place_that_cannot_be_written_is_said_before_the_fit(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nowhere" / "fitted.toml"
    assert main(["--calibrate", str(recorded), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {out}.unfinished: cannot write it: No such file or directory\n"


def test_damaged_runs_are_named(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = recorded / "rounds" / "0002" / "verdicts.jsonl"
    verdicts.write_text(verdicts.read_text()[:40])
    assert main(["--calibrate", str(recorded)]) == 2
    assert f"error: {verdicts}: not the verdicts of" in capsys.readouterr().err
    (recorded / "rounds" / "0001" / "verdicts.jsonl").unlink()
    assert main(["--calibrate", str(recorded)]) == 2
    assert "no finished round" in capsys.readouterr().err
