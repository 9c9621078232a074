"""A real run, exported by the command and run: under the stand-in, and under Ianvs where it is installed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from job_runs import NO_IANVS, has_ianvs, leaderboard, run_ianvs, run_stand_in
from job_tasks import adapter
from text_tasks import write

from evaluator.export import main
from evaluator.judging import rubric

SETTINGS = (
    "generate.engine=transformers",
    "generate.n=2",
    "generate.max_tokens=48",
    "scheduler.tasks_per_round=6",
    "tasks.limit=40",
    "eval.limit=4",
    "eval.n=0",
    "sandbox.backend=process",
    "sandbox.workers=1",
)
JUDGE = ["--judge-endpoint", "http://localhost:1/v1", "--judge-model", "m"]
ROWS = ["base", "round1", "dpo", "broken"]
ROW = {"question_id": "Own_1_I", "question": "Add one.", "solution": "def f(x):\n    return x + 1\n", "test": "from solution import f\n\n\ndef test_f():\n    assert f(1) == 2\n", "style": "instruct"}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    command = [sys.executable, "-m", "srs.train", "--rounds", "1", "--run-dir", str(folder), *sets]
    env = {**os.environ, "SRS_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if not (folder / "adapters/dpo").exists():  # no pairs in so small a run: any weights will do
        shutil.copytree(folder / "adapters/0001", folder / "adapters/dpo")
    return folder


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    """With a fourth row whose weights can't be read."""
    out = tmp_path / "job"
    broken = adapter(tmp_path / "broken")
    assert main(["--run", str(run), "--out", str(out), "--adapter", f"broken={broken}"]) == 0
    return out


def check(run: Path, folder: Path, ran: subprocess.CompletedProcess[str]) -> None:
    """The scores are the run's own, the broken row is blank, and each row's work is there."""
    assert ran.returncode == 0, ran.stderr
    rows = leaderboard(folder)
    assert sorted(rows) == sorted(ROWS)
    for row, evaluation in (("base", "base"), ("round1", "sft")):
        own = json.loads((run / f"evaluation/{evaluation}.json").read_text())
        assert float(rows[row]["pass_at_1"]) == pytest.approx(own["pass_at_1"]["value"], abs=1e-6)
        assert float(rows[row]["format_error_rate"]) == pytest.approx(own["format_error_rate"], abs=1e-6)  # fmt: skip
    assert rows["broken"]["pass_at_1"] == rows["broken"]["format_error_rate"] == ""
    for name, row in rows.items():
        results = folder / row["url"] / "output/inference"
        if name == "broken":
            assert "broken" in (results / "failure.txt").read_text()
        else:
            assert len((results / "predictions.jsonl").read_text().splitlines()) == 4
            assert json.loads((results / "summary.json").read_text())["pass_at_1"]["n_tasks"] == 4


def test_the_job_runs_under_the_stand_in(run: Path, exported: Path) -> None:
    check(run, exported, run_stand_in(exported))


@pytest.mark.skipif(not has_ianvs(), reason=NO_IANVS)
def test_the_job_runs_under_ianvs(run: Path, exported: Path) -> None:
    check(run, exported, run_ianvs(exported))


@pytest.mark.parametrize("version", [[], ["--v0.3.0"]], ids=["main", "v0.3.0"])
def test_a_leaderboard_of_failures_is_still_one(exported: Path, version: list[str]) -> None:
    ran = run_stand_in(exported, *version, python="/nowhere/python")
    assert ran.returncode == 0, ran.stderr
    assert {name: row["pass_at_1"] for name, row in leaderboard(exported).items()} == dict.fromkeys(ROWS, "")  # fmt: skip
    assert ran.stderr.count("cannot run /nowhere/python") >= len(ROWS)


def test_a_case_that_raises_sinks_the_leaderboard_of_the_stand_in(exported: Path) -> None:
    """So the stand-in would notice: this is what the adapter protects from."""
    model = exported / "testalgorithms/gen/basemodel.py"
    model.write_text(model.read_text().replace("answers: list[str] =", "raise ValueError #"))
    ran = run_stand_in(exported)
    assert ran.returncode == 1
    assert not (exported / "workspace/srs_code/rank").exists()


