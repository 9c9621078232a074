"""What EvalPlus' MBPP+ needs beyond its inputs: arguments that JSON can't hold, answers that are right in
more than one way.

Which tasks these are was read in EvalPlus 0.3.1, for MBPP+ v0.2.0: evalplus/data/mbpp.py
(``mbpp_deserialize_inputs``), evalplus/eval/_special_oracle.py and ``unsafe_execute`` in
evalplus/eval/__init__.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Convert = Callable[[Any], Any]
PREFIX = "Mbpp/"


def _same(value: Any) -> Any:
    return value


def _tuples(values: Iterable[Any]) -> list[Any]:
    return [tuple(value) for value in values]


def _tuple_of_tuples(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(_tuples(values))


def _tuple_with_tuples(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def _sets(values: Iterable[Any]) -> list[Any]:
    """An empty one is a dict, as in EvalPlus."""
    return [set(value) if isinstance(value, list) and value else {} for value in values]


def _values_to_tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(held) for key, held in value.items()}


def _all_tuples(value: Any) -> Any:
    return tuple(map(_all_tuples, value)) if isinstance(value, list) else value


CONVERSIONS: Sequence[tuple[Sequence[int], Sequence[Convert], Convert]] = (
    ((2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809), (), tuple),
    ((63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780), (), _tuples),
    ((75, 413, 444, 753), (_tuples,), _same),
    ((106, 750), (_same, tuple), _same),
    ((115,), (_sets,), _same),
    ((124,), (float, complex), _same),
    ((250, 307, 405, 446, 617, 720, 763, 808), (tuple,), _same),
    ((252,), (complex,), _same),
    ((259, 401, 445), (), _tuple_of_tuples),
    ((278,), (_tuple_with_tuples,), _same),
    ((580, 615, 791), (), _all_tuples),
    ((722,), (_values_to_tuples,), _same),
)  # fmt: skip
"""Task numbers, what the first arguments become, and what all others become."""
ARGUMENTS = {number: (first, rest) for numbers, first, rest in CONVERSIONS for number in numbers}

SAME_SET = "set(got) == set(want)"
IS_THERE = "(got if isinstance(got, bool) else got is not None) == (want is not None)"
ORACLES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly",
            "larg_nnum", "intersection_array", "find_dissimilar", "Diff",
        ),
        SAME_SET,
    ),
    **dict.fromkeys(("check_str", "text_match_three", "text_starta_endb"), IS_THERE),
    "are_equivalent": "True",
    "sum_div": "got == want or got == 0",
    "digit_distance_nums": "got == want or got == _digits_apart(*arguments)",
    "surface_Area": "got == want or abs(got - _surface(*arguments)) <= ATOL",
}  # fmt: skip
"""Entry point → when an answer ``got`` is as right as ``want``, the reference's, in the test's words.

Order and repetition don't count for some; of some only whether there is a value; `are_equivalent` only
has to return; the other three have a second right answer.
"""
HELPERS: Mapping[str, str] = {
    "digit_distance_nums": '''
def _digits_apart(a, b):
    """With as many digits for both."""
    a, b = str(a), str(b)
    n = max(len(a), len(b))
    return sum([abs(int(x) - int(y)) for x, y in zip(a.zfill(n), b.zfill(n))])

''',
    "surface_Area": '''
def _surface(base, height):
    """Of a square pyramid, ``height`` from the base to the apex."""
    return round(base**2 + 2 * (base * ((base / 2) ** 2 + height**2) ** 0.5))

''',
}
"""Entry point → functions that its oracle calls."""


def arguments(task_id: str, inputs: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The argument lists that ``inputs`` of a JSON file stand for, with their tuples, sets and complex numbers.

    Those of HumanEval+ are what they are. Raises ValueError where an input hasn't the task's form.
    """
    number = task_id.removeprefix(PREFIX)
    if not task_id.startswith(PREFIX) or not number.isdigit():
        return [list(values) for values in inputs]
    first, rest = ARGUMENTS.get(int(number), ((), _same))
    try:
        return [
            [
                (first[place] if place < len(first) else rest)(value)
                for place, value in enumerate(values)
            ]
            for values in inputs
        ]
    except (TypeError, ValueError, AttributeError) as e:
        raise ValueError(f"an input is none of {task_id}: {e}") from e
