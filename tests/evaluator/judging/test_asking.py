"""The log of replies: nothing is asked twice, nothing is lost, and a damaged one is said."""

from __future__ import annotations

import fcntl
import json
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from evaluator.judging.asking import AskError, Question, Reply, ask_all
from srs.types import UserError


class Scripted:
    """Answers with the question backwards; stops after ``limit`` questions."""

    def __init__(self, name: str = "m", limit: int | None = None) -> None:
        self.name = name
        self.limit = limit
        self.asked: list[str] = []

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        for question in questions:
            if self.limit is not None and len(self.asked) >= self.limit:
                raise AskError("gone")
            self.asked.append(question.id)
            yield Reply(id=question.id, text=question.user[::-1])


QUESTIONS = [Question(id=f"q{i}", system="s", user=f"abc{i}\ud800") for i in range(5)]
EXPECTED = {q.id: q.user[::-1] for q in QUESTIONS}


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "new" / "judge.jsonl"
    first = Scripted(limit=2)
    with pytest.raises(AskError):
        ask_all(QUESTIONS, first, log)
    counted: list[int] = []
    second = Scripted()
    assert ask_all(QUESTIONS, second, log, counted.append) == EXPECTED
    assert (first.asked, second.asked) == (["q0", "q1"], ["q2", "q3", "q4"])
    assert sum(counted) == 5
    third = Scripted()
    assert ask_all(QUESTIONS, third, log) == EXPECTED
    assert third.asked == []


def test_the_log_says_what_was_asked_and_answered(tmp_path: Path) -> None:
    ask_all(QUESTIONS[:1], Scripted(), tmp_path / "log")
    line = json.loads((tmp_path / "log").read_text())
    assert (line["id"], line["model"]) == ("q0", "m")
    assert (line["system"], line["user"], line["reply"]) == ("s", "abc0\ud800", "\ud8000cba")


def test_a_changed_question_or_model_is_asked_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ask_all(QUESTIONS, Scripted(), log)
    changed = [*QUESTIONS[:4], Question(id="q4", system="s", user="other")]
    asker = Scripted()
    assert ask_all(changed, asker, log)["q4"] == "rehto"
    assert asker.asked == ["q4"]
    other = Scripted("another model")
    ask_all(QUESTIONS, other, log)
    assert len(other.asked) == 5
    assert ask_all(QUESTIONS, Scripted(limit=0), log) == EXPECTED


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_cut_off_by_a_crash_is_asked_again(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    ask_all(QUESTIONS, Scripted(), log)
    log.write_bytes(log.read_bytes()[:-cut])
    asker = Scripted()
    assert ask_all(QUESTIONS, asker, log) == EXPECTED
    assert asker.asked == ["q4"]
    assert "cut off" in caplog.text
    assert len(log.read_text().splitlines()) == 5


def test_a_damaged_log_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ask_all(QUESTIONS, Scripted(), log)
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], "{oops", *lines[2:]]) + "\n")
    with pytest.raises(UserError, match=r"log:2: not JSON"):
        ask_all(QUESTIONS, Scripted(), log)
    log.write_text('{"question_id": "x"}\n')
    with pytest.raises(UserError, match=r"log:1: no reply; is this a log of replies"):
        ask_all(QUESTIONS, Scripted(), log)


def test_a_disk_that_takes_no_more_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
    try:
        with pytest.raises(UserError, match="cannot write the log of replies"):
            ask_all(QUESTIONS, Scripted(), log)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    asker = Scripted()
    assert ask_all(QUESTIONS, asker, log) == EXPECTED
    assert 0 < len(asker.asked) < 5


def test_two_processes_do_not_write_one_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process"):
            ask_all(QUESTIONS, Scripted(), log)
