import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evaluator.benchmark_rows import Opening
from evaluator.benchmarks import Benchmark, parse_name, read_benchmark
from evaluator.generations import candidates
from evaluator.grade import grade_batch
from evaluator.reference import verify
from sandbox.runner import Sandbox
from srs.kodcode import to_task
from srs.rows import read_file
from srs.types import UserError, Verdict

DATA = Path(__file__).parents[3] / "shared" / "data"
HUMANEVAL: dict[str, Any] = {
    "task_id": "HumanEval/900",
    "prompt": "import math\n\n\ndef root(x: int) -> int:\n    return math.isqrt(x)\n\n\n"
    'def is_square(x: int) -> bool:\n    """Whether x is a square.\n    >>> is_square(9)\n    True\n    """\n',
    "canonical_solution": "    return root(x) ** 2 == x\n",
    "test": "\n\nMETADATA = {'author': 'us'}\n\n\ndef check(candidate):\n    assert candidate(9) == True\n"
    "    assert candidate(root(16) ** 2) == True\n    assert candidate(8) == False\n",
    "entry_point": "is_square",
}
PLUS: dict[str, Any] = {
    "task_id": "HumanEval/901",
    "prompt": 'def half(x):\n    """Half of x, in a list."""\n',
    "contract": "    assert x >= 0\n",
    "canonical_solution": "    return [x / 2]\n",
    "entry_point": "half",
    "base_input": [[1], [2]],
    "plus_input": [[3.5], [0]],
    "atol": 0,
}
MBPP_PLUS: dict[str, Any] = {
    "task_id": "Mbpp/579",
    "prompt": '"""\nWrite a function to find what two tuples don\'t share.\nassert find_dissimilar((3, 4), (4, 5)) == (3, 5)\n"""\n',
    "contract": "\n  assert isinstance(a, tuple)  # $_CONTRACT_$",
    "canonical_solution": "\ndef find_dissimilar(a, b):\n    return tuple(set(a) ^ set(b))\n",
    "entry_point": "find_dissimilar",
    "base_input": [[[3, 4], [4, 5]]],
    "plus_input": [[[], [1]]],
    "atol": 0,
}
MBPP: dict[str, Any] = {
    "text": "Write a function to find whether a list contains a duplicate.",
    "code": "class Seen(set):\r\n    pass\r\ndef test_duplicate(xs):\r\n    return len(xs) != len(Seen(xs))",
    "task_id": 19,
    "test_setup_code": "import math",
    "test_list": [
        "assert test_duplicate([1, 2]) == False",
        "assert test_duplicate([math.pi, math.pi]) == True",
    ],
    "challenge_test_list": ["assert test_duplicate([]) == False"],
}
SANITIZED: dict[str, Any] = {
    "source_file": "x",
    "task_id": 2,
    "prompt": "Write a function to add.",
    "code": "def add(a, b):\n    return a + b",
    "test_imports": ["import math"],
    "test_list": ["assert add(1, 2) == 3", "assert math.isclose(add(0.1, 0.2), 0.3)"],
}
HUB_PLUS: dict[str, Any] = {
    **SANITIZED,
    "task_id": 3,
    "test": "inputs = [[1, 2], [3, 4]]\nresults = [3, 7]\n"
    "def assertion(out, exp):\n    assert out == exp\n\n"
    "for inp, exp in zip(inputs, results):\n    assertion(add(*inp), exp)\n",
}
KODCODE: dict[str, Any] = {
    "question_id": "T_1_I",
    "question": "Double it.",
    "solution": "def double(x):\n    return 2 * x\n",
    "test": "def test_it():\n    assert double(2) == 4\n",
}
STDIO: dict[str, Any] = {
    "question_id": "T_2_OJ",
    "style": "online_judge",
    "question": "Add 1.",
    "solution": "print(int(input()) + 1)",
    "test": {"stdin": ["1\n", "4\n"], "stdout": ["2\n", "5\n"]},
}


def write(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, **options: Any) -> Benchmark:
    return read_benchmark("b", path, read_file(path), to_task, **options)


def verdicts(benchmark: Benchmark, sandbox: Sandbox, *texts: str) -> list[Verdict]:
    """Of these answers to the benchmark's only task, whose reference must pass."""
    (task,) = benchmark.tasks
    expectations, dropped = verify([task], sandbox, None)
    assert not dropped
    found = candidates(benchmark, {task.id: texts}, "base")
    return list(grade_batch([task], found, sandbox, expectations=expectations))


