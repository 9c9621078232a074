"""The thin side of a job: whatever its worker does, Ianvs gets as many predictions as questions and one
number a metric."""

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_tasks import adapter, config, job, task

from evaluator.ianvs_job import write_job

STAND_IN = Path(__file__).parent / "stand_in"
MODULES = ("op_eval", "basemodel", "acc", "sedna", "sedna.common", "sedna.common.class_factory")
WORKER = """#!{python}
import json, os, pathlib, sys
command, *options = sys.argv[3:]
named = dict(zip(options[::2], options[1::2]))
out = pathlib.Path(named["--out"])
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([sys.argv[1:4], dict(os.environ), os.getcwd()]) + "\\n")
{body}
"""
ANSWERS = """
n = len(json.loads(pathlib.Path(named["--questions"]).read_text())["questions"]) if command == "generate" else 0
if command == "generate":
    (out / "predictions.jsonl").write_text("".join('{"completion": "%d"}\\n' % i for i in range(n)))
else:
    rows = [{"id": str(i), "benchmark": "a" if i < 2 else "b", "values": {"pass_at_1": float(i % 2 == 0)}} for i in range(3)]
    rows.append({"id": "3", "benchmark": "b", "values": None})
    (out / "grades.jsonl").write_text("".join(json.dumps(r) + "\\n" for r in rows))
"""


