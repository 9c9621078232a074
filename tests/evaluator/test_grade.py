import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluator import grade_batch
from evaluator.grade import main
from sandbox.runner import Limits, Sandbox
from srs.types import Candidate, Task

TEST = "def test_one():\n    assert double(1) == 2\n\ndef test_zero():\n    assert double(0) == 0\n"
GOOD = "def double(x):\n    return 2 * x\n"
BAD = "def double(x):\n    return x\n"


def task(id: str = "T_1_I") -> Task:
    return Task(
        id=id, group="g", kind="pytest", style="instruct", subset="T", question="q", declaration=None,
        entry_point=None, test=TEST, reference=GOOD,
    )  # fmt: skip


def candidate(code: str | None, index: int = 0) -> Candidate:
    return Candidate(
        task="T_1_I", round=1, index=index, prompt="", completion=code or "", code=code,
        policy="base", seed=0, n_tokens=0, truncated=False,
    )  # fmt: skip


def test_verdicts_keep_the_order_of_the_candidates(process_sandbox: Sandbox) -> None:
    codes = [None, GOOD, None, None, BAD, GOOD, None]
    verdicts = list(
        grade_batch([task()], (candidate(c, i) for i, c in enumerate(codes)), process_sandbox)
    )
    assert [v.index for v in verdicts] == list(range(7))
    assert [v.outcome for v in verdicts] == [
        "no_code", "passed", "no_code", "no_code", "failed", "passed", "no_code",
    ]  # fmt: skip
    assert verdicts[4].n_passed == 1
    assert "1 == 2" in verdicts[4].detail


def test_grading_keeps_up_with_generation(process_sandbox: Sandbox) -> None:
    taken = 0

    def endless() -> Iterator[Candidate]:
        nonlocal taken
        for taken in itertools.count(1):
            yield candidate(GOOD, taken)

    verdicts = grade_batch([task()], endless(), process_sandbox, limits=Limits(timeout_s=10))
    assert all(v.passed for v in itertools.islice(verdicts, 5))
    assert taken < 50


LYING = "class Any:\n    def __eq__(self, other):\n        return True\ndef double(x):\n    return Any()\n"
PATCHED = """
def test_asked(monkeypatch):
    monkeypatch.setattr("builtins.input", lambda: "21")
    assert double_of_input() == 42
"""
ASKING = "def double_of_input():\n    return 2 * int(input())\n"
FORGING = "import _pytest.python as p\np.Function.runtest = lambda self: None\ndef double_of_input():\n    return 0\n"


@pytest.mark.parametrize(
    ("test", "code", "outcome", "path"),
    [
        (TEST, GOOD, "passed", "split+canaries"),
        (TEST, BAD, "failed", "split+canaries"),
        (TEST, LYING, "tampered", "split+canaries"),
        (PATCHED, ASKING, "passed", "together+canaries"),
        (PATCHED, FORGING, "tampered", "together+canaries"),
        (PATCHED, ASKING.replace("2", "3"), "failed", "together+canaries"),
    ],
)
def test_without_a_reference(
    process_sandbox: Sandbox, test: str, code: str, outcome: str, path: str
) -> None:
    (verdict,) = grade_batch(
        [dataclasses.replace(task(), test=test, reference=None)], [candidate(code)], process_sandbox
    )
    assert (verdict.outcome, verdict.path) == (outcome, path), verdict.detail


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def tasks_file(tmp_path: Path) -> Path:
    return write(
        tmp_path / "tasks.jsonl",
        [
            {
                "version": "v1.0", "style": "instruct", "subset": "T", "question_id": "T_1_I",
                "question": "Double it.", "solution": GOOD, "test": TEST,
                "test_info": [{"function_name": "double", "function_declaration": "def double(x):"}],
            },
        ],
    )  # fmt: skip


def arguments(tasks: Path, candidates: Path, out: Path) -> list[str]:
    return [
        "--tasks", str(tasks), "--candidates", str(candidates), "--out", str(out),
        "--sandbox", "process", "--workers", "1", "--timeout-s", "2",
    ]  # fmt: skip


def test_the_command(tasks_file: Path, tmp_path: Path) -> None:
    rows = [
        {"question_id": "T_1_I", "code": GOOD},
        {"question_id": "T_1_I", "completion": f"Sure:\n```python\n{GOOD}```\n"},
        {"question_id": "T_1_I", "completion": f"```python\n{GOOD}```\nIts tests:\n```python\ndef test_it():\n    assert double(1) == 2\n```\n"},
        {"question_id": "T_1_I", "completion": "I don't know."},
        {"question_id": "T_1_I", "code": BAD},
        {"question_id": "T_1_I", "code": "x = '\0'\n" + GOOD},
        {"question_id": "T_1_I", "code": "x = '\ud800'\n" + GOOD},
        {"question_id": "T_1_I", "code": "while True: pass"},
        {"question_id": "T_1_I", "code": ""},
    ]  # fmt: skip
    out = tmp_path / "v.jsonl"
    command = [sys.executable, "-W", "error", "-m", "evaluator.grade"]
    candidates = write(tmp_path / "c.jsonl", rows)
    done = subprocess.run(
        [*command, *arguments(tasks_file, candidates, out)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [v["outcome"] for v in verdicts] == [
        "passed", "passed", "passed", "no_code", "failed", "error", "error", "timeout", "error",
    ]  # fmt: skip
    assert [v["index"] for v in verdicts] == list(range(9))
    assert list(verdicts[0]) == [
        "question_id", "index", "outcome", "n_passed", "n_collected", "wall_s", "detail", "path",
    ]  # fmt: skip
    assert (verdicts[4]["n_passed"], verdicts[4]["n_collected"]) == (1, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.jsonl", "tasks.jsonl", "v.jsonl"]


def test_every_unusable_line_is_named(
    tasks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidates = tmp_path / "c.jsonl"
    candidates.write_bytes(
        b'{"question_id": "T_1_I", "code": ""}\n'
        b"{nonsense\n"
        b'{"question_id": "other", "code": ""}\n'
        b'{"question_id": "T_1_I"}\n'
        b'{"question_id": "T_1_I", "code": 3}\n'
        b'\x00\xff"\n'
        b'[1]\n'
    )  # fmt: skip
    out = tmp_path / "v.jsonl"
    out.write_text("old")
    assert main(arguments(tasks_file, candidates, out)) == 2
    message = capsys.readouterr().err
    assert [f"{candidates}:{n}:" in message for n in range(1, 8)] == [False] + [True] * 6
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.jsonl", "tasks.jsonl", "v.jsonl"]


def test_missing_files(
    tasks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidates = write(tmp_path / "c.jsonl", [])
    missing = tmp_path / "missing.jsonl"
    assert main(arguments(missing, candidates, tmp_path / "v")) == 2
    assert main(arguments(tasks_file, missing, tmp_path / "v")) == 2
    assert main(arguments(tasks_file, candidates, tmp_path / "no" / "v")) == 2
    assert capsys.readouterr().err.count(str(missing)) == 2
    assert main(arguments(tasks_file, candidates, tmp_path / "v")) == 0
    assert (tmp_path / "v").read_text() == ""


def test_a_broken_sandbox_is_exit_3(
    tasks_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    candidates = write(tmp_path / "c.jsonl", [{"question_id": "T_1_I", "code": GOOD}])
    out = tmp_path / "v.jsonl"
    args = [*arguments(tasks_file, candidates, out), "--sandbox", "docker"]
    assert main(args) == 3
    assert not out.exists()
