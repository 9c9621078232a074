"""Altered copies of a test file, to tell meeting its expectations from fooling its comparisons.

A solution whose results compare equal to anything, or that tampers with pytest, passes a copy in which
an expected value is wrong; an honest one fails it. So each copy alters one expectation, near the truth
and at its origin (a literal, an assignment, a parametrized row), never what the solution is given.

Which side of a comparison is the expected one is read from the file: what comes out of a name taken
from ``solution`` is produced, a name that is handed to it is input, a literal is expected. Where no
literal can be altered, the expected expression is wrapped, or the comparison turned round.
"""

from __future__ import annotations

import warnings

from evaluator.canaries.files import Canary
from evaluator.canaries.module import TestModule

__all__ = ["Canary", "canaries"]


def canaries(test: str) -> tuple[Canary, ...]:
    """All copies of the test file ``test`` with one expectation altered, in the order of the source.

    At most four per expectation; each row of a table is an expectation. A file that doesn't parse, or
    nests too deep to be walked, has none.
    """
    try:
        with warnings.catch_warnings():  # "\\d" in somebody's test is no news for our user
            warnings.simplefilter("ignore")
            module = TestModule(test)
            return tuple(module.canaries())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
