"""What is judged: the fields of a verdict, for a model that judges and for people alike."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["comments", "issues"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing to judge. A value's number is ``first`` + its place in ``values``, worst first."""

    name: str
    asks: str
    values: tuple[str, ...]
    first: int

    @property
    def is_binary(self) -> bool:
        return len(self.values) == 2

    @property
    def worst(self) -> int:
        return self.first

    @property
    def best(self) -> int:
        return self.first + len(self.values) - 1

    def number(self, value: str) -> int:
        """The number of a value as it is written. Raises ValueError for any other text."""
        try:
            return self.first + self.values.index(value.strip().lower())
        except ValueError:
            raise ValueError(
                f"{self.name}: {value!r} is none of {', '.join(self.values)}"
            ) from None

    def number_of(self, value: Any) -> int:
        """The number of a JSON value: true and false for yes and no, else an integer or its text.

        Raises ValueError.
        """
        if self.is_binary and isinstance(value, bool):
            return int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int | str) and not isinstance(value, bool):
            return self.number(str(value))
        raise ValueError(f"{self.name}: {value!r} is none of {', '.join(self.values)}")


TEN = tuple(str(n) for n in range(1, 11))
RUBRICS: Mapping[Kind, tuple[Field, ...]] = {
    "comments": (
        Field(name="logic", asks="Is the code still the same, and does each comment fit the flow?", values=TEN, first=1),
        Field(name="accuracy", asks="Is what the comments say true of this code, and close to the reference in meaning?", values=TEN, first=1),
        Field(name="format", asks="Are the comments where they belong, readable and in the language's style?", values=TEN, first=1),
    ),
    "issues": (
        Field(name="correct", asks="Would the answer solve the issue, or lead to what the reference answers found?", values=("no", "yes"), first=0),
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one rater said of one answer. ``values`` None = the rater's reply couldn't be read."""

    id: str
    rater: str
    values: Mapping[str, int] | None
    note: str = ""


def to_row(judgement: Judgement) -> dict[str, Any]:
    """A judgement as one line of a verdict file."""
    return dataclasses.asdict(judgement)


def from_row(row: Mapping[str, Any], kind: Kind) -> Judgement:
    """The inverse of `to_row`, checked. Raises ValueError saying what is wrong."""
    id, rater, values = row.get("id"), row.get("rater"), row.get("values")
    if not isinstance(id, str) or not isinstance(rater, str) or not rater:
        raise ValueError("id or rater is missing or not text")
    if values is not None:
        values = _numbers(values, kind)
    return Judgement(id=id, rater=rater, values=values, note=str(row.get("note") or ""))


def parse(reply: str, kind: Kind) -> tuple[dict[str, int] | None, str]:
    """The values in a judging model's reply and its reason; None and why not, when it has none.

    The reply must hold exactly one verdict: a JSON object with every field. One that holds two which
    differ, as when a model quotes what the judged text demanded, is unreadable. What a model thinks
    aloud before ``</think>`` doesn't count.
    """
    text = reply.rpartition("</think>")[2]
    names = {field.name for field in RUBRICS[kind]}
    found = [obj for obj in _objects(text) if names <= obj.keys()]
    if not found:
        return None, "no JSON object with " + ", ".join(sorted(names))
    try:
        read = [_numbers({name: obj[name] for name in names}, kind) for obj in found]
    except ValueError as e:
        return None, str(e)
    if any(values != read[0] for values in read):
        return None, f"{len(read)} verdicts that differ"
    return read[0], str(found[-1].get("reason") or "")


def _numbers(values: Any, kind: Kind) -> dict[str, int]:
    fields = RUBRICS[kind]
    if not isinstance(values, dict) or values.keys() != {field.name for field in fields}:
        raise ValueError(f"values must be {', '.join(field.name for field in fields)}")
    numbers = {}
    for field in fields:
        value = values[field.name]
        if field.is_binary and value in (0, 1) and not isinstance(value, bool | str):
            value = bool(value)
        numbers[field.name] = field.number_of(value)
    return numbers


def _objects(text: str) -> list[dict[str, Any]]:
    """Every outermost JSON object that stands in a text."""
    decoder, found, at = json.JSONDecoder(), [], text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found.append(value)
        at = text.find("{", end)
    return found
