"""Write the tiny tasks: KodCode-schema rows, a training file and a held-out file.

``python -m scripts.tiny_lab.make_tasks [--out srs/tiny]`` writes the same bytes every time.
A composition becomes a task only if its tests tell it from every composition one edit away
(`Composition.edits`) and from every version with a doubtful step done wrong.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.tiny_lab.compositions import TYPES, UNUSED, Composition, Step, Style, draw, load
from scripts.tiny_lab.primitives import PRIMITIVES, VARIABLES, Type

VERSION = "tiny-1"
OUT = Path(__file__).resolve().parents[2] / "srs" / "tiny"
HELD_OUT_DEPTHS = {2: 90, 3: 100, 4: 30}
"""Tasks by number of steps."""
TRAIN_DEPTHS = {2: 430, 3: 380, 4: 100}
"""Besides every primitive alone. Each task comes as twins, instruct and complete."""
MIN_ASSERTS, MAX_ASSERTS = 6, 12
MAX_NUMBER, MAX_ITEMS, MAX_TEXT = 9999, 24, 40
WORDS = [
    "sun",
    "moon",
    "apple",
    "tree",
    "Tree",
    "river",
    "stone",
    "a",
    "I",
    "cloud",
    "bird",
    "Bird",
    "night",
    "code",
    "loop",
    "bee",
    "level",
    "noon",
]

EDGES: dict[Type, list[Any]] = {
    "list": [[], [5], [-3], [0, 0], [2, 2, 3, 3, 3]],
    "words": [[], ["a"], ["bee", "bee"], ["Tree", "tree"]],
    "string": ["", "a", "Zz", "  ", "aab b"],
    "dict": [{}, {"a": 1}, {"b": 0, "a": 0}, {"x": -2}],
    "number": [0, 1, -7, 2],
}


def random_input(rng: random.Random, kind: Type) -> Any:
    """One typical value of a type, small enough to read in a test."""
    size = rng.randint(3, 8)
    match kind:
        case "list":
            return [rng.randint(-4, rng.choice((4, 12))) for _ in range(size)]
        case "words":
            return [rng.choice(WORDS) for _ in range(size)]
        case "string":
            words = [rng.choice(WORDS) for _ in range(rng.randint(1, 2))]
            marks = [rng.choice(("AB", "Xx", "B2b", "oOo", "zzz")), str(rng.randint(0, 99))]
            words += rng.sample(marks, rng.randint(0, 2))
            return " ".join(words)
        case "dict":
            keys = rng.sample([*WORDS, "k", "x", "y"], rng.randint(2, 5))
            return {key: rng.randint(-3, 9) for key in keys}
        case "number":
            return rng.choice((rng.randint(2, 30), rng.randint(30, 400)))


RAISED, UNKNOWN = object(), object()
_POOL_RNG = random.Random(f"{VERSION}/inputs")
POOL: dict[Type, list[Any]] = {
    kind: EDGES[kind] + [random_input(_POOL_RNG, kind) for _ in range(60)] for kind in TYPES
}


def within_bounds(value: Any) -> bool:
    """Whether a value keeps tests short and programs fast."""
    if isinstance(value, int):
        return abs(value) <= MAX_NUMBER
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    inner = value.values() if isinstance(value, dict) else value
    return len(value) <= MAX_ITEMS and all(map(within_bounds, inner))


@functools.cache
def _function(step: Step, wrong: bool) -> Callable[[Any], Any]:
    alone = Composition((step,))
    function: Callable[[Any], Any] = load(
        alone.program(frozenset({0} if wrong else ())), alone.name
    )
    return function


def run_steps(steps: Sequence[tuple[Step, bool]], value: Any) -> Any:
    """What the steps, each right or (True) wrong, make of a value: the result, RAISED or UNKNOWN.

    Step by step, and UNKNOWN past our bounds, so that nothing computes with a value too big.
    """
    for step, wrong in steps:
        try:
            value = _function(step, wrong)(value)
        except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
            return RAISED
        if not within_bounds(value):
            return UNKNOWN
    return value


def exposures(composition: Composition, pool: Sequence[Any]) -> list[set[int]] | None:
    """For each input, which variants it exposes; None as soon as one is exposed by no input.

    Variants: each doubtful step done wrong, then `Composition.edits`.
    """
    right = [(step, False) for step in composition.steps]
    # states[i][j]: input j before step i.
    states = [[run_steps(right[:i], value) for value in pool] for i in range(len(right) + 1)]
    variants: list[tuple[int, list[tuple[Step, bool]]]] = [
        (i, [(step, True)])
        for i, step in enumerate(composition.steps)
        if step.primitive.wrong is not None
    ]
    variants += [(i, [(s, False) for s in replaced]) for i, replaced in composition.edits()]
    found: list[set[int]] = [set() for _ in pool]
    for number, (i, replacement) in enumerate(variants):
        exposed = False
        for j in range(len(pool)):
            value = run_steps(replacement, states[i][j])
            if value is not RAISED and value is not UNKNOWN and not same(value, states[i + 1][j]):
                value = run_steps(right[i + 1 :], value)
                exposes = value is not UNKNOWN and not same(value, states[-1][j])
            else:
                exposes = value is RAISED
            if exposes:
                found[j].add(number)
                exposed = True
        if not exposed:
            return None
    return found


def choose_asserts(composition: Composition) -> list[tuple[Any, Any]] | None:
    """Input and expected output of each assert, edge cases first; None when no tests would do.

    Greedy set cover: the input that exposes most of the still unexposed variants comes next; then
    the first one with an output not yet seen.
    """
    steps = [(step, False) for step in composition.steps]
    cases = [(value, run_steps(steps, value)) for value in POOL[composition.source]]
    cases = [(value, output) for value, output in cases if output is not UNKNOWN]
    if len(cases) < MIN_ASSERTS or all(same(value, output) for value, output in cases):
        return None
    pool, expected = zip(*cases, strict=True)
    exposed_by = exposures(composition, pool)
    if exposed_by is None:
        return None
    missing = set.union(*exposed_by)
    chosen = [i for i, value in enumerate(pool) if value in EDGES[composition.source]][:2]
    for i in chosen:
        missing -= exposed_by[i]
    while missing or len(chosen) < MIN_ASSERTS:
        seen = {repr(expected[i]) for i in chosen}
        rest = [i for i in range(len(pool)) if i not in chosen]
        if not rest or len(chosen) == MAX_ASSERTS:
            return None
        best = max(
            rest, key=lambda i: (len(exposed_by[i] & missing), repr(expected[i]) not in seen, -i)
        )
        if missing and not exposed_by[best] & missing:
            return None
        chosen.append(best)
        missing -= exposed_by[best]
    if len({repr(expected[i]) for i in chosen}) < 3:
        return None
    return [(pool[i], expected[i]) for i in chosen]


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def test_module(composition: Composition, asserts: list[tuple[Any, Any]]) -> str:
    """A pytest module of three tests, so that a near miss can pass some of them."""
    middle = 2 + (len(asserts) - 2) // 2
    groups = {"edge_cases": asserts[:2], "examples": asserts[2:middle], "more": asserts[middle:]}
    parts = [f"from solution import {composition.name}\n"]
    for title, group in groups.items():
        lines = [f"    assert {composition.name}({a!r}) == {b!r}\n" for a, b in group]
        parts.append(f"def test_{title}():\n" + "".join(lines))
    return "\n\n".join(parts)


def row(
    composition: Composition, asserts: list[tuple[Any, Any]], number: int, style: Style
) -> dict[str, Any]:
    """One row in KodCode-V1's columns. The ``gpt_*`` counts are null: no such trial was made."""
    return {
        "version": VERSION,
        "style": style,
        "subset": composition.subset,
        "question_id": f"Tiny_{number}_{'I' if style == 'instruct' else 'C'}",
        "question": composition.question(style),
        "solution": composition.program(),
        "test": test_module(composition, asserts),
        "test_info": [
            {
                "docstring": composition.docstring,
                "function_declaration": composition.declaration,
                "function_name": composition.name,
                "parameter_list": f"({VARIABLES[composition.source]})",
            }
        ],
        "gpt_pass_sequence": None,
        "gpt_pass_trial_num": None,
        "gpt_difficulty": composition.difficulty,
        "gpt_pass_percentage": None,
        "metadata": {"composition": list(composition.key)},
    }