@pytest.mark.parametrize(
    ("row", "schema", "right", "wrong"),
    [
        (HUMANEVAL, "humaneval", "    return round(x ** 0.5) ** 2 == x\n", "    return True\n"),
        (PLUS, "evalplus", "    return [0.5 * x]\n", "    return [x // 2]\n"),
        (MBPP_PLUS, "evalplus", "def find_dissimilar(a, b):\n    return sorted({*a, *b} - ({*a} & {*b}))\n", "def find_dissimilar(a, b):\n    return a + b\n"),
        (MBPP, "mbpp", "def test_duplicate(xs):\n    return len(set(xs)) < len(xs)\n", "def test_duplicate(xs):\n    return True\n"),
        (SANITIZED, "mbpp", "def add(a, b):\n    return b + a\n", "def add(a, b):\n    return 3\n"),
        (HUB_PLUS, "mbpp", "def add(a, b):\n    return b + a\n", "def add(a, b):\n    return 3\n"),
        (KODCODE, "kodcode", "def double(x):\n    return x + x\n", "def double(x):\n    return 5\n"),
        (STDIO, "kodcode", "print(1 + int(input()))", "print(2)"),
    ],
)  # fmt: skip
def test_every_schema_is_graded(
    tmp_path: Path,
    process_sandbox: Sandbox,
    row: dict[str, Any],
    schema: str,
    right: str,
    wrong: str,
) -> None:
    benchmark = read(write(tmp_path / "b.jsonl", row))
    assert benchmark.schema == schema
    outcomes = [v.outcome for v in verdicts(benchmark, process_sandbox, right, wrong)]
    assert outcomes == ["passed", "failed"]


def test_what_the_prompt_brings_belongs_to_the_program(
    tmp_path: Path, process_sandbox: Sandbox
) -> None:
    """Its imports and helpers; the tests have their own copy, which an answer can't change."""
    benchmark = read(write(tmp_path / "b.jsonl", HUMANEVAL))
    assert benchmark.openings["HumanEval/900"] == Opening(
        head=HUMANEVAL["prompt"],
        preamble="import math\n\n\ndef root(x: int) -> int:\n    return math.isqrt(x)",
    )
    alone = "def is_square(x):\n    return root(x) ** 2 == x\n"
    lying = "def root(x):\n    return 0\ndef is_square(x):\n    return x in (0, 9)\n"
    first, second = verdicts(benchmark, process_sandbox, alone, lying)
    assert first.passed
    assert "16" in second.detail


@pytest.mark.parametrize(
    ("atol", "answer", "outcome"),
    [
        (0, "[x / 2 + 1e-9]", "passed"),  # floats are never compared exactly
        (0, "[x / 2 + 1e-5]", "failed"),
        (1e-4, "[x / 2 + 1e-5]", "passed"),
        (1e-4, "[x / 2, 0]", "failed"),
        (0, "[x / 2.0]", "passed"),
        (0, "(x / 2 + 1e-9,)", "failed"),  # near, but of another type
    ],
)
def test_the_tolerance_of_evalplus(
    tmp_path: Path, process_sandbox: Sandbox, atol: float, answer: str, outcome: str
) -> None:
    benchmark = read(write(tmp_path / "b.jsonl", {**PLUS, "atol": atol}))
    (verdict,) = verdicts(benchmark, process_sandbox, f"    return {answer}\n")
    assert verdict.outcome == outcome, verdict.detail


def test_any_root_of_the_polynomial_will_do(tmp_path: Path, process_sandbox: Sandbox) -> None:
    row = {
        **PLUS,
        "prompt": "def find_zero(xs):\n",
        "entry_point": "find_zero",
        "canonical_solution": "    return 1.0 if xs == [2, -3, 1] else -xs[0] / xs[1]\n",
        "base_input": [[[1, 2]]],
        "plus_input": [[[2, -3, 1]]],
        "atol": 1e-4,
    }
    benchmark = read(write(tmp_path / "b.jsonl", row))
    other = "    return 2.0 if len(xs) == 3 else -xs[0] / xs[1]\n"
    wrong = "    return 1.5 if len(xs) == 3 else -xs[0] / xs[1]\n"
    found = verdicts(benchmark, process_sandbox, other, wrong)
    assert [v.outcome for v in found] == ["passed", "failed"]


