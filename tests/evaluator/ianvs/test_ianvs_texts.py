"""Jobs of the comment and issue kinds: what is exported, how it is graded, and what a judge may do wrong."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from job_runs import NO_IANVS, has_ianvs, leaderboard, run_ianvs, run_stand_in
from job_tasks import config, job
from judge_server import Answered, serving
from text_tasks import ISSUE, LINES, PAIR, judge, tasks, verdict

from evaluator.ianvs_job import write_job
from evaluator.ianvs_rows import INLINE_CHARACTERS, Kind, read, read_texts
from evaluator.ianvs_worker import main
from srs.prompts import user_message
from srs.types import UserError

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
OFFLINE = ["overall", "logic", "accuracy", "format", "coverage"]
JUDGED = ["judge_logic", "judge_accuracy", "judge_format", "judge_readable"]


def written(folder: Path, kind: Kind, rows: Any = None, **fields: Any) -> Path:
    out = folder / "job"
    write_job(job(tests={"texts": tasks(folder, kind, rows)}, kind=kind, **fields), out)
    return out


def lines(out: Path) -> list[dict[str, str]]:
    text = (out / "dataset/test_data/data.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def grade(out: Path, *completions: str) -> list[dict[str, Any]]:
    given = out / "answers.json"
    answers = [row["answer"] for row in lines(out)]
    said = [json.dumps({"completion": text}) for text in completions]
    given.write_text(json.dumps({"answers": answers, "predictions": said}))
    assert main(["grade", "--job", str(out), "--out", str(out), "--answers", str(given)]) == 0
    return [json.loads(line) for line in (out / "grades.jsonl").read_text().splitlines()]


def summary(out: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((out / "summary.json").read_text())
    return found


@pytest.mark.parametrize(
    ("kind", "with_judge", "columns"),
    [
        ("comments", False, OFFLINE),
        ("comments", True, [*OFFLINE, *JUDGED]),
        ("issues", True, ["accuracy", "judge_readable", "answered"]),
    ],
)
def test_each_kind_has_columns_of_its_own(
    tmp_path: Path, kind: Kind, with_judge: bool, columns: list[str]
) -> None:
    out = written(tmp_path, kind, judge=judge("http://localhost:1/v1") if with_judge else None)
    benchmarking = yaml.safe_load((out / "benchmarkingjob.yaml").read_text())["benchmarkingjob"]
    assert benchmarking["name"] == f"srs_{kind}"
    assert benchmarking["rank"]["selected_dataitem"]["metrics"] == columns
    testenv = yaml.safe_load((out / "testenv/testenv.yaml").read_text())["testenv"]
    assert [metric["name"] for metric in testenv["metrics"]] == columns
    readme = (out / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in columns)
    assert ("scripted" in readme) == with_judge
    assert "pass_at_1" not in readme
    assert "{%" not in readme


def test_issues_without_a_judge_have_no_score(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--judge-endpoint"):
        written(tmp_path, "issues")


@pytest.mark.parametrize(
    ("kind", "file"),
    [("comments", "comment_lines"), ("comments", "comment_data"), ("issues", "issue_data")],
)
def test_a_task_survives_the_way_through_the_data(kind: Kind, file: str, tmp_path: Path) -> None:
    """Real ones, other keys and long discussions included."""
    if not (path := DATA / f"{file}.jsonl").exists():
        pytest.skip("../shared/data is not here")
    items = read_texts(kind, path)
    out = tmp_path / "job"
    write_job(job(tests={"b": items}, kind=kind, judge=judge("http://localhost:1/v1")), out)
    found = lines(out)
    assert max(len(row["answer"]) for row in found) < INLINE_CHARACTERS + 200
    folder = out / "dataset/test_data"
    rows = [read(kind, row["answer"], i, folder) for i, row in enumerate(found)]
    assert [row.item for row in rows] == items
    assert [row.id for row in rows] == [item.id for item in items]
    for row, line in zip(rows, found, strict=True):
        assert line["question"] == user_message(row.task)  # what the model will be asked


def test_who_is_asked_to_comment_code_is_asked_for_code(tmp_path: Path) -> None:
    marked, whole = lines(written(tmp_path, "comments"))
    assert marked["question"].endswith("Answer with one Python code block.")
    assert "Answer with the comment's text" in whole["question"]
    assert "Python code block" not in whole["question"]


def test_comments_are_scored_offline(tmp_path: Path) -> None:
    out = written(tmp_path, "comments")
    commented = "```python\ndef double(x):\n    y = x + x  # add x to itself\n    return y\n```"
    marked, whole = grade(out, commented, "Doubles a number")
    assert marked["values"] == dict.fromkeys(OFFLINE, 1.0)
    assert whole["values"] == {
        "overall": 1.0, "logic": None, "accuracy": 1.0, "format": 1.0, "coverage": None,
    }  # fmt: skip
    assert (marked["id"], whole["id"], marked["benchmark"]) == ("marked", "whole", "texts")
    assert summary(out)["logic"]["n_measured"] == 1
    assert summary(out)["overall"] == {
        "n_measured": 2, "n_tasks": 2, "value": 1.0, "high": 1.0, "interval": "wilson",
        "low": pytest.approx(2 / 5.841459),
    }  # fmt: skip
    bare, empty = grade(out, "```python\ndef double(x):\n    return 2 * x\n```", "")
    assert (bare["values"]["overall"], empty["values"]["overall"]) == (0.0, 0.0)
    assert not (out / "failure.txt").exists()


def test_a_judge_scores_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    with serving(lambda asked: verdict(asked.user)) as server:
        out = written(tmp_path, "comments", [LINES, PAIR, PAIR | {"id": "third"}], judge=judge(server.url))  # fmt: skip
        found = grade(out, "it is right", "it is wrong", "it is")
    judged = [[g["values"][name] for name in JUDGED] for g in found]
    assert judged == [[10, 10, 10, 1], [1, 1, 1, 1], [1, 1, 1, 0]]
    assert found[0]["detail"] == "as it says"
    assert "no JSON object" in found[2]["detail"]
    assert summary(out)["judge_logic"]["value"] == 4
    assert summary(out)["judge_readable"]["value"] == pytest.approx(2 / 3)
    assert summary(out)["accuracy"]["n_measured"] == 3
    assert server.asked[0].headers["Authorization"] == "Bearer s3cret"
    assert len((out / "judge.jsonl").read_text().splitlines()) == 3
    assert not any("s3cret" in path.read_text() for path in out.rglob("*") if path.is_file())


def test_issues_are_right_where_the_judge_says_so(tmp_path: Path) -> None:
    rows = [{**ISSUE, "instance_id": f"x-{i}"} for i in range(4)]
    with serving(lambda asked: verdict(asked.user)) as server:
        out = written(tmp_path, "issues", rows, judge=judge(server.url))
        found = grade(out, "that is right", "wrong", "hm", "")
    assert [g["values"] for g in found] == [
        {"answered": 1.0, "accuracy": 1.0, "judge_readable": 1.0},
        {"answered": 1.0, "accuracy": 0.0, "judge_readable": 1.0},
        {"answered": 1.0, "accuracy": 0.0, "judge_readable": 0.0},
        {"answered": 0.0, "accuracy": 0.0, "judge_readable": 0.0},
    ]
    assert summary(out)["accuracy"]["value"] == 0.25
    assert [asked.user.count("Raise a TypeError.") for asked in server.asked] == [1] * 4


@pytest.mark.parametrize("status", [500, 401])
def test_a_judge_that_cannot_be_asked_leaves_its_columns_blank(tmp_path: Path, status: int) -> None:
    """Also those of the answers that it had judged before: a part of them is no measurement."""

    def script(asked: Any) -> Answered | str:
        return verdict(asked.user) if "right" in asked.user else Answered(status=status)

    with serving(script) as server:
        out = written(tmp_path, "comments", judge=judge(server.url))
        found = grade(out, "it is right", "it is")
    assert [list(g["values"]) for g in found] == [OFFLINE] * 2
    assert [g["values"]["format"] for g in found] == [0.0, 1.0]
    assert all(f"HTTP {status}" in g["detail"] for g in found)
    assert f"HTTP {status}" in (out / "failure.txt").read_text()
    assert summary(out)["judge_logic"] == {"n_measured": 0, "n_tasks": 2, "value": None}
    assert summary(out)["format"]["n_measured"] == 2


def test_equal_ids_of_two_benchmarks_are_two_answers(tmp_path: Path) -> None:
    items = tasks(tmp_path, "issues")
    out = tmp_path / "job"
    with serving(lambda asked: verdict(asked.user)) as server:
        write_job(job(tests={"a": items, "b": items}, kind="issues", judge=judge(server.url)), out)
        grade(out, "right", "wrong")
    found = summary(out)
    assert (found["accuracy_a"]["value"], found["accuracy_b"]["value"]) == (1.0, 0.0)
    assert found["accuracy"]["value"] == 0.5


VERDICT = '{"logic": 7, "accuracy": 4, "format": 10, "correct": true}'
Ran = Callable[[Path], "subprocess.CompletedProcess[str]"]


def check(folder: Path, kind: Kind, run: Ran) -> None:
    """The tiny model answers and a scripted judge judges; what the model says is not looked at."""
    settings = config()
    settings["generate"] |= {"engine": "transformers", "max_tokens": 12}
    with serving(lambda _: VERDICT) as server:
        out = written(folder, kind, judge=judge(server.url), config=settings)
        ran = run(out)
    assert ran.returncode == 0, ran.stderr
    row = leaderboard(out, kind)["base"]
    (results,) = out.glob(f"workspace/srs_{kind}/gen/*/output/inference")
    predictions = (results / "predictions.jsonl").read_text().splitlines()
    assert len(predictions) == len(lines(out)) == len(server.asked)
    assert all(json.loads(line)["completion"] for line in predictions)
    if kind == "comments":
        assert [float(row[name]) for name in JUDGED] == [7.0, 4.0, 10.0, 1.0]
        assert 0 <= float(row["overall"]) <= 1
    else:
        assert [float(row[n]) for n in ("accuracy", "judge_readable", "answered")] == [1, 1, 1]
    assert summary(results).keys() <= row.keys()


@pytest.mark.parametrize("kind", ["comments", "issues"])
def test_the_job_runs_under_the_stand_in(tmp_path: Path, kind: Kind) -> None:
    check(tmp_path, kind, run_stand_in)


@pytest.mark.skipif(not has_ianvs(), reason=NO_IANVS)
@pytest.mark.parametrize("kind", ["comments", "issues"])
def test_the_job_runs_under_ianvs(tmp_path: Path, kind: Kind) -> None:
    check(tmp_path, kind, run_ianvs)
