"""The command lines from end to end: real files, a real server, real processes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from judge_server import Answered, Asked, serving

ROOT = Path(__file__).parents[3]
ISSUES: list[dict[str, Any]] = [
    {"id": f"i{n}", "question": f"Issue {n}", "body": "It crashes", "answer_1": {"body": "Update"}}
    for n in range(6)
]
CODE = "def area(a, b):\n    return a * b"
COMMENTS: list[dict[str, Any]] = [
    {"id": "c0", "code_snippet": CODE, "annotations": [{"line_number": 2, "annotation": "The area"}]},
    {"id": "c1", "code_snippet": CODE, "comment": "Area of a rectangle"},
]  # fmt: skip
KEY = "sk-secret-0815"


def command(*arguments: str | Path, check: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "no_proxy": "*", "OPENAI_API_KEY": KEY},
        check=False,
    )
    assert check is None or done.returncode == check, done.stderr
    assert KEY not in done.stdout + done.stderr
    return done


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def issues(tmp_path: Path) -> Path:
    return write(tmp_path / "issues.jsonl", ISSUES)


def judging(asked: Asked) -> Answered | str:
    """Right for even issues; a reply that can't be read for the last one; one failure on the way."""
    number = int(re.search(r"# Issue (\d)", asked.user)[1])  # type: ignore[index]
    if number == 3 and asked.n == 1:
        return Answered("busy", status=500)
    if number == 5:
        return "I would say it is right."
    return json.dumps({"correct": number % 2 == 0, "reason": f"issue {number}"})


@pytest.mark.parametrize("module", ["comments", "issues", "verdicts"])
def test_help_comes_at_once(module: str) -> None:
    code = (
        "import runpy, sys, time\n"
        "sys.argv = [sys.argv[1], '--help']\n"
        "try:\n    runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as e:\n    assert not e.code\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'rich', 'sacrebleu'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"evaluator.{module}"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert "COMMAND" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_issues_from_answers_to_accuracy_and_agreement(issues: Path, tmp_path: Path) -> None:
    answers, out = tmp_path / "answers.jsonl", tmp_path / "out"
    with serving(lambda asked: f"Try this: {asked.user[:10]}") as server:
        done = command("evaluator.issues", "answer", "--data", issues, "--out", answers,
                       "--endpoint", server.url, "--model", "m1")  # fmt: skip
        assert "6 answers by m1" in done.stdout
        assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
        command("evaluator.issues", "answer", "--data", issues, "--out", answers,
                "--endpoint", server.url, "--model", "m1")  # fmt: skip
        assert len(server.asked) == 6, "replies are kept"
    assert [row["id"] for row in rows(answers)] == [f"i{n}" for n in range(6)]

    sheet = tmp_path / "sheet.csv"
    judged = ("--kind", "issues", "--data", issues, "--answers", answers)
    command("evaluator.verdicts", "export", *judged, "--out", sheet)
    command("evaluator.verdicts", "export", *judged, "--out", tmp_path / "sheet.html")
    table = list(csv.reader(io.StringIO(sheet.read_text(encoding="utf-8-sig"))))
    votes = {"i0": "yes", "i1": "no", "i2": "yes", "i3": "yes"}
    with sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [*row[:-2], votes.get(row[0], row[-2]), row[-1]] for row in table
        )
    verdicts = tmp_path / "ann.jsonl"
    done = command("evaluator.verdicts", "import", *judged, "--sheet", sheet, "--rater", "ann", "--out", verdicts)  # fmt: skip
    assert "4 verdicts by ann, 2 answers without one" in done.stdout
    assert "without a verdict: i4, i5" in done.stderr

    with serving(judging) as server:
        score = ("evaluator.issues", "score", "--data", issues, "--answers", answers, "--out", out,
                 "--judge-endpoint", server.url, "--judge-model", "j1")  # fmt: skip
        done = command(*score, "--verdicts", verdicts)
        n_asked = len(server.asked)
        assert n_asked == 7, "one of six was tried again"
        command(*score)
        assert len(server.asked) == n_asked
    results = json.loads((out / "results.json").read_text())
    judge = next(v for k, v in results["judged"]["raters"].items() if k.startswith("judge: j1"))
    assert results["kind"] == "issues"
    done_lines = done.stdout.splitlines()
    assert "verdict on 83.3% of the answers, 1 unreadable count as failures" in done_lines[1]
    assert (judge["coverage"], judge["unreadable"]) == (5 / 6, 1)
    assert judge["correct"]["value"] == pytest.approx(3 / 6)
    assert judge["correct"]["of_readable"]["value"] == pytest.approx(3 / 5)
    # ann: yes no yes yes, the judge: yes no yes no: o = 3/4, e = 3/4·2/4 + 1/4·2/4 = 1/2.
    assert "ann: Cohen's kappa 0.50, the same on 75.0% of 4" in done.stdout
    kept = rows(out / "judge.jsonl")
    assert {row["id"] for row in kept} == {f"i{n}" for n in range(6)}
    assert KEY not in (out / "judge.jsonl").read_text()
    items = rows(out / "items.jsonl")
    (verdict,) = items[5]["verdicts"].values()
    assert verdict == {"values": None, "note": "no JSON object with correct"}


