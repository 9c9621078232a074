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
from evaluator.candidates import writing_verdicts
from evaluator.grade import main
from evaluator.reference import verify
from sandbox.runner import Limits, Sandbox
from srs.types import Candidate, Task, UserError, Verdict

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

NODES = """
class Node:
    def __init__(self, value, rest=None):
        self.value, self.rest = value, rest
def test_total():
    assert total(Node(1, Node(2))) == 3
"""
TOTAL = "def total(node):\n    return node.value + total(node.rest) if node else 0\n"
READING = """
import re, sys
def total(node):
    return int(re.search(r"== (\\d+)", open(sys._getframe(1).f_code.co_filename).read())[1])
"""
SUBCLASS = """
class Square(Shape):
    def area(self):
        return 4
def test_described():
    assert Square().described() == "area 4"
"""
SHAPE = "class Shape:\n    def described(self):\n        return f'area {self.area()}'\n"
MADE = """
class Node:
    value = 3
def test_made():
    assert first_value(lambda: Node()) == 3
"""
FIRST_VALUE = "def first_value(make):\n    return make().value\n"
KINDS = """
def test_types():
    assert all(isinstance(x, (int, float)) for x in scale([1, 2], 2))
def test_values():
    assert scale([1, 2], 2) == [2, 4]
"""
SCALE, SCALE_FLOAT = (
    f"def scale(v, k):\n    return [{item} for x in v]\n" for item in ("x * k", "float(x * k)")
)
KEYS = "def test_keys():\n    assert 'A' in graph()\n"
BACK = "def test_back():\n    assert decoded(encoded(3)) == 3\n"
PROVOKING = [
    made + FORGING + "def encoded(x):\n    return given\ndef decoded(x):\n    return 0\n"
    for made in (
        "import os as given\n",
        "import collections\ngiven = collections.namedtuple('given', 'x')\n",
        "async def given_later():\n    return 1\ngiven = given_later()\n",
    )
]
HOLDING = "class All:\n    def __contains__(self, x):\n        return True\ndef graph():\n    return All()\n"
RETYPED = "def test_it():\n    v = [0, 1]\n    to_bool(v)\n    assert v[0] is False\n    assert v == [False, True]\n"
TO_BOOL = "def to_bool(v):\n    v[:] = [bool(x) for x in v]\n"
FIXTURE = "import pytest\n@pytest.fixture\ndef two():\n    return 2\ndef test_two(two):\n    assert two == 2\n"
GRAPH = "def graph():\n    return {'A': 'B', 'B': 'A'}\n"


@pytest.mark.parametrize(
    ("test", "code", "outcome", "path"),
    [
        (NODES, TOTAL, "passed", "together+canaries"),
        (NODES, TOTAL.replace("+", "*"), "failed", "together+canaries"),
        (NODES, READING, "tampered", "together+canaries"),
        (NODES, FORGING + "def total(node):\n    return 0\n", "tampered", "together+canaries"),
        (SUBCLASS, SHAPE, "passed", "together+canaries"),
        (MADE, FIRST_VALUE, "passed", "together+canaries"),
        *((BACK, code, "failed", "split+canaries") for code in PROVOKING),
        (KINDS, SCALE, "passed", "split+canaries"),
        (KEYS, GRAPH, "passed", "split+canaries"),
        (KEYS, HOLDING, "tampered", "split+canaries"),
        (RETYPED, TO_BOOL, "passed", "split+canaries"),
        (RETYPED, TO_BOOL.replace("[bool(", "[int("), "failed", "split+canaries"),
        (FIXTURE + SUBCLASS, SHAPE, "passed", "together+canaries"),
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


def test_a_type_that_the_reference_does_not_give_is_no_tampering(process_sandbox: Sandbox) -> None:
    tasks = [dataclasses.replace(task(), test=KINDS, reference=SCALE_FLOAT)]
    expectations, _ = verify(tasks, process_sandbox, None)
    (verdict,) = grade_batch(tasks, [candidate(SCALE)], process_sandbox, expectations=expectations)
    assert (verdict.outcome, verdict.path) == ("passed", "split+canaries"), verdict.detail


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
    assert "sandbox: process, cpython" in done.stderr
    assert "not covered: memory is limited per process" in done.stderr
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


OWN_COPY = """
def double(x):
    return 2 * x

def test_one():
    assert double(1) == 2
"""
MUTE = "def test_a():\n    class G(F):\n        pass\n    G()\n"


@pytest.mark.parametrize(
    ("test", "solution", "why"),
    [
        (OWN_COPY, GOOD, "carry their own copy of the solution"),
        (MUTE, "class F:\n    pass\n", "can't tell an honest answer"),
    ],
    ids=["own copy", "mute"],
)
def test_tests_that_say_nothing_pass_nobody(
    tasks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    test: str, solution: str, why: str,
) -> None:  # fmt: skip
    """Each of their candidates still gets a verdict, in its place."""
    mute = {"question_id": "T_2_I", "test": test, "solution": solution}
    tasks = write(tmp_path / "t.jsonl", [json.loads(tasks_file.read_text()), mute])
    codes = [
        ("T_2_I", solution),
        ("T_1_I", GOOD),
        ("T_2_I", "def double(x): return 0"),
        ("T_1_I", BAD),
    ]
    candidates = write(tmp_path / "c.jsonl", [{"question_id": t, "code": c} for t, c in codes])
    out = tmp_path / "v.jsonl"
    assert main(arguments(tasks, candidates, out)) == 0
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [v["outcome"] for v in verdicts] == ["error", "passed", "error", "failed"]
    assert [v["question_id"] for v in verdicts] == [task for task, _ in codes]
    assert why in verdicts[0]["detail"]
    said = capsys.readouterr().err
    assert f"T_2_I: its tests {why}" in said
    assert "reference fails" not in said


@pytest.mark.parametrize("limit", ["inf", "nan", "0"])
def test_a_time_limit_that_is_none(
    tasks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    candidates = write(tmp_path / "c.jsonl", [{"question_id": "T_1_I", "code": GOOD}] * 2)
    args = [*arguments(tasks_file, candidates, tmp_path / "v"), "--timeout-s", limit]
    assert main(args) == 2
    assert "--timeout-s above 0 and finite" in capsys.readouterr().err


def test_a_sandbox_that_finds_no_disk_is_exit_3(
    tasks_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def full(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    candidates = write(tmp_path / "c.jsonl", [{"question_id": "T_1_I", "code": GOOD}])
    assert main(arguments(tasks_file, candidates, tmp_path / "v")) == 3
    assert "No usable temporary directory" in capsys.readouterr().err


def test_only_errors_of_the_file_are_the_files(tmp_path: Path) -> None:
    out = tmp_path / "v.jsonl"
    with pytest.raises(OSError, match="elsewhere"), writing_verdicts(out):
        raise OSError("elsewhere")
    verdict = Verdict(
        task="T", round=0, index=0, outcome="error", n_passed=0, n_collected=0, wall_s=0
    )
    out.mkdir()
    with pytest.raises(UserError, match="cannot write the verdicts"), writing_verdicts(out) as add:
        add(verdict)
    assert [p.name for p in tmp_path.iterdir()] == ["v.jsonl"]
