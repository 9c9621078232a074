"""The lifelong-learning matrix of a run, and the transfer measures that are defined on it. Pure.

``R[i][j]``: the pass rate on experience j after training on the first i experiences; row 0 is the base
model, so T experiences make T + 1 rows. A cell that was not measured is None, and a measure that would
need such a cell is None: nothing is filled in.

The source's indices start at 1: its R_{i,j} is ``R[i][j - 1]`` here.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Matrix = Sequence[Sequence[float | None]]
Counts = tuple[int, int]
"""(passed, graded)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the weights after round ``after`` did on a task."""

    after: int
    task: str
    passed: int
    graded: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The matrix and what it rests on.

    ``rows``: the rounds after which it was measured, 0 first. ``columns``: each experience's tasks.
    ``rates``, ``n_tasks``: (rows, columns); a rate is the mean of the tasks' own pass rates and stands
    only where all tasks of the column were measured, ``n_tasks`` says how many were.
    """

    rows: tuple[int, ...]
    columns: tuple[tuple[str, ...], ...]
    rates: tuple[tuple[float | None, ...], ...]
    n_tasks: tuple[tuple[int, ...], ...]


def measured(
    first_practised: Mapping[str, int], rows: Sequence[int], seen: Iterable[Observation]
) -> Measured:
    """The matrix whose experience between two rows is the tasks first practised there.

    ``first_practised``: task → round, of the tasks that count. ``rows``: rounds, ascending from 0. A task
    belongs to the first row that is not before its round, and tasks after the last row don't count. As an
    experience needs tasks, a row without any is left out: its training belongs to the next experience,
    or to the last one, which always ends at the last row.

    Raises ValueError when ``rows`` doesn't ascend from 0.
    """
    if not rows or rows[0] != 0 or any(b <= a for a, b in itertools.pairwise(rows)):
        raise ValueError(f"rows must ascend from 0: {list(rows)}")
    groups: dict[int, list[str]] = {}
    for task, round in first_practised.items():
        row = next((r for r in rows[1:] if round <= r), None)
        if row is not None:
            groups.setdefault(row, []).append(task)
    if groups and rows[-1] not in groups:
        groups[rows[-1]] = groups.pop(max(groups))
    kept = (0, *sorted(groups))
    columns = tuple(tuple(sorted(groups[row])) for row in kept[1:])
    counts: dict[tuple[int, str], Counts] = {}
    for o in seen:
        passed, graded = counts.get((o.after, o.task), (0, 0))
        counts[o.after, o.task] = (passed + o.passed, graded + o.graded)

    def cell(row: int, tasks: Sequence[str]) -> tuple[float | None, int]:
        found = [counts[row, task] for task in tasks if (row, task) in counts]
        if len(found) < len(tasks):
            return None, len(found)
        return math.fsum(passed / graded for passed, graded in found) / len(found), len(found)

    cells = [[cell(row, tasks) for tasks in columns] for row in kept]
    return Measured(
        rows=kept,
        columns=columns,
        rates=tuple(tuple(rate for rate, _ in line) for line in cells),
        n_tasks=tuple(tuple(n for _, n in line) for line in cells),
    )


def average_accuracy(matrix: Matrix) -> float | None:
    """ACC = (1/T) Σ_j R_{T,j} (Lopez-Paz & Ranzato 2017, arXiv:1706.08840, section 2)."""
    t = _size(matrix)
    return _mean([matrix[t][j] for j in range(t)])


def backward_transfer(matrix: Matrix) -> float | None:
    """BWT = 1/(T-1) Σ_{j<T} (R_{T,j} - R_{j,j}) (Lopez-Paz & Ranzato 2017, section 2).

    Negative = later training took something away. None for one experience.
    """
    t = _size(matrix)
    return _mean([_minus(matrix[t][j], matrix[j + 1][j]) for j in range(t - 1)])


def forward_transfer(matrix: Matrix) -> float | None:
    """FWT = 1/(T-1) Σ_{1<j≤T} (R_{j-1,j} - b_j) (Lopez-Paz & Ranzato 2017, section 2).

    b is row 0: the base model, where the source has random weights. None for one experience.
    """
    t = _size(matrix)
    return _mean([_minus(matrix[j][j], matrix[0][j]) for j in range(1, t)])


def forgetting(matrix: Matrix) -> float | None:
    """F = 1/(T-1) Σ_{j<T} (max_{1≤l<T} R_{l,j} - R_{T,j}) (Chaudhry et al. 2018, arXiv:1801.10112,
    the forgetting measure after the last task).

    Positive = lost since its best. None for one experience, or where a row of the maximum is missing.
    """
    t = _size(matrix)
    falls: list[float | None] = []
    for j in range(t - 1):
        earlier = [matrix[row][j] for row in range(1, t)]
        best = None if None in earlier else max(rate for rate in earlier if rate is not None)
        falls.append(_minus(best, matrix[t][j]))
    return _mean(falls)


def report(found: Measured) -> dict[str, Any]:
    """JSON: the matrix with its coverage, the measures, and Ianvs' own form of the matrix.

    ``ianvs``: (T + 1, T) of ``{"accuracy"}``: what its ``bwt_func`` and ``fwt_func`` take as ``MATRIX``;
    None when a cell is missing, as they count it as no change. They differ from the published measures:
    its BWT is the mean change from each row to the next over all columns, and its FWT divides by T.
    """
    return {
        "rows_after_round": list(found.rows),
        "tasks": [list(tasks) for tasks in found.columns],
        "pass_rate": [list(line) for line in found.rates],
        "n_tasks_measured": [list(line) for line in found.n_tasks],
        "average_accuracy": average_accuracy(found.rates),
        "backward_transfer": backward_transfer(found.rates),
        "forward_transfer": forward_transfer(found.rates),
        "forgetting": forgetting(found.rates),
        "ianvs": {"all": [[{"accuracy": rate} for rate in line] for line in found.rates]}
        if all(rate is not None for line in found.rates for rate in line)
        else None,
    }


def _size(matrix: Matrix) -> int:
    """T. Raises ValueError unless there are T + 1 rows of T cells."""
    t = len(matrix) - 1
    if t < 0 or any(len(line) != t for line in matrix):
        raise ValueError("the matrix must have one row more than each row has cells")
    return t


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if not values or len(known) < len(values):
        return None
    return math.fsum(known) / len(known)