def test_comments_offline_and_by_a_judge(tmp_path: Path) -> None:
    data = write(tmp_path / "comments.jsonl", COMMENTS)
    answers = write(
        tmp_path / "answers.jsonl",
        [
            {
                "id": "c0",
                "answer": "```python\n" + CODE.replace("b\n", "b\n") + "  # the area\n```",
            },
            {"id": "c1", "answer": "Area of a rectangle"},
        ],
    )
    done = command("evaluator.comments", "score", "--data", data, "--answers", answers, "--out", tmp_path / "out")  # fmt: skip
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["offline"]["overall"]["value"] == 1
    assert "code compared by syntax: 1, not compared: 1" in done.stdout
    assert "judged" not in results

    def judge(asked: Asked) -> str:
        return json.dumps({"logic": 9, "accuracy": 8, "format": 10, "reason": asked.user[:5]})

    with serving(judge) as server:
        done = command("evaluator.comments", "score", "--data", data, "--answers", answers, "--out", tmp_path / "out",
                       "--judge-endpoint", server.url, "--judge-model", "j1")  # fmt: skip
    assert re.search(r"accuracy +8\.00 +\[8\.00, 8\.00\] +of 10, n = 2", done.stdout)


def test_a_judge_that_is_gone_is_exit_3_and_nothing_is_lost(issues: Path, tmp_path: Path) -> None:
    answers = write(tmp_path / "a.jsonl", [{"id": f"i{n}", "answer": "x"} for n in range(6)])

    def half(asked: Asked) -> Answered | str:
        return Answered("out", status=503) if "Issue 4" in asked.user else '{"correct": true}'

    def score(url: str, check: int) -> subprocess.CompletedProcess[str]:
        return command("evaluator.issues", "score", "--data", issues, "--answers", answers, "--out", tmp_path / "out",
                       "--judge-endpoint", url, "--judge-model", "j1", "--judge-retries", "0", check=check)  # fmt: skip

    with serving(half) as server:
        done = score(server.url, 3)
    assert done.stderr.count("\n") == 1
    assert "HTTP 503" in done.stderr
    assert "the same command goes on" in done.stderr
    assert not (tmp_path / "out/results.json").exists()
    assert len(rows(tmp_path / "out/judge.jsonl")) == 5
    with serving(lambda _: '{"correct": false}') as server:
        done = score(server.url, 0)
        assert len(server.asked) == 1
    assert re.search(r"accuracy +83\.3%", done.stdout)


def test_interrupted_it_goes_on(issues: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"

    def slow(asked: Asked) -> Answered:
        return Answered("fine", after_s=0.0 if "Issue 0" in asked.user else 60.0)

    with serving(slow) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "evaluator.issues", "answer", "--data", issues, "--out", out,
             "--endpoint", server.url, "--model", "m", "--parallel", "2"],
            cwd=ROOT, env={**os.environ, "no_proxy": "*"}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        log = out.with_suffix(".log.jsonl")
        end = time.monotonic() + 60
        while not (log.exists() and log.stat().st_size):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in stderr
    assert not out.exists()
    with serving(lambda _: "again") as server:
        command("evaluator.issues", "answer", "--data", issues, "--out", out, "--endpoint", server.url, "--model", "m")  # fmt: skip
        assert len(server.asked) == 5
    assert [row["answer"] for row in rows(out)] == ["fine", *["again"] * 5]


def test_two_people_and_their_majority(issues: Path, tmp_path: Path) -> None:
    answers = write(tmp_path / "a.jsonl", [{"id": f"i{n}", "answer": "x"} for n in range(6)])
    paths = []
    for rater, votes in (("ann", "111000"), ("ben", "110000"), ("cat", "101001")):
        made = [{"id": f"i{n}", "rater": rater, "values": {"correct": int(v)}} for n, v in enumerate(votes)]  # fmt: skip
        paths.append(write(tmp_path / f"{rater}.jsonl", made))
    done = command("evaluator.issues", "score", "--data", issues, "--answers", answers, "--out", tmp_path / "out",
                   "--verdicts", *paths)  # fmt: skip
    assert "people, majority (0 ties): verdict on 100.0%" in done.stdout
    assert re.search(r"majority.*\n  accuracy +50\.0%", done.stdout)
    assert "all: Fleiss' kappa" in done.stdout