class Thin:
    """A job's three modules, loaded as Ianvs does, and its fake worker."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, calls: Path) -> None:
        self.folder, self.calls_file, self._patch = folder, calls, monkeypatch
        for place in ("testalgorithms/gen", "testenv"):
            sys.path.insert(0, str(folder / place))
            name = "basemodel" if place.endswith("gen") else "acc"
            setattr(self, name, importlib.import_module(name))
            sys.path.pop(0)
        self.op_eval: Any = sys.modules["op_eval"]

    def worker(self, body: str) -> None:
        path = self.calls_file.parent / "python"
        path.write_text(WORKER.replace("{python}", sys.executable).replace("{body}", body))
        path.chmod(0o755)
        self._patch.setenv("SRS_PYTHON", str(path))

    def model(self, **hyperparameters: Any) -> Any:
        return self.basemodel.SrsCodeModel(**hyperparameters)  # type: ignore[attr-defined]

    def metrics(self) -> dict[str, Any]:
        return self.acc.METRICS  # type: ignore[attr-defined, no-any-return]

    def calls(self) -> list[Any]:
        text = self.calls_file.read_text() if self.calls_file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def thin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Thin]:
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("RESULT_SAVED_URL", str(tmp_path / "not/there/yet"))
    folder = tmp_path / "job"
    rows = {"base": None, "dpo": adapter(tmp_path / "weights")}
    write_job(job(rows=rows, tests={"a": [task("1")], "b": [task("2")]}), folder)
    try:
        yield Thin(folder, monkeypatch, tmp_path / "calls")
    finally:
        for name in MODULES:
            sys.modules.pop(name, None)


def failure(tmp_path: Path) -> str:
    return (tmp_path / "not/there/yet/failure.txt").read_text()


QUESTIONS = np.array(["one", "two", "three", "four"])


def test_predictions_and_scores_come_from_the_worker(thin: Thin, tmp_path: Path) -> None:
    thin.worker(ANSWERS)
    model = thin.model(adapter="dpo")
    assert model.preprocess() is None
    model.train((QUESTIONS, QUESTIONS))
    model.load(model.save(str(tmp_path / "train")))
    predictions = model.predict(QUESTIONS)
    assert predictions == ['{"completion": "%d"}' % i for i in range(4)]  # noqa: UP031
    scores = {name: metric(QUESTIONS, predictions) for name, metric in thin.metrics().items() if name != "format_error_rate"}  # fmt: skip
    assert scores == {"pass_at_1": round(2 / 3, 6), "pass_at_1_a": 0.5, "pass_at_1_b": 1.0}
    assert all(type(score) is float for score in scores.values())
    assert (tmp_path / "not/there/yet/predictions.jsonl").is_file()


def test_all_metrics_of_a_case_share_one_grading(thin: Thin) -> None:
    thin.worker(ANSWERS)
    predictions = thin.model().predict(QUESTIONS)
    for metric in thin.metrics().values():
        metric(QUESTIONS, predictions)
    assert [call[0][2] for call in thin.calls()] == ["generate", "grade"]


def test_saving_names_the_adapter_and_nothing_for_the_base_model(thin: Thin) -> None:
    assert thin.model(adapter="base").save("x") is None
    assert thin.model(adapter="dpo").save("x") == str(thin.folder / "adapters/dpo")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('no such adapter'); sys.exit(2)", "exit 2: no such adapter"),
        ("os.kill(os.getpid(), 9)", "exit -9"),
        ("(out / 'predictions.jsonl').write_text('{}\\n')", "1 answers to 4 questions"),
        ("pass", "predictions.jsonl"),
    ],
)
def test_a_case_that_fails_is_blank_and_says_why(
    thin: Thin, tmp_path: Path, body: str, reason: str
) -> None:
    thin.worker(body)
    predictions = thin.model(adapter="dpo").predict(QUESTIONS)
    assert len(predictions) == len(QUESTIONS)
    assert all(math.isnan(metric(QUESTIONS, predictions)) for metric in thin.metrics().values())
    assert reason in failure(tmp_path)
    assert "adapter dpo" in failure(tmp_path)
    assert [call[0][2] for call in thin.calls()] == ["generate"]


def test_short_predictions_are_not_scored(thin: Thin, tmp_path: Path) -> None:
    thin.worker(ANSWERS)
    predictions = thin.model().predict(QUESTIONS)
    assert math.isnan(thin.metrics()["pass_at_1"](QUESTIONS, predictions[:3]))
    assert "3 predictions for 4 tasks" in failure(tmp_path)


def test_a_grader_that_breaks_leaves_blanks(thin: Thin, tmp_path: Path) -> None:
    thin.worker(f"{ANSWERS}\nif command == 'grade': sys.exit(3)")
    predictions = thin.model().predict(QUESTIONS)
    assert all(math.isnan(metric(QUESTIONS, predictions)) for metric in thin.metrics().values())
    assert "exit 3" in failure(tmp_path)
    assert len(thin.calls()) == 2


def test_results_that_cannot_be_written_do_not_sink_the_leaderboard(
    thin: Thin, tmp_path: Path
) -> None:
    (tmp_path / "not").write_text("a file in the way")
    thin.worker(ANSWERS)
    predictions = thin.model().predict(QUESTIONS)
    assert len(predictions) == 4
    assert math.isnan(thin.metrics()["pass_at_1"](QUESTIONS, predictions))


def test_the_worker_runs_in_the_job_without_what_belongs_to_ianvs(
    thin: Thin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ianvs")
    monkeypatch.setenv("VIRTUAL_ENV", "/ianvs/venv")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    thin.worker(ANSWERS)
    thin.model().predict(QUESTIONS)
    ((arguments, env, cwd),) = thin.calls()
    assert arguments == ["-m", "evaluator.ianvs_worker", "generate"]
    assert cwd == str(thin.folder)
    assert "VIRTUAL_ENV" not in env
    assert env["PYTHONPATH"] == str(Path(__file__).resolve().parents[3])
    assert env["CUDA_VISIBLE_DEVICES"] == env["ASCEND_RT_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("device", "base", "cuda", "ascend"),
    [
        ("cpu", {"CUDA_VISIBLE_DEVICES": "0", "ASCEND_RT_VISIBLE_DEVICES": "0"}, "", ""),
        ("gpu", {}, "0", ""),
        ("gpu", {"CUDA_VISIBLE_DEVICES": "2,3"}, "2,3", ""),
        ("gpu", {"CUDA_VISIBLE_DEVICES": "0", "SRS_DEVICES": "5"}, "5", ""),
        ("npu", {}, "", "0"),
        ("npu", {"ASCEND_RT_VISIBLE_DEVICES": "6", "CUDA_VISIBLE_DEVICES": "0"}, "", "6"),
        ("cpu", {"SRS_DEVICE": "npu", "SRS_DEVICES": "1"}, "", "1"),
    ],
)
def test_one_kind_of_device_is_visible(
    thin: Thin, device: str, base: dict[str, str], cuda: str, ascend: str
) -> None:
    settings = {"device": device, "project": "", "config": config()}
    env = thin.op_eval.environment(settings, base)
    assert env["CUDA_VISIBLE_DEVICES"] == cuda
    assert env["ASCEND_RT_VISIBLE_DEVICES"] == ascend


def test_an_engine_of_several_devices_sees_as_many(thin: Thin) -> None:
    settings = {"device": "npu", "project": "", "config": {"devices": {"tensor_parallel": 4}}}
    assert thin.op_eval.environment(settings, {})["ASCEND_RT_VISIBLE_DEVICES"] == "0,1,2,3"
    asked = {"SRS_DEVICES": "4,5"}
    assert thin.op_eval.environment(settings, asked)["ASCEND_RT_VISIBLE_DEVICES"] == "4,5"


def test_a_device_of_another_name_is_refused(thin: Thin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("SRS_DEVICE", "tpu")
    thin.worker(ANSWERS)
    thin.model().predict(QUESTIONS)
    assert "SRS_DEVICE is 'tpu'" in failure(tmp_path)
