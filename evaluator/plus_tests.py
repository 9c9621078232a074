"""Tests made from EvalPlus' inputs, where a row brings inputs and a reference but no test text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FROM_INPUTS = '''\
import copy
import json

from solution import {entry_point} as answer

# What the reference returns is what is expected. It runs beside the tests, never beside the answer.
REFERENCE = {{"__name__": "reference"}}
exec({reference!r}, REFERENCE)
ATOL = {atol!r}


def only_floats(value):
    if isinstance(value, (list, tuple)):
        return bool(value) and not [item for item in value if not isinstance(item, float)]
    return isinstance(value, float)


def near(got, want, atol):
    """|got - want| <= atol + 1e-7 |want|, for numbers and for lists of them."""
    if isinstance(want, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(want):
            return False
        return not [i for i in range(len(want)) if not near(got[i], want[i], atol)]
    if got == want or (got != got and want != want):
        return True
    if isinstance(got, (int, float)) and isinstance(want, (int, float)):
        return abs(got - want) <= atol + 1e-7 * abs(want)
    return False


def check(arguments):
    want = REFERENCE[{entry_point!r}](*copy.deepcopy(arguments))
    got = answer(*copy.deepcopy(arguments))
{compare}

def test_base():
    for arguments in json.loads({base!r}):
        check(arguments)


def test_plus():
    for arguments in json.loads({plus!r}):
        check(arguments)
'''
BY_VALUE = """\
    atol = 1e-6 if ATOL == 0 and only_floats(want) else ATOL
    if atol == 0:
        assert got == want
    else:
        assert got == want or near(got, want, atol), f"{got!r} is not {want!r}"
"""
BY_ROOT = """\
    # Any root will do: EvalPlus asks for the polynomial's value there, not for the reference's root.
    value = sum([c * got**i for i, c in enumerate(arguments[0])])
    assert abs(value) <= ATOL, f"the polynomial is {value!r} at {got!r}"
"""


def input_test(row: Mapping[str, Any], entry_point: str, reference: str) -> str:
    """A pytest module with two tests, over the row's ``base_input`` and its ``plus_input``.

    Each compares the answer with what the reference returns for the same arguments, as EvalPlus does
    (evalplus/eval/__init__.py, ``unsafe_execute``): equal, or within ``atol`` + 1e-7 of the expected
    value where ``atol`` is given; 1e-6 where it is 0 and all that is expected is floats. HumanEval's
    ``find_zero`` is judged by the polynomial's value. Its time limit per input is not: one limit covers
    the task. Raises ValueError when an input is not a list of arguments.
    """
    atol = row.get("atol", 0)
    if isinstance(atol, bool) or not isinstance(atol, int | float) or not 0 <= atol < float("inf"):
        raise ValueError(f"atol must be a number of 0 or more, got {atol!r}")
    for key in ("base_input", "plus_input"):
        value = row[key]
        if not isinstance(value, list) or not all(isinstance(v, list) for v in value):
            raise ValueError(f"{key} must be a list of argument lists")
    if not row["base_input"]:
        raise ValueError("base_input is empty")
    return FROM_INPUTS.format(
        entry_point=entry_point,
        reference=reference,
        atol=atol,
        base=json.dumps(row["base_input"]),
        plus=json.dumps(row["plus_input"]),
        compare=BY_ROOT if entry_point == "find_zero" else BY_VALUE,
    )
