"""Tests made from EvalPlus' inputs, where a row brings inputs and a reference but no test text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from evaluator.mbpp_plus import HELPERS, ORACLES, arguments

FROM_INPUTS = '''\
import copy
import json

from solution import {entry_point} as answer

# What the reference returns is what is expected. It runs beside the tests, never beside the answer.
REFERENCE = {{"__name__": "reference"}}
exec({reference!r}, REFERENCE)
ATOL = {atol!r}


def _decoded(value):
    """The value that `encoded` wrote as JSON."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict):
        ((kind, held),) = value.items()
        if kind == "complex":
            return complex(*held)
        items = [_decoded(item) for item in held]
        return {{"tuple": tuple, "set": set, "dict": dict}}[kind](items)
    return value


def _only_floats(value):
    if isinstance(value, (list, tuple)):
        return bool(value) and not [item for item in value if not isinstance(item, float)]
    return isinstance(value, float)


def _near(got, want, atol):
    """|got - want| <= atol + 1e-7 |want|, for numbers and for lists of them."""
    if isinstance(want, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(want):
            return False
        return not [i for i in range(len(want)) if not _near(got[i], want[i], atol)]
    if got == want or (got != got and want != want):
        return True
    if isinstance(got, (int, float)) and isinstance(want, (int, float)):
        return abs(got - want) <= atol + 1e-7 * abs(want)
    return False

{helpers}
def _check(arguments):
    want = REFERENCE[{entry_point!r}](*copy.deepcopy(arguments))
    got = answer(*copy.deepcopy(arguments))
{compare}

def test_base():
    for arguments in json.loads({base!r}):
        _check(_decoded(arguments))


def test_plus():
    for arguments in json.loads({plus!r}):
        _check(_decoded(arguments))
'''
BY_VALUE = """\
    atol = 1e-6 if ATOL == 0 and _only_floats(want) else ATOL
    if atol == 0:
        assert got == want
    else:
        close = type(got) is type(want) and _near(got, want, atol)
        assert got == want or close, f"{got!r} is not {want!r}"
"""
BY_ORACLE = """\
    atol = 1e-6 if ATOL == 0 and _only_floats(want) else ATOL
    close = atol != 0 and type(got) is type(want) and _near(got, want, atol)
    assert (ORACLE) or close, f"{got!r} is not {want!r}"
"""
BY_ROOT = """\
    # Any root will do: EvalPlus asks for the polynomial's value there, not for the reference's root.
    value = sum([c * got**i for i, c in enumerate(arguments[0])])
    assert abs(value) <= ATOL, f"the polynomial is {value!r} at {got!r}"
"""


def input_test(row: Mapping[str, Any], entry_point: str, reference: str) -> str:
    """A pytest module with two tests, over the row's ``base_input`` and its ``plus_input``.

    Each compares the answer with what the reference returns for the same arguments, as EvalPlus 0.3.1
    does (evalplus/eval/__init__.py, ``unsafe_execute``): equal, or of the same type and within ``atol`` +
    1e-7 of the expected value where ``atol`` is given; 1e-6 where it is 0 and all that is expected is
    floats. HumanEval's ``find_zero`` is judged by the polynomial's value, some of MBPP's as
    `evaluator.mbpp_plus` says. Its time limit per input is not taken over: one limit covers the task.
    Raises ValueError when an input is not a list of arguments that fit the task.
    """
    atol = row.get("atol", 0)
    if isinstance(atol, bool) or not isinstance(atol, int | float) or not 0 <= atol < float("inf"):
        raise ValueError(f"atol must be a number of 0 or more, got {atol!r}")
    if entry_point in ORACLES:
        compare = BY_ORACLE.replace("ORACLE", ORACLES[entry_point])
    else:
        compare = BY_ROOT if entry_point == "find_zero" else BY_VALUE
    inputs = {key: _inputs(row, key) for key in ("base_input", "plus_input")}
    if not row["base_input"]:
        raise ValueError("base_input is empty")
    return FROM_INPUTS.format(
        entry_point=entry_point,
        reference=reference,
        atol=atol,
        base=inputs["base_input"],
        plus=inputs["plus_input"],
        compare=compare,
        helpers=HELPERS.get(entry_point, ""),
    )


def _inputs(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if not isinstance(value, list) or not all(isinstance(v, list) for v in value):
        raise ValueError(f"{key} must be a list of argument lists")
    return json.dumps(encoded(arguments(str(row["task_id"]), value)))


def encoded(value: Any) -> Any:
    """A value as JSON; what JSON hasn't, and dicts, as an object of one key that names the type."""
    match value:
        case list():
            return [encoded(item) for item in value]
        case tuple() | set():
            # In a fixed order, so that the same file gives the same test.
            items = sorted(value, key=repr) if isinstance(value, set) else value
            return {type(value).__name__: [encoded(item) for item in items]}
        case dict():
            return {"dict": [[encoded(key), encoded(held)] for key, held in value.items()]}
        case complex():
            return {"complex": [value.real, value.imag]}
    return value
