"""A few of many canaries: from all tests of a file, those that tell most first."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from evaluator.canaries.files import Canary

PER_TEST = 4


def sample(canaries: Sequence[Canary], n: int) -> tuple[Canary, ...]:
    """At most ``n``, the tests taking turns; always the same ones of the same canaries."""
    by_test: dict[str, list[Canary]] = {}
    for canary in canaries:
        by_test.setdefault(canary.test, []).append(canary)
    stream = random.Random(0)
    for group in by_test.values():
        stream.shuffle(group)
        group.sort(key=_is_turned)
    turns = itertools.zip_longest(*(group[:PER_TEST] for group in by_test.values()))
    return tuple([canary for turn in turns for canary in turn if canary][:n])


def _is_turned(canary: Canary) -> bool:
    """Whether the comparison was turned round: an object that is equal to all fails that as well."""
    made = canary.change.partition(" became ")[2]
    return "not (" in made or "not in (" in made
