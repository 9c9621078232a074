"""`python -m scheduler.explain` on real stores."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from memory.store import Store
from scheduler import explain
from scheduler.config import PolicyName
from scheduler.policies import policy
from srs.config import Config, to_dict
from srs.types import Review

ROOT = Path(__file__).parents[2]


def run_dir(path: Path, name: str, passes: list[int], *, recorded_by: str = "") -> Path:
    """A run whose task "Prefill_1_I" was reviewed whenever due, with a probe before the last review."""
    config = to_dict(Config())
    config["scheduler"]["policy"] = name
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    update = policy(recorded_by or name).update
    with Store.open(path / "memory.sqlite") as store:
        store.add_tasks(["Prefill_1_I", "Prefill_2_I", "Leet_40_OJ"])
        for i, n_passed in enumerate(passes):
            card = store.card("Prefill_1_I")
            round = card.due_round if card else 1
            kind = "audit" if card and card.status != "active" else "practice"
            review = Review(
                task="Prefill_1_I", round=round, n_passed=n_passed, n_graded=5, kind=kind
            )  # type: ignore[arg-type]
            store.record(round, [review], update)
            if i == len(passes) - 2:
                probe = Review(
                    task="Prefill_1_I", round=round + 1, n_passed=4, n_graded=5, kind="probe"
                )
                if store.card("Prefill_1_I").due_round > round + 1:  # type: ignore[union-attr]
                    store.record(round + 1, [probe], update)
    return path


@pytest.fixture
def sm2_run(tmp_path: Path) -> Path:
    return run_dir(tmp_path / "run", "sm2", [5, 5, 1])


def test_the_history_of_a_card(sm2_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain.main(["--run", str(sm2_run), "--task", "Prefill_1_I"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Prefill_1_I (policy sm2)",
        "",
        "round  kind      passed  expected  interval  due  status  why",
        "1      practice  5/5     -         2         3    active  first success in a row (all passed): the start interval",
        "3      practice  5/5     -         5         8    active  success 2 in a row: gap 2 x ease 2.70",
        "4      probe     4/5     -         -         -    -       a frozen task, only measured: the card stays as it was",
        "8      practice  1/5     -         1         9    active  failed (less than 60% passed), a lapse: ease 2.70 to 2.50; again next round",
        "",
        "active, due in round 9; reviews 3, lapses 1, successes in a row 0",
    ]


def test_a_frozen_card_is_not_called_due(sm2_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(sm2_run / "memory.sqlite") as store:
        for round in (9, 10):
            probe = Review(task="Prefill_1_I", round=round, n_passed=5, n_graded=5, kind="probe")
            store.record(round, [probe], policy("sm2").update)
    assert explain.main(["--run", str(sm2_run), "--task", "Prefill_1_I"]) == 0
    out = capsys.readouterr().out
    assert "due in round" not in out
    assert "active, but frozen since round 9: never practised or audited again" in out


def test_where_tasks_are_frozen_a_twin_may_be_why_a_card_does_not_come_back(
    sm2_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((sm2_run / "config.json").read_text())
    config["scheduler"]["frozen_tasks"] = 4
    (sm2_run / "config.json").write_text(json.dumps(config))
    assert explain.main(["--run", str(sm2_run), "--task", "Prefill_1_I"]) == 0
    assert "active, due in round 9, unless a twin of it is frozen; " in capsys.readouterr().out


def test_expected_against_observed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_dir(tmp_path / "run", "adaptive", [5, 5, 5, 5, 2])
    assert explain.main(["--run", str(run), "--task", "Prefill_1_I"]) == 0
    out = capsys.readouterr().out
    *_, last = (line for line in out.splitlines() if "audit" in line and "2/5" in line)
    assert "a lapse: again in 4 rounds" in last
    assert "no longer graduated" in last
    reviews = [line.split() for line in out.splitlines()[3:] if line and line[0].isdigit()]
    expected = [float(row[3]) for row in reviews[1:]]
    observed = [int(row[2][0]) / 5 for row in reviews[1:]]
    mean = sum(expected) / len(expected)
    assert f"observed {sum(observed) / len(observed):.2f}, mean of {len(expected)} reviews" in out
    assert abs(float(out.rpartition("expected pass rate ")[2][:4]) - mean) < 0.011


@pytest.mark.parametrize("name", get_args(PolicyName))
def test_every_policy_explains_a_card(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_dir(tmp_path / "run", name, [5, 4, 0, 0, 3, 5])
    assert explain.main(["--run", str(run), "--task", "Prefill_1_I"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Prefill_1_I (policy {name})")
    assert "stored card differs" not in out


def test_a_card_that_another_policy_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_dir(tmp_path / "run", "sm2", [5, 5], recorded_by="leitner")
    assert explain.main(["--run", str(run), "--task", "Prefill_1_I"]) == 0
    assert "The stored card differs from this replay" in capsys.readouterr().out


def test_a_task_without_reviews(sm2_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain.main(["--run", str(sm2_run), "--task", "Leet_40_OJ"]) == 0
    assert capsys.readouterr().out == "Leet_40_OJ: no review yet (policy sm2)\n"


@pytest.mark.parametrize(
    ("wrong", "near"), [("Prefil_1_I", "Prefill_1_I"), ("leet_40", "Leet_40_OJ")]
)
def test_an_unknown_task_names_the_nearest(
    wrong: str, near: str, sm2_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain.main(["--run", str(sm2_run), "--task", wrong]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(f"no task '{wrong}'; did you mean '{near}'?\n")
    assert err.count("\n") == 1


def broken_runs(path: Path) -> Iterator[tuple[Path, str]]:
    yield path / "nowhere", "not a readable run config"
    no_json = path / "no_json"
    no_json.mkdir()
    (no_json / "config.json").write_text("{")
    yield no_json, "not a readable run config"
    no_memory = path / "no_memory"
    no_memory.mkdir()
    (no_memory / "config.json").write_text(json.dumps(to_dict(Config())))
    yield no_memory, "memory.sqlite: no such file"
    no_policy = run_dir(path / "no_policy", "sm2", [5])
    config = json.loads((no_policy / "config.json").read_text())
    config["scheduler"]["policy"] = "sm3"
    (no_policy / "config.json").write_text(json.dumps(config))
    yield no_policy, "scheduler.policy"


def test_unusable_runs_say_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, message in broken_runs(tmp_path):
        assert explain.main(["--run", str(run), "--task", "t"]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
        assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "no_memory" / "memory.sqlite").exists()


def test_a_run_that_is_going_on_can_be_read(sm2_run: Path) -> None:
    with Store.open(sm2_run / "memory.sqlite") as store:
        review = Review(task="Prefill_1_I", round=9, n_passed=3, n_graded=5)
        store.record(9, [review], policy("sm2").update)
        assert "\n9      practice  3/5" in explain.explain(sm2_run, "Prefill_1_I")


def test_the_command(sm2_run: Path) -> None:
    command = [sys.executable, "-m", "scheduler.explain", "--run", str(sm2_run), "--task", "x"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("explain: ")
