"""MBPP+ in EvalPlus' input form: its arguments come back from JSON, and right answers of each kind pass."""

import ast
import json
import re
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_benchmarks import DATA, MBPP_PLUS, read, verdicts, write

from evaluator.mbpp_plus import ARGUMENTS, CONVERSIONS, HELPERS, ORACLES, arguments
from evaluator.plus_tests import encoded, input_test
from sandbox.runner import Sandbox
from srs.tasks import is_vacuous


def row(entry_point: str, reference: str, *inputs: list[Any], **fields: Any) -> dict[str, Any]:
    """The answer's parameter is ``x``; the reference returns an expression of it."""
    return {
        **MBPP_PLUS,
        "task_id": "Mbpp/3",
        "entry_point": entry_point,
        "canonical_solution": f"def {entry_point}(x, y=None):\n    return {reference}\n",
        "base_input": list(inputs),
        "plus_input": [],
        **fields,
    }


@pytest.mark.parametrize(
    ("number", "given", "meant"),
    [
        (3, [[1], 2], [[1], 2]),
        (2, [[1, 2], [3]], [(1, 2), (3,)]),
        (63, [[[1, 2], [3, 4]]], [[(1, 2), (3, 4)]]),
        (75, [[[1, 2]], [3]], [[(1, 2)], [3]]),
        (106, [[1], [2]], [[1], (2,)]),
        (115, [[[1, 2, 2], []]], [[{1, 2}, {}]]),
        (124, ["1", "-2j"], [1.0, complex("-2j")]),
        (252, ["1+2j"], [1 + 2j]),
        (259, [[[1], [2]], [[3]]], [((1,), (2,)), ((3,),)]),
        (278, [[1, [2, [3]], 4]], [(1, (2, [3]), 4)]),
        (307, [[1, []], 2, [3]], [(1, []), 2, [3]]),
        (580, [[1, [2, [3, []]]]], [(1, (2, (3, ())))]),
        (722, [{"a": [1, 2]}, 3], [{"a": (1, 2)}, 3]),
    ],
)
def test_arguments_are_what_they_were(number: int, given: list[Any], meant: list[Any]) -> None:
    (found,) = arguments(f"Mbpp/{number}", [given])
    assert repr(found) == repr(meant)
    assert arguments(f"HumanEval/{number}", [given]) == [given]


def test_each_task_has_one_conversion() -> None:
    assert len(ARGUMENTS) == sum(len(numbers) for numbers, _, _ in CONVERSIONS)


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3))  # fmt: skip
hashable = st.recursive(
    plain | st.complex_numbers(allow_nan=False), lambda s: st.lists(s, max_size=2).map(tuple)
)
values = st.recursive(
    hashable | st.sets(hashable, max_size=3),
    lambda s: (
        st.lists(s, max_size=3)
        | st.lists(s, max_size=2).map(tuple)
        | st.dictionaries(hashable, s, max_size=2)
    ),
)


