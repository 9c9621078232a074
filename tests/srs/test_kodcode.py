"""One row → Task, over the shapes the schema has had."""

import json
from typing import Any

import pytest

from srs.kodcode import BadRow, to_task

DECLARED = {
    "function_name": "add",
    "parameter_list": "(a, b)",
    "function_declaration": "def add(a, b):",
    "docstring": None,
}
CASES = {"stdin": ["1 2\n", "3 4\n"], "stdout": ["3\n", "7\n"]}


def row(**changes: Any) -> dict[str, Any]:
    """A good row with some columns changed; a change to ``...`` removes the column."""
    result = {
        "question_id": "Data_Structure_7_I",
        "question": "Add two numbers.",
        "test": "from solution import add\n\ndef test_add():\n    assert add(1, 2) == 3\n",
        "solution": "def add(a, b):\n    return a + b\n",
        "style": "instruct",
        "subset": "Data_Structure",
        "test_info": [DECLARED],
        "gpt_difficulty": "easy",
        "gpt_pass_percentage": 0.3,
        "r1_correctness": "True",
        "conversations": [{"from": "human", "value": "…"}],
        "metadata": {"split": "test"},
    } | changes
    return {key: value for key, value in result.items() if value is not ...}


def test_a_row_as_it_stands() -> None:
    task = to_task(row())
    assert (task.id, task.group, task.kind) == ("Data_Structure_7_I", "Data_Structure_7", "pytest")
    assert (task.style, task.subset, task.difficulty) == ("instruct", "Data_Structure", "easy")
    assert (task.entry_point, task.declaration) == ("add", "def add(a, b):")
    assert task.reference == row()["solution"]


@pytest.mark.parametrize(
    "test_info",
    [
        [DECLARED],
        DECLARED,
        {key: [value] for key, value in DECLARED.items()},
        json.dumps([DECLARED]),
        json.dumps(DECLARED),
        repr([DECLARED]),
        [{**DECLARED, "function_declaration": None}],
        [DECLARED, {**DECLARED, "function_name": "inner", "function_declaration": "def inner():"}],
        None,
        "",
        "null",
        [],
        ...,
    ],
)
def test_test_info_in_every_shape(test_info: object) -> None:
    task = to_task(row(test_info=test_info))
    assert (task.entry_point, task.declaration) == ("add", "def add(a, b):")


@pytest.mark.parametrize("absent", [..., None, ""])
def test_the_older_name_of_the_test_column(absent: object) -> None:
    assert to_task(row(test=absent, test_code=row()["test"])).test == row()["test"]


@pytest.mark.parametrize("style", ["Instruct", "INSTRUCT", " instruct ", None, ...])
def test_style_in_any_case_or_from_the_id(style: object) -> None:
    assert to_task(row(style=style)).style == "instruct"


@pytest.mark.parametrize(
    ("task_id", "group", "style"),
    [
        ("Code_Contests_12_C", "Code_Contests_12", "complete"),
        ("Taco_3_OJ", "Taco_3", "online_judge"),
        ("MBPP_5", "MBPP_5", "instruct"),
        ("plain", "plain", "instruct"),
        ("I", "I", "instruct"),
    ],
)
def test_ids_are_split_from_the_right(task_id: str, group: str, style: str) -> None:
    test = repr(CASES) if style == "online_judge" else row()["test"]
    task = to_task(row(question_id=task_id, style=..., test=test))
    assert (task.group, task.style) == (group, style)


def test_the_subset_comes_from_the_id_where_it_is_missing() -> None:
    assert to_task(row(question_id="Code_Contests_12_C", subset=None)).subset == "Code_Contests"


@pytest.mark.parametrize("style", ["online_judge", "Online_Judge", "online-judge"])
@pytest.mark.parametrize("test", [repr(CASES), json.dumps(CASES), CASES, f"\n {CASES!r}\n"])
def test_online_judge_tests_become_json(style: str, test: object) -> None:
    task = to_task(row(question_id="Taco_3_OJ", style=style, test=test, test_info=None))
    assert (task.kind, json.loads(task.test)) == ("stdio", CASES)
    assert (task.declaration, task.entry_point) == (None, None)


def test_an_online_judge_test_is_read_never_run() -> None:
    with pytest.raises(BadRow, match="neither JSON nor a Python literal"):
        to_task(row(style="online_judge", test="{'stdin': [open('x', 'w')], 'stdout': ['']}"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question_id": ...}, "question_id is missing"),
        ({"question_id": ""}, "question_id is missing"),
        ({"question_id": 7}, "question_id must be text, got int"),
        ({"test": ...}, "test is missing"),
        ({"test": ["a"]}, "test must be text, got list"),
        ({"test": "a\0b"}, "test holds a null byte"),
        ({"solution": "a\0b"}, "solution holds a null byte"),
        ({"question": "\ud800"}, "question holds half of a surrogate pair"),
        ({"test_info": 3}, "test_info must be a list, object or null, not int"),
        ({"test_info": "[{"}, "test_info is neither JSON nor a Python literal"),
        ({"test_info": ["add"]}, "test_info: expected an object, got str"),
        ({"style": "online_judge"}, "test is neither JSON nor a Python literal"),
        ({"style": "online_judge", "test": "{'stdin': ['']}"}, "must hold stdin and stdout"),
        ({"style": "online_judge", "test": "{'stdin': [], 'stdout': []}"}, "0 stdin for 0 stdout"),
        ({"style": "online_judge", "test": "{'stdin': ['a'], 'stdout': []}"}, "1 stdin for 0"),
        (
            {"style": "online_judge", "test": "{'stdin': [1], 'stdout': ['']}"},
            "stdin must be a list",
        ),
        (
            {"style": "online_judge", "test": "{'stdin': 'a', 'stdout': 'b'}"},
            "stdin must be a list",
        ),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRow, match=reason.replace("(", r"\(")):
        to_task(row(**changes))


@pytest.mark.parametrize("thing", [[], "text", 3, None])
def test_a_row_must_be_an_object(thing: object) -> None:
    with pytest.raises(BadRow, match="expected an object"):
        to_task(thing)


def test_a_signature_nested_too_deeply_is_a_bad_row() -> None:
    solution = f"def add(a, b={'-' * 1500}1):\n    return a + b\n"
    with pytest.raises(BadRow, match="nested too deeply"):
        to_task(row(solution=solution, test_info=None))


def test_a_row_without_solution_has_no_reference() -> None:
    task = to_task(row(solution=None, test_info=None))
    assert (task.reference, task.entry_point, task.declaration) == (None, "add", None)