Chosen = tuple[Composition, list[tuple[Any, Any]]]


def fresh(rng: random.Random, depths: dict[int, int], taken: set[tuple[str, ...]]) -> list[Chosen]:
    """So many testable compositions of each depth whose keys are not ``taken``; takes them."""
    found: list[Chosen] = []
    for depth, count in depths.items():
        goal = len(found) + count
        while len(found) < goal:
            composition = draw(rng, depth)
            if composition.key in taken:
                continue
            asserts = choose_asserts(composition)
            if asserts is not None:
                taken.add(composition.key)
                found.append((composition, asserts))
    rng.shuffle(found)
    return found


def singles() -> Iterator[Chosen]:
    """Every primitive alone. Raises ValueError for one that no tests in our pool pin down."""
    for primitive in PRIMITIVES:
        composition = Composition((Step(primitive, UNUSED),))
        asserts = choose_asserts(composition)
        if asserts is None:
            raise ValueError(f"primitive {primitive.key}: no tests tell it from its variants")
        yield composition, asserts


def make() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The training rows (twins next to each other) and the held-out rows (no twins)."""
    rng = random.Random(f"{VERSION}/compositions")
    taken: set[tuple[str, ...]] = {(p.key,) for p in PRIMITIVES}
    held_out = fresh(rng, HELD_OUT_DEPTHS, taken)
    train = [*singles(), *fresh(rng, TRAIN_DEPTHS, taken)]
    rng.shuffle(train)
    styles: tuple[Style, Style] = ("instruct", "complete")
    train_rows = [row(c, a, n, style) for n, (c, a) in enumerate(train, 1) for style in styles]
    held_rows = [row(c, a, n, styles[n % 2]) for n, (c, a) in enumerate(held_out, len(train) + 1)]
    return train_rows, held_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(("train.jsonl", "held_out.jsonl"), make(), strict=True):
        text = "".join(json.dumps(r) + "\n" for r in rows)
        (out / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{out / name}: {len(rows)} tasks, {len(text) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
