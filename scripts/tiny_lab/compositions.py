"""Chains of primitives: how one is drawn, and how it reads as a name, a question and a program."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any, Literal

from scripts.tiny_lab.primitives import CONSTANTS, PRIMITIVES, VARIABLES, Primitive, Type

TYPES: tuple[Type, ...] = tuple(VARIABLES)
DESCRIPTIONS: dict[Type, str] = {
    "list": "a list of integers `xs`",
    "words": "a list of words `words`",
    "string": "a string `s`",
    "dict": "a dictionary `d` from strings to integers",
    "number": "an integer `n`",
}
SUBSETS: dict[Type, str] = {
    "list": "TinyList",
    "words": "TinyString",
    "string": "TinyString",
    "dict": "TinyDict",
    "number": "TinyNumber",
}
Style = Literal["instruct", "complete"]
UNUSED = 3
"""The constant of a step without one: what an edit gives to a primitive that takes one."""
FORMS = ("Given {source}, {steps}. Return the result.", "Write a function for {source}: {steps}.")


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A primitive with the constant that stands for its ``K``; UNUSED for most."""

    primitive: Primitive
    constant: int

    @property
    def name(self) -> str:
        stem = self.primitive.key.removesuffix("_k")
        return f"{stem}_{self.constant}" if self.primitive.takes_constant else stem

    @property
    def phrase(self) -> str:
        return " ".join(
            word.replace("K", str(self.constant)) if word.strip(",") == "K" else word
            for word in self.primitive.phrase.split(" ")
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Composition:
    steps: tuple[Step, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """What two tasks must not share across the split: the primitives, whatever their constants."""
        return tuple(step.primitive.key for step in self.steps)

    @property
    def source(self) -> Type:
        return self.steps[0].primitive.source

    @property
    def name(self) -> str:
        return "_".join(step.name for step in self.steps)

    @property
    def subset(self) -> str:
        algorithmic = any(step.primitive.algorithm for step in self.steps)
        return "TinyAlgorithm" if algorithmic else SUBSETS[self.source]

    @property
    def difficulty(self) -> str:
        """Steps, algorithmic ones counted twice: up to 2 easy, 3 medium, more hard."""
        weight = sum(2 if step.primitive.algorithm else 1 for step in self.steps)
        return "easy" if weight <= 2 else "medium" if weight == 3 else "hard"

    @property
    def declaration(self) -> str:
        return f"def {self.name}({VARIABLES[self.source]}):"

    @property
    def instruction(self) -> str:
        """The steps in one sentence, without its capital and full stop."""
        first, *rest = [step.phrase for step in self.steps]
        if not rest:
            return first
        return ", ".join([first, *(f"then {p}" for p in rest[:-1]), f"and finally {rest[-1]}"])

    @property
    def docstring(self) -> str:
        return self.instruction[0].upper() + self.instruction[1:] + "."

    def question(self, style: Style) -> str:
        if style == "complete":
            return f'{self.declaration}\n    """{self.docstring}"""'
        form = FORMS[sum(map(ord, self.name)) % len(FORMS)]
        return form.format(source=DESCRIPTIONS[self.source], steps=self.instruction)

    def program(self, wrong: frozenset[int] = frozenset()) -> str:
        """The function, with the wrong body at the step positions in ``wrong``."""
        lines = [self.declaration]
        for i, step in enumerate(self.steps):
            last = i == len(self.steps) - 1
            lines += step.primitive.lines(step.constant, last=last, wrong=i in wrong)
        return "\n    ".join(lines) + "\n"

    def edits(self) -> Iterator[tuple[int, tuple[Step, ...]]]:
        """Every single edit, as a position and what stands there instead of the step.

        A step left out (when types allow), done with another constant, or replaced by any other
        primitive of the same types.
        """
        for i, step in enumerate(self.steps):
            if step.primitive.source == step.primitive.target and len(self.steps) > 1:
                yield i, ()
            if step.primitive.takes_constant:
                yield i, (Step(step.primitive, step.constant + 1),)
            for p in _BETWEEN[step.primitive.source, step.primitive.target]:
                if p != step.primitive:
                    yield i, (Step(p, step.constant),)

    def edited(self, position: int, replacement: tuple[Step, ...]) -> Composition:
        return Composition((*self.steps[:position], *replacement, *self.steps[position + 1 :]))


_FROM: dict[Type, list[Primitive]] = {t: [p for p in PRIMITIVES if p.source == t] for t in TYPES}
_BETWEEN: dict[tuple[Type, Type], list[Primitive]] = {
    (a, b): [p for p in _FROM[a] if p.target == b] for a in TYPES for b in TYPES
}


def draw(rng: random.Random, depth: int) -> Composition:
    """A random chain of ``depth`` different primitives, its input type drawn evenly."""
    steps: list[Step] = []
    kind = rng.choice(TYPES)
    while len(steps) < depth:
        used = {step.primitive.key for step in steps}
        primitive = rng.choice([p for p in _FROM[kind] if p.key not in used])
        constant = rng.choice(CONSTANTS)
        steps.append(Step(primitive, constant if primitive.takes_constant else UNUSED))
        kind = primitive.target
    return Composition(tuple(steps))


def load(program: str, name: str) -> Any:
    """The function that ``program``, one of ours, defines."""
    namespace: dict[str, Any] = {}
    exec(program, namespace)  # our own generated code
    return namespace[name]