@settings(deadline=None)
@given(values)
def test_a_test_reads_the_very_values_that_were_written(value: Any) -> None:
    """By the function in the written test itself."""
    written = ast.parse(input_test(row("f", "x", [1]), "f", "def f(x):\n    return x\n"))
    (decoded,) = [
        n for n in written.body if isinstance(n, ast.FunctionDef) and n.name == "_decoded"
    ]
    module = types.ModuleType("written")
    exec(compile(ast.Module([decoded], []), "written", "exec"), module.__dict__)
    found = module.__dict__["_decoded"](json.loads(json.dumps(encoded(value))))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("problem", "right", "wrong"),
    [
        # The same elements, in any order and however often.
        (row("Diff", "[1, 2, x]", [3]), ["[x, 1, 2, 2]", "{1, 2, 3}", "(2, 1, x)"], ["[1, 2]", "3", "None"]),
        # Whether there is a value at all; a boolean for itself.
        (row("check_str", "x or None", ["a"], [""]), ["x or None", "bool(x)", "5 if x else None"], ["x", "None", "not x"]),
        (row("are_equivalent", "x", [1]), ["x", "None", "'anything'"], ["1 / 0"]),
        (row("sum_div", "x", [1], [2]), ["x", "0"], ["1", "None"]),
        # 2 + 8 for 19 and 1: with as many digits |1 - 0| + |9 - 1|; the reference may differ.
        (row("digit_distance_nums", "2", [19, 1], [7, 5]), ["9 if x == 19 else 2", "2"], ["9", "1"]),
        # A base of 6 and a height of 4: 36 + 2·6·5.
        (row("surface_Area", "84", [6, 4]), ["84", "96"], ["95", "None"]),
    ],
    ids=lambda p: p["entry_point"] if isinstance(p, dict) else "",
)  # fmt: skip
def test_there_may_be_more_than_one_right_answer(
    tmp_path: Path, process_sandbox: Sandbox, problem: dict[str, Any], right: list[str], wrong: list[str]
) -> None:  # fmt: skip
    benchmark = read(write(tmp_path / "b.jsonl", problem))
    name = problem["entry_point"]
    texts = [f"def {name}(x, y=None):\n    return {e}\n" for e in (*right, *wrong)]
    outcomes = [v.outcome for v in verdicts(benchmark, process_sandbox, *texts)]
    assert outcomes == ["passed"] * len(right) + ["failed"] * len(wrong)


def test_every_oracle_is_tested_and_has_its_helper() -> None:
    assert HELPERS.keys() <= ORACLES.keys()
    assert all("(*arguments)" in ORACLES[name] for name in HELPERS)
    assert sum("(*arguments)" in oracle for oracle in ORACLES.values()) == len(HELPERS)


@pytest.mark.parametrize("name", ["check", "near", "decoded", "test_it", "answer"])
def test_a_function_may_be_called_what_the_tests_call_theirs(
    tmp_path: Path, process_sandbox: Sandbox, name: str
) -> None:
    """Mbpp/56 asks for ``check``, Mbpp/19 for ``test_duplicate``."""
    benchmark = read(write(tmp_path / "b.jsonl", row(name, "x + 1", [1], [2])))
    assert benchmark.tasks[0].entry_point == name
    answers = [f"def {name}(x):\n    return {e}\n" for e in ("1 + x", "x")]
    assert [v.outcome for v in verdicts(benchmark, process_sandbox, *answers)] == ["passed", "failed"]  # fmt: skip
    assert not is_vacuous(benchmark.tasks[0])


def test_the_question_is_the_docstring(tmp_path: Path) -> None:
    (task,) = read(write(tmp_path / "b.jsonl", MBPP_PLUS)).tasks
    assert task.question.startswith("Write a function")
    assert task.question.endswith("(3, 5)")
    assert (task.id, task.declaration) == ("Mbpp/579", "def find_dissimilar(a, b):")


def test_all_arguments_of_mbpp_plus_come_back() -> None:
    """The file with the test text has them as Python: written as JSON, they must be read as they were."""
    path = DATA / "mbppplus_kodcode.jsonl"
    if not path.exists():
        pytest.skip("../shared/data is not here")

    def as_json(value: Any) -> Any:
        if isinstance(value, list | tuple | set):
            return [as_json(item) for item in value]
        if isinstance(value, complex):
            return str(value)
        return {k: as_json(v) for k, v in value.items()} if isinstance(value, dict) else value

    n = 0
    for line in path.read_text().splitlines():
        found = json.loads(line)
        number = int(found["question_id"].split("_")[1])
        (inputs,) = re.findall(r"^inputs = (.*)$", found["test"], re.MULTILINE)
        names = {"inf": float("inf"), "nan": float("nan"), "set": set}
        meant = [list(values) for values in eval(inputs, names)]
        given = [as_json(values) for values in meant]
        if number == 124:  # EvalPlus writes its numbers as texts
            given = [[str(a), str(b)] for a, b in meant]
        assert repr(arguments(f"Mbpp/{number}", given)) == repr(meant), number
        n += 1
    assert n == 374