def test_mbpp_shows_its_tests_and_keeps_the_challenge_for_those_who_ask(tmp_path: Path) -> None:
    path = write(tmp_path / "b.jsonl", MBPP)
    (task,) = read(path).tasks
    (hard,) = read(path, challenge_tests=True).tasks
    assert task.id == "Mbpp/19"
    assert task.question.endswith(
        "Your code should pass these tests:\n\n" + "\n".join(MBPP["test_list"])
    )
    assert task.test.count("def test_") == 2
    assert hard.test.count("def test_") == 3
    assert hard.question == task.question


def test_the_first_tasks_only(tmp_path: Path) -> None:
    rows = [{**KODCODE, "question_id": f"T_{i}_I"} for i in range(5)]
    path = write(tmp_path / "b.jsonl", *rows)
    assert [task.id for task in read(path, limit=2).tasks] == ["T_0_I", "T_1_I"]
    assert len(read(path).tasks) == 5
    assert read(path, limit=2).sha256 == read(path).sha256


def without(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != key}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 1, "prompt": "x"}], r"b\.jsonl:1: not a benchmark's row; its keys: id, prompt\. Known"),
        ([without(HUMANEVAL, "test")], r":1: not a benchmark's row"),
        ([HUMANEVAL, HUMANEVAL], r":2: HumanEval/900 stands in the file twice"),
        ([HUMANEVAL, MBPP], r":2: a row of mbpp in a file of humaneval"),
        ([KODCODE, []], r":2: expected an object, got list"),
        ([{**HUMANEVAL, "test": "def check(:"}], r":1: test is not Python"),
        ([{**HUMANEVAL, "test": "x = 1"}], r":1: test: neither a check function nor a statement that uses is_square"),
        ([{**HUMANEVAL, "entry_point": "a b"}], r":1: entry_point 'a b' is not a name"),
        ([{**MBPP_PLUS, "plus_input": [[3, 4]]}], r":1: an input is none of Mbpp/579: 'int' object is not iterable"),
        ([{**MBPP_PLUS, "task_id": "Mbpp/722", "base_input": [[[1], 2]]}], r":1: an input is none of Mbpp/722: 'list' object has no"),
        ([{**MBPP_PLUS, "canonical_solution": "def ("}], r":1: canonical_solution is not Python"),
        ([{**MBPP_PLUS, "entry_point": "a b"}], r":1: entry_point 'a b' is not a name"),
        ([{**PLUS, "plus_input": [3]}], r":1: plus_input must be a list of argument lists"),
        ([{**PLUS, "atol": None}], r":1: atol must be a number"),
        ([{**MBPP, "test_list": []}], r":1: test_list is empty"),
        ([{**MBPP, "test_list": ["assert f("]}], r":1: test_list is not Python"),
        ([{**KODCODE, "test": {"stdin": []}, "style": "online_judge"}], r":1: test of an online_judge row must"),
    ],
)  # fmt: skip
def test_what_cant_be_read_is_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "b.jsonl", *rows))


def test_all_bad_rows_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "b.jsonl", KODCODE, *[{**KODCODE, "solution": 3}] * 30)
    with pytest.raises(UserError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert f"{path}:2: solution must be text" in lines[0]
    assert lines[-1] == "… and 10 more"


@pytest.mark.parametrize("text", ["humaneval", "=f.jsonl", "a/b=f.jsonl", "name=", "../x=f"])
def test_a_benchmark_has_a_name_that_a_folder_can_have(text: str) -> None:
    with pytest.raises(UserError, match="write it as NAME=FILE"):
        parse_name(text)


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "mbppplus", "oj"])
def test_the_shared_files_are_read(name: str) -> None:
    path = DATA / f"{name}_kodcode.jsonl"
    if not path.exists():
        pytest.skip("../shared/data is not here")
    benchmark = read(path)
    assert len(benchmark.tasks) == {"humaneval": 164, "mbpp": 974, "mbppplus": 374, "oj": 5}[name]
    assert {task.kind for task in benchmark.tasks} == {"stdio" if name == "oj" else "pytest"}
