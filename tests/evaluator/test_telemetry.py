import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evaluator.telemetry import main

ROOT = Path(__file__).parents[2]


def event(kind: str, user: str, **keys: Any) -> str:
    return json.dumps({"event": kind, "user": user} | keys)


LINES = [
    event("opportunity", "ann", count=3, language="python", session="1"),
    event("opportunity", "ann", id="s1", language="python", session="1"),
    event("attempt", "ann", id="s1"),
    event("shown", "ann", id="s1"),
    event("accepted", "ann", id="s1", text="x = 1\n", tokens=3),
    event("kept", "ann", id="s1", after_s=600, text="x = 2\n"),
    event("opportunity", "ann", id="s2", language="python", session="2"),
    event("attempt", "ann", id="s2"),
    event("shown", "ann", id="s2"),
    event("rejected", "ann", id="s2"),
    event("typed", "ann", characters=18, language="go", session="2"),
    event("opportunity", "bob", id="s3", language="go", session="1"),
    event("attempt", "bob", id="s3"),
    event("shown", "bob", id="s3"),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    return path


def report(capsys: pytest.CaptureFixture[str], *args: str | Path) -> dict[str, Any]:
    assert main([*map(str, args), "--json"]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def test_the_report_by_hand(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, log)
    assert (found["lines"], found["bad_lines"], found["cluster"]) == (14, [], "user")
    group = found["groups"]["all"]
    assert (group["clusters"], group["rejected"]) == (2, 1)
    sums = {k: (m["numerator"], m["denominator"]) for k, m in group["metrics"].items()}
    assert sums == {
        "attempt_rate": (3, 6),
        "feedback_rate": (3, 3),
        "acceptance_rate": (1, 3),
        "tokens_per_acceptance": (3, 1),
        "characters_per_token": (6, 3),
        "cpo": (6, 6),
        "generated_share": (6, 24),
        "accepted_lines": (1, 1),
        "retained_share": (1, 1),
        "unchanged_share": (0, 1),
    }
    rate = group["metrics"]["acceptance_rate"]
    # ann 1 of 2, bob 0 of 1: both ann, both bob, or one of each.
    assert (rate["value"], rate["low"], rate["high"]) == (1 / 3, 0, 1 / 2)
    assert rate["of"] == "shown"


def test_the_page_says_what_is_divided_by_what(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(log)]) == 0
    out, err = capsys.readouterr()
    assert "  acceptance rate          33.3%  [0.0, 50.0]     1 of 3 shown\n" in out
    assert "  cpo                       1.00  [0.00, 1.20]    6 of 6 opportunities\n" in out
    assert "all (2 users: so few give no interval" in out
    assert err == ""


def test_groups(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_language = report(capsys, log, "--by", "language")
    assert list(by_language["groups"]) == ["go", "python"]
    shares = {name: group["metrics"]["generated_share"] for name, group in by_language["groups"].items()}  # fmt: skip
    assert (shares["python"]["value"], shares["go"]["value"]) == (1, 0)
    assert shares["python"]["low"] is None  # ann alone
    by_user = report(capsys, log, "--by", "user")
    assert by_user["cluster"] == "session"
    assert by_user["groups"]["ann"]["clusters"] == 2
    assert report(capsys, log, "--by", "user", "--cluster", "user")["cluster"] == "user"


def test_a_grouping_key_that_lines_lack_is_named(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(log), "--by", "model"]) == 2
    err = capsys.readouterr().err
    assert f"{log}:1: no model, which is asked for" in err
    assert "14 of 14 lines can't be used" in err


def test_what_the_log_does_not_record_is_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f"{event('shown', 'ann', id='1')}\n")
    metrics = report(capsys, path)["groups"]["all"]["metrics"]
    assert metrics["acceptance_rate"]["value"] == 0
    assert metrics["cpo"] == {"not_measured": "the log has no opportunity events"}
    assert metrics["attempt_rate"] == {"not_measured": "the log has no attempt and no opportunity events"}  # fmt: skip
    assert main([str(path)]) == 0
    assert (
        "  generated share              -  the log has no typed events\n" in capsys.readouterr().out
    )


def test_bad_lines_stop_it_or_are_left_out(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = report(capsys, log)["groups"]
    log.write_text("\n".join([LINES[0], "{", *LINES[1:], LINES[-1]]) + "\n")
    assert main([str(log)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: 2 of 16 lines can't be used:" in err
    assert f"{log}:2: Invalid JSON" in err
    assert f"{log}:16: id 's3': a second shown line" in err
    assert "--skip-bad" in err
    assert main([str(log), "--skip-bad", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["groups"] == good
    assert [bad["line"] for bad in found["bad_lines"]] == [2, 16]
    assert err.startswith("left out: 2 of 16 lines")


def test_many_bad_lines_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("{\n" * 25)
    assert main([str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count(f"{path}:") == 20
    assert "and 5 more" in err
    assert main([str(path), "--skip-bad"]) == 2
    assert "none of its 25 lines can be used" in capsys.readouterr().err


@pytest.mark.parametrize("window", ["-1", "nan", "inf"])
def test_a_window_that_is_none(log: Path, window: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(log), "--window-s", window]) == 2
    assert "--window-s must be 0 or more" in capsys.readouterr().err


def test_the_window_moves_the_look(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = report(capsys, log, "--window-s", "601")["groups"]["all"]["metrics"]["retained_share"]
    assert (late["numerator"], late["denominator"], late["value"]) == (0, 0, None)


def test_files_that_hold_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing.jsonl")]) == 2
    (tmp_path / "empty.jsonl").touch()
    assert main([str(tmp_path / "empty.jsonl")]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_help_loads_nothing_that_takes_long() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "evaluator.telemetry", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "--skip-bad" in done.stdout
    for heavy in ("numpy", "pydantic", "sacrebleu", "rich"):
        assert f" {heavy}\n" not in done.stderr