def test_benchmarks_replace_the_held_out_tasks(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    out = tmp_path / "job"
    named = ["--benchmark", f"own={file}", "--benchmark", f"again={file}"]
    assert main(["--run", str(run), "--out", str(out), "--device", "npu", *named]) == 0
    settings: dict[str, Any] = json.loads((out / "job.json").read_text())
    assert settings["device"] == "npu"
    assert [m["name"] for m in settings["metrics"]] == [
        "pass_at_1", "format_error_rate", "pass_at_1_own", "pass_at_1_again",
    ]  # fmt: skip
    lines = (out / "dataset/test_data/data.jsonl").read_text().splitlines()
    assert len(lines) == 2


def test_comment_and_issue_tasks_replace_them_too(run: Path, tmp_path: Path) -> None:
    weights = adapter(tmp_path / "weights")
    settings = {}
    for kind in get_args(rubric.Kind):
        out = tmp_path / kind
        named = ["--benchmark", f"own={write(tmp_path, kind)}", "--limit", "1"]
        judge = ["--judge-local", "tiny", "--judge-adapter", os.path.relpath(weights)]
        assert main(["--run", str(run), "--out", str(out), "--kind", kind, *named, *judge]) == 0
        settings[kind] = json.loads((out / "job.json").read_text())
        assert len((out / "dataset/test_data/data.jsonl").read_text().splitlines()) == 1
        assert list(settings[kind]["rows"]) == ["base", "round1", "dpo"]
        assert settings[kind]["judge"]["judge_adapter"] == str(weights)
    assert settings["issues"]["metrics"][0]["name"] == "accuracy"
    assert settings["comments"]["metrics"][0]["name"] == "overall"


def test_the_first_tasks_only(run: Path, tmp_path: Path) -> None:
    assert main(["--run", str(run), "--out", str(tmp_path / "job"), "--limit", "2"]) == 0
    lines = (tmp_path / "job/dataset/test_data/data.jsonl").read_text().splitlines()
    assert len(lines) == 2


def test_what_the_run_measured_comes_along(run: Path, exported: Path) -> None:
    lifelong = json.loads((exported / "lifelong.json").read_text())
    assert lifelong["panel"] is None
    assert json.loads((exported / "job.json").read_text())["device"] == "cpu"
    train = (exported / "dataset/train_data/data.jsonl").read_text().splitlines()
    plan = json.loads((run / "rounds/0001/plan.json").read_text())
    assert len(train) == len(plan["new"]) + len(plan["review"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--adapter", "mine"], "NAME=PATH"),
        (["--adapter", "base=x"], "has a row of that name"),
        (["--adapter", "mine=/nowhere"], "adapter_config.json"),
        (["--benchmark", "b=/nowhere.jsonl"], "/nowhere.jsonl"),
        (["--benchmark", "b"], "NAME=FILE"),
        (["--set", "generate.engin=vllm"], "generate.engine"),
        (["--set", "model.path=/nowhere"], "/nowhere"),
        (["--limit", "-1"], "--limit must be 0 or more"),
        (["--kind", "comments"], "--kind comments: name the tasks"),
        (["--kind", "issues", "--benchmark", "i={issues}"], "can't be scored without a judge"),
        (["--kind", "issues", "--benchmark", "i={comments}", *JUDGE], "comments.jsonl:1: no issue"),
        (JUDGE, "--judge-…: programs are judged by their tests"),
        (["--judge-endpoint", "http://h"], "--judge-model"),
        (["--judge-local", "/nowhere"], "--judge-local: /nowhere does not exist"),
        (["--judge-local", "tiny", "--judge-adapter", "/nowhere"], "adapter_config.json"),
    ],
)
def test_unusable_arguments_are_named(
    run: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = {"issues": write(tmp_path, "issues"), "comments": write(tmp_path, "comments")}
    filled = [argument.format(**named) for argument in arguments]
    assert main(["--run", str(run), "--out", str(tmp_path / "job"), *filled]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


def test_a_folder_that_is_no_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--run", str(tmp_path), "--out", str(tmp_path / "job")]) == 2
    assert "config.json" in capsys.readouterr().err


def test_help_answers_without_loading_anything_heavy() -> None:
    script = "import sys, evaluator.export as e\ntry:\n    e.main(['--help'])\nexcept SystemExit:\n    pass\nassert not {'torch', 'transformers', 'numpy', 'jinja2'} & set(sys.modules), sys.modules.keys()"  # fmt: skip
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "--benchmark" in ran.stdout
