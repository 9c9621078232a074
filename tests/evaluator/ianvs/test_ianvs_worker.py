"""The worker's grading with a real sandbox, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from job_tasks import GOOD, STDIO, config, job, task

from evaluator.benchmark_rows import Opening
from evaluator.ianvs_job import write_job
from evaluator.ianvs_rows import INLINE_CHARACTERS
from evaluator.ianvs_worker import main
from srs.child import ChildError
from srs.config import Config, from_dict, override, to_dict
from srs.device import Device


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRS_CACHE_DIR", str(tmp_path / "cache"))


def answers_of(folder: Path) -> list[str]:
    text = (folder / "dataset/test_data/data.jsonl").read_text()
    return [json.loads(line)["answer"] for line in text.splitlines()]


def grade(folder: Path, answers: list[str], predictions: list[str]) -> int:
    given = folder / "answers.json"
    given.write_text(json.dumps({"answers": answers, "predictions": predictions}))
    return main(["grade", "--job", str(folder), "--out", str(folder), "--answers", str(given)])


def grades(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "grades.jsonl").read_text().splitlines()]


def fenced(code: str) -> str:
    return json.dumps({"completion": f"Here it is.\n```python\n{code}```\n"})


def test_every_kind_of_answer_gets_its_values(tmp_path: Path) -> None:
    wrong_reference = task("T_7_I", reference="def double(x):\n    return 3 * x\n")
    long_test = task("T_8_I", test="# padding\n" * INLINE_CHARACTERS + task().test)
    stdio = task("T_6_OJ", kind="stdio", test=STDIO, entry_point=None, declaration=None, reference=None)  # fmt: skip
    tests = {
        "one": [task(f"T_{n}_I") for n in range(1, 6)],
        "two": [stdio, wrong_reference, long_test],
        "head": [task("T_1_I", declaration=None, question="def double(x):\n")],
    }
    openings = {"head": {"T_1_I": Opening(head="def double(x):\n")}}
    folder = tmp_path / "job"
    write_job(job(tests=tests, openings=openings), folder)
    predictions = [
        fenced(GOOD),
        fenced("def double(x):\n    return x\n"),
        json.dumps({"completion": "I would multiply it by two."}),
        GOOD,  # another model's answer: plain text
        json.dumps({"error": "the engine died"}),
        fenced("print(sum(map(int, input().split())))\n"),
        fenced("def double(x):\n    return 3 * x\n"),
        fenced(GOOD),
        json.dumps({"completion": "    return x * 2\n"}),  # continues the prompt
    ]
    assert grade(folder, answers_of(folder), predictions) == 0
    found = grades(folder)
    assert [g["outcome"] for g in found] == [
        "passed", "failed", "no_code", "passed", "no_code", "passed", None, "passed", "passed",
    ]  # fmt: skip
    assert found[1]["values"] == {"pass_at_1": 0.0, "format_error_rate": 0.0}
    assert found[2]["values"] == {"pass_at_1": 0.0, "format_error_rate": 1.0}
    assert found[6]["values"] is None
    assert "reference fails" in found[6]["detail"]
    assert [(g["benchmark"], g["id"]) for g in found[::4]] == [
        ("one", "T_1_I"), ("one", "T_5_I"), ("head", "T_1_I"),
    ]  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["pass_at_1"]["value"] == 5 / 8
    assert (summary["pass_at_1"]["n_measured"], summary["pass_at_1"]["n_tasks"]) == (8, 9)
    assert summary["pass_at_1_one"]["value"] == 2 / 5
    assert summary["pass_at_1_two"]["value"] == 1.0
    assert summary["format_error_rate"]["value"] == 2 / 8
    assert summary["pass_at_1"]["low"] <= 5 / 8 <= summary["pass_at_1"]["high"]


@pytest.mark.parametrize("answer", ["not JSON", "[]", '{"id": "T_1_I"}', "42"])
def test_an_answer_that_is_no_task_is_named(
    answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "job"
    write_job(job(), folder)
    assert grade(folder, [*answers_of(folder), answer], ["", ""]) == 2
    assert "data.jsonl:2" in capsys.readouterr().err
    assert not (folder / "grades.jsonl").exists()


def test_a_kind_that_nothing_here_grades_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "job"
    write_job(job(), folder)
    settings = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**settings, "kind": "poems"}))
    assert grade(folder, answers_of(folder), [""]) == 2
    assert "poems" in capsys.readouterr().err


def generate(folder: Path, row: str, questions: list[str]) -> int:
    given = folder / "questions.json"
    given.write_text(json.dumps({"questions": questions}))
    return main(
        ["generate", "--job", str(folder), "--out", str(folder), "--adapter", row, "--questions", str(given)]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "question", "message"),
    [("nope", "q", "has no row 'nope', only base"), ("base", "q", "question 1 is not in")],
)
def test_rows_and_questions_that_the_job_has_not_are_named(
    row: str, question: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "job"
    write_job(job(), folder)
    assert generate(folder, row, [question]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "seen"),
    [
        (Device(kind="cuda", indices=("2", "3"), threads=4), [("2", "3")]),
        (Device(kind="npu", indices=("0", "1", "2", "3"), threads=4), [("0", "1"), ("2", "3")]),
        (Device(kind="cpu", threads=4), [()]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_engines_are_those_that_fit_here_whatever_the_run_had(
    device: Device,
    seen: list[tuple[str, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The run had eight devices; none of them is here, so the engines only say where they would start."""
    settings = ["devices.replicas=4", "devices.tensor_parallel=2", "devices.train_processes=8"]
    settings += ["devices.async_rounds=1", "generate.engine=vllm"]
    folder = tmp_path / "job"
    write_job(job(config=to_dict(override(from_dict(config(), ""), settings))), folder)
    started = []

    def start(_: Config, device: Device, *__: object, **___: object) -> None:
        started.append(device.indices)
        raise ChildError("no engine here")

    monkeypatch.setattr("srs.device.detect", lambda: device)
    monkeypatch.setattr("srs.generate.open_replica", start)
    questions = (folder / "dataset/test_data/data.jsonl").read_text().splitlines()
    assert generate(folder, "base", [json.loads(line)["question"] for line in questions]) == 1
    assert "no engine here" in capsys.readouterr().err
    assert sorted(started) == seen


def test_a_job_without_its_settings_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(tmp_path, "base", []) == 2
    assert "job.json" in capsys.readouterr().err
