"""``python -m evaluator.repair``: a real model once, else a scripted one; resuming; what it refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

import srs.generate
from evaluator.repair import main
from srs.generate import Policy, Request, Sampling
from srs.preferences import load_pairs
from srs.types import Candidate

GOOD, BAD, UNCLEAN = (
    "def f(x):\n    return x + 1\n",
    "def f(x):\n    return x\n",
    "def f(x):\n    return eval('x') + 1\n",
)
FAST = ["--engine", "transformers", "--sandbox", "process", "--set", "sandbox.timeout_s=5",
        "--set", "sandbox.workers=1", "--set", "generate.max_tokens=24"]  # fmt: skip


def row(name: str) -> dict[str, Any]:
    return {
        "question_id": name, "question": "Add one.", "solution": GOOD, "style": "instruct", "subset": "T",
        "test": "from solution import f\n\ndef test_f():\n    assert f(1) == 2\n",
        "test_info": [{"function_name": "f", "function_declaration": "def f(x):"}],
    }  # fmt: skip


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write(tmp_path / "tasks.jsonl", [row(name) for name in ("T_1", "T_2", "T_3")])


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    rows = [("T_1", GOOD), ("T_2", BAD), ("T_3", UNCLEAN)]
    return write(tmp_path / "c.jsonl", [{"question_id": n, "code": c} for n, c in rows])


@pytest.fixture
def command(tasks: Path, candidates: Path, tmp_path: Path) -> list[str]:
    return [
        "--tasks", str(tasks), "--candidates", str(candidates), "--model", "tiny",
        "--out", str(tmp_path / "out"), *FAST,
    ]  # fmt: skip


class Scripted:
    """A generator that repairs when it is told what is wrong, and else repeats the mistake."""

    chat = True
    engine = "script"

    def __init__(self, answer: Callable[[Request], str | None]) -> None:
        self.answer = answer
        self.seeds: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def ready(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"engine": self.engine, "chat": self.chat}

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        assert sampling.n == 1
        for request in requests:
            self.seeds.append(request.seed)
            code = self.answer(request)
            yield Candidate(
                task=request.task.id, round=round, index=0, prompt=f"<{request.task.question}>",
                completion=code or "", code=code, policy=policy.name, seed=request.seed, n_tokens=9,
                truncated=False,
            )  # fmt: skip


def told(request: Request) -> str | None:
    return GOOD if "What is wrong" in request.task.question else BAD


@pytest.fixture
def scripted(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[Request], str | None]], Scripted]:
    def use(answer: Callable[[Request], str | None]) -> Scripted:
        generator = Scripted(answer)
        monkeypatch.setattr(srs.generate, "open_generator", lambda *_: generator)
        return generator

    return use


Use = Callable[[Callable[[Request], str | None]], Scripted]


def report(command: list[str]) -> dict[str, Any]:
    out = Path(command[command.index("--out") + 1])
    result: dict[str, Any] = json.loads((out / "report.json").read_text())
    return result


def test_a_real_model(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command += ["--analyzer", "ruff"]
    assert main(command) == 0
    out = tmp_path / "out"
    lines = (out / "epochs" / "0001-feedback.jsonl").read_text().splitlines()
    (attempt,) = map(json.loads, lines)
    assert attempt["task"] == "T_2", "the others are right"
    assert "1 == 2" in attempt["prompt"], "the failing test's message"
    assert "Add one." in attempt["prompt"]
    assert attempt["n_tokens"] > 0
    control = json.loads((out / "epochs" / "0001-control.jsonl").read_text())
    assert control["seed"] == attempt["seed"]
    assert "What is wrong" not in control["prompt"]
    before = report(command)
    assert before["measures"]["passed"]["start"] == pytest.approx(2 / 3)

    # A step that is missing is made again, and is the same; a finished one needs no model.
    (out / "epochs" / "0001-control.jsonl").unlink()
    assert main(command) == 0
    assert json.loads((out / "epochs" / "0001-control.jsonl").read_text()) == control
    monkeypatch.setattr(srs.generate, "open_generator", lambda *_: pytest.fail("all is done"))
    (out / "report.json").unlink()
    assert main(command) == 0
    assert report(command) == before


def test_fixed_and_broken_beside_the_control(
    command: list[str], tmp_path: Path, scripted: Use, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bandit", reason="bandit is not installed")
    generator = scripted(told)
    assert main([*command, "--analyzer", "bandit", "--epochs", "2"]) == 0
    result = report(command)
    passed, ok = result["measures"]["passed"], result["measures"]["ok"]
    assert (passed["start"], passed["feedback"]["share"]) == (pytest.approx(2 / 3), 1)
    assert (passed["feedback"]["fixed"], passed["feedback"]["broken"]) == (1, 0)
    assert (passed["control"]["fixed"], passed["control"]["broken_items"]) == (0, [["T_3", 0]])
    assert (ok["start"], ok["feedback"]["share"], ok["control"]["share"]) == (
        pytest.approx(1 / 3), 1, pytest.approx(1 / 3),
    )  # fmt: skip
    assert result["spent"] == {
        "feedback": {"answers": 2, "tokens": 18, "no_room": 0},
        "control": {"answers": 4, "tokens": 36, "no_room": 0},
    }
    assert len(set(generator.seeds[:2])) == 2
    assert generator.seeds[:2] == generator.seeds[2:4], "the arms' seeds are paired"
    pairs = load_pairs(tmp_path / "out" / "pairs.jsonl")
    assert [(p.task, p.rejected_outcome, p.prompt) for p in pairs] == [
        ("T_2", "failed", "<Add one.>"),
        ("T_3", "passed", "<Add one.>"),
    ]
    assert "2 of 3 items to repair, 3 tasks" in capsys.readouterr().out


def test_interrupted_and_continued_with_more_epochs(
    command: list[str], tmp_path: Path, scripted: Use, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(request: Request) -> str | None:
        if "What is wrong" not in request.task.question:
            raise KeyboardInterrupt
        return BAD

    scripted(interrupt)
    assert main(command) == 130
    assert "the same command again continues" in capsys.readouterr().err
    epochs = tmp_path / "out" / "epochs"
    kept = epochs / "0001-feedback.jsonl"
    written = kept.stat().st_mtime_ns
    assert sorted(path.name for path in epochs.iterdir()) == ["0000.jsonl", "0001-feedback.jsonl"]
    scripted(told)
    assert main(command) == 0
    assert report(command)["measures"]["passed"]["feedback"]["fixed"] == 0
    assert main([*command, "--epochs", "2"]) == 0
    assert report(command)["measures"]["passed"]["feedback"]["fixed"] == 1
    assert kept.stat().st_mtime_ns == written
    assert main([*command, "--epochs", "2", "--analyzer", "ruff"]) == 2
    assert "was begun with analyzers = []" in capsys.readouterr().err


def test_without_answers_the_model_writes_them(tasks: Path, tmp_path: Path, scripted: Use) -> None:
    scripted(told)
    command = ["--tasks", str(tasks), "--limit", "2", "--model", "tiny", "--out", str(tmp_path / "o"), *FAST]  # fmt: skip
    assert main(command) == 0
    passed = report(command)["measures"]["passed"]
    assert (passed["n_items"], passed["start"], passed["feedback"]["fixed"]) == (2, 0, 2)


def test_a_prompt_set_is_judged_by_analyzers_alone(
    tmp_path: Path, scripted: Use, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": "Add one.", "code-reference": GOOD},
        {"prompt": "Twice.", "code-reference": ""},
    ]
    path = write(tmp_path / "multi.jsonl", rows)
    scripted(lambda request: GOOD if "eval" in request.task.question else "import os\n" + UNCLEAN)
    command = ["--tasks", str(path), "--model", "tiny", "--out", str(tmp_path / "o"), *FAST]
    assert main(command) == 2
    assert "has no tests: give an --analyzer" in capsys.readouterr().err
    assert main([*command, "--analyzer", "ruff:F,S307"]) == 0
    assert "no tests in this set" in capsys.readouterr().out
    result = report(command)
    assert list(result["measures"]) == ["clean", "ok"]
    assert result["measures"]["clean"]["feedback"]["fixed"] == 2
    assert result["measures"]["clean"]["control"]["fixed"] == 0
    assert result["n_pairs"] == 0, "whether an answer without tests works isn't known"


def test_answers_from_a_result_folder(
    tasks: Path, tmp_path: Path, scripted: Use, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    for name, code in (("greedy", BAD), ("sampled", GOOD)):
        (folder / "t" / name).mkdir(parents=True)
        samples = [{"task_id": f"T_{i}", "solution": code} for i in (1, 2)]
        write(folder / "t" / name / "samples.jsonl", samples)
    digest = hashlib.sha256(tasks.read_bytes()).hexdigest()
    settings = {"benchmarks": {"t": {"sha256": digest, "schema": "kodcode", "tasks": 2}}}
    (folder / "settings.json").write_text(json.dumps(settings))
    scripted(told)
    command = ["--tasks", str(tasks), "--results", str(folder), "--model", "tiny", "--out", str(tmp_path / "o"), *FAST]  # fmt: skip
    assert main(command) == 2
    assert "--answers is missing: choose greedy, sampled" in capsys.readouterr().err
    assert main([*command, "--answers", "greedy"]) == 0
    assert report(command)["measures"]["passed"]["feedback"]["fixed"] == 2
    write(tasks, [row("T_1")])
    assert main([*command, "--answers", "greedy"]) == 2
    assert "its answers are to other tasks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["--set", "generate.temperature=0"],
            "generate.temperature: 0 writes the same answer again",
        ),
        (["--epochs", "0"], "--epochs must be 1 or more"),
        (["--analyzer", "pylint"], "--analyzer pylint: choose bandit"),
        (["--analyzer", "valgrind"], "builds and runs the programs"),
        (["--adapter", "/nonexistent"], "--adapter /nonexistent"),
        (["--set", "generate.temprature=1"], "did you mean generate.temperature"),
        (["--candidates", "/nonexistent.jsonl"], "/nonexistent.jsonl"),
        (["--model", "/nonexistent"], "/nonexistent"),
    ],
)
def test_unusable_input(
    command: list[str], changes: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *changes]) == 2
    assert message in capsys.readouterr().err


def test_tasks_that_can_t_be_judged_are_dropped(
    tasks: Path,
    command: list[str],
    tmp_path: Path,
    scripted: Use,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tasks, [row("T_1"), row("T_2"), {**row("T_3"), "solution": BAD}])
    scripted(told)
    assert main(command) == 0
    assert report(command)["n_tasks"] == 2
    (dropped,) = map(
        json.loads, (tmp_path / "out" / "tasks_dropped.jsonl").read_text().splitlines()
    )
    assert dropped["task"] == "T_3"
    assert "1 of 3 tasks dropped" in capsys.readouterr().out
    assert main([*command, "--epochs", "2"]) == 0
    assert report(command)["n_tasks"] == 2
    write(tasks, [{**row(name), "solution": BAD} for name in ("T_1", "T_2", "T_3")])
    assert main([*command, "--out", str(tmp_path / "none")]) == 2
    assert "all 3 tasks were dropped" in capsys.readouterr().err


def test_a_broken_judge_is_exit_3(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    assert main([*command, "--sandbox", "docker"]) == 3
    assert main([*command, "--out", str(tmp_path / "o2"), "--analyzer", "sarif:false {sarif}"]) == 3
    assert not (tmp_path / "o2" / "epochs").exists()