def test_conversions_and_questions(tmp_path: Path) -> None:
    data = write(tmp_path / "c.jsonl", COMMENTS[:1])
    there, back = tmp_path / "ianvs.jsonl", tmp_path / "back.jsonl"
    command("evaluator.comments", "convert", data, there, "--to", "ianvs")
    command("evaluator.comments", "convert", there, back, "--to", "lines")
    assert rows(back) == COMMENTS[:1]
    done = command("evaluator.comments", "questions", "--data", there, "--out", tmp_path / "q.jsonl")  # fmt: skip
    assert "1 questions" in done.stdout
    (question,) = rows(tmp_path / "q.jsonl")
    assert question["id"] == "c0"
    assert CODE in question["prompt"]
    assert "The area" not in question["prompt"], "the reference is not shown"
    pairs = write(tmp_path / "p.jsonl", COMMENTS[1:])
    done = command("evaluator.comments", "convert", pairs, back, "--to", "lines", check=2)
    assert "c1: a comment for the whole code has no line" in done.stderr
    assert rows(back) == COMMENTS[:1], "what was there stays"


def test_a_folder_for_ianvs_has_its_metadata(issues: Path, tmp_path: Path) -> None:
    """The keys that Ianvs' loader (its sedna, JSONMetaDataParse) reads without a default."""
    out = tmp_path / "test_data" / "data.jsonl"
    done = command("evaluator.issues", "convert", issues, out, "--to", "ianvs")
    metadata = json.loads(out.with_name("metadata.json").read_text())
    assert {"dataset", "description", "level_1_dim", "level_2_dim"} <= metadata.keys()
    assert all(
        {"query", "response", "level_3_dim", "level_4_dim"} <= row.keys() for row in rows(out)
    )
    assert "test_data_info" in done.stdout
    out.with_name("metadata.json").write_text("mine")
    command("evaluator.issues", "convert", issues, out, "--to", "ianvs")
    assert out.with_name("metadata.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--answers", "{a}"), "can't be scored without a judge"),
        (("--answers", "{a}", "--judge-endpoint", "http://h/v1"), "--judge-model: name"),
        (("--answers", "{a}", "--judge-endpoint", "h"), "name the endpoint's model|write it as"),
        (("--answers", "{a}", "--judge-endpoint", "http://h", "--judge-local", "tiny"), "give one of"),
        (("--answers", "{a}", "--judge-local", "./gone"), "gone does not exist"),
        (("--answers", "{a}", "--judge-local", "tiny", "--judge-adapter", "gone"), "no adapter there"),
        (("--answers", "{a}", "--verdicts", "{v}"), "id 'zz' is not among the tasks"),
        (("--answers", "{few}", "--verdicts", "{v}"), "5 of 6 tasks have no answer"),
        (("--answers", "{bad}", "--verdicts", "{v}"), "bad.jsonl:1: id 'nobody' is not among the tasks"),
        (("--answers", "{twice}", "--verdicts", "{v}"), "twice.jsonl:2: id 'i0' is there already"),
    ],
)  # fmt: skip
def test_unusable_input_is_exit_2(
    issues: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from evaluator.issues.__main__ import BENCHMARK, loop
    from evaluator.judging.command import main

    answer = {"id": "i0", "answer": "x"}
    names = {
        "a": write(tmp_path / "a.jsonl", [{"id": f"i{n}", "answer": "x"} for n in range(6)]),
        "few": write(tmp_path / "few.jsonl", [answer]),
        "bad": write(tmp_path / "bad.jsonl", [{"id": "nobody", "answer": "x"}]),
        "twice": write(tmp_path / "twice.jsonl", [answer, answer]),
        "v": write(tmp_path / "v.jsonl", [{"id": "zz", "rater": "ann", "values": {"correct": 1}}]),
    }
    filled = [a.format(**names) if a.startswith("{") else a for a in arguments]
    out = str(tmp_path / "out")
    assert main(BENCHMARK, loop, ["score", "--data", str(issues), "--out", out, *filled]) == 2
    assert re.search(why, capsys.readouterr().err)


def test_a_local_model_answers(tmp_path: Path) -> None:
    """The tiny model that ships with the package; what it says is not looked at."""
    data = write(tmp_path / "c.jsonl", COMMENTS)
    out = tmp_path / "answers.jsonl"
    local = ("--local", "tiny", "--engine", "transformers", "--max-tokens", "12", "--max-length", "400")  # fmt: skip
    done = command("evaluator.comments", "answer", "--data", data, "--out", out, *local)
    assert "2 answers by tiny (greedy, max_tokens 12)" in done.stdout
    kept = rows(out.with_suffix(".log.jsonl"))
    assert [row["id"] for row in rows(out)] == ["c0", "c1"]
    assert {row["id"] for row in kept} == {"c0", "c1"}
    assert all(row["reply"] for row in kept)
