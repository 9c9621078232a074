"""Prints one card's history: each review, the interval it got, and why.

    python -m scheduler.explain --run DIR --task ID

The cards are the replay of the review log, so this replays the task's reviews under the run's policy and
lets the policy say its reasons. A run that is still going can be read.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scheduler.plan import Policy
from srs.types import Card, Review, UserError

if TYPE_CHECKING:
    from memory.store import Store

NAMES_SEARCHED: Final = 100_000
"""Where the nearest task of a misspelt one is looked for: among so many tried and so many new ones."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One review and the cards on either side of it; a probe leaves the card as it is."""

    before: Card | None
    review: Review
    after: Card | None
    predicted: float | None
    """The share of candidates that the policy expected to pass."""


def replay(policy: Policy, reviews: Iterable[Review]) -> list[Step]:
    """The history of one task's card, oldest review first."""
    steps: list[Step] = []
    card: Card | None = None
    for review in reviews:
        after = card if review.kind == "probe" else policy.update(card, review)
        predicted = None if card is None else policy.predict(card, review.round)
        steps.append(Step(before=card, review=review, after=after, predicted=predicted))
        card = after
    return steps


def page(task: str, policy: Policy, steps: Sequence[Step], *, freezes: bool = False) -> str:
    """The history as text: a table of reviews, then where the card stands.

    ``freezes``: the run freezes tasks, and the twins of a frozen one, whatever their cards say.
    """
    if not steps:
        return f"{task}: no review yet (policy {policy.name})"
    rows: list[tuple[str, ...]] = [
        ("round", "kind", "passed", "expected", "interval", "due", "status", "why")
    ]
    rows += [_row(policy, step) for step in steps]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join([f"{task} (policy {policy.name})", "", *lines, "", *_summary(steps, freezes)])


def _row(policy: Policy, step: Step) -> tuple[str, ...]:
    review, after = step.review, step.after
    head = (
        str(review.round),
        review.kind,
        f"{review.n_passed}/{review.n_graded}",
        "-" if step.predicted is None else f"{step.predicted:.2f}",
    )
    if review.kind == "probe" or after is None:
        return (*head, "-", "-", "-", "a frozen task, only measured: the card stays as it was")
    why = policy.why(step.before, review, after)
    return (*head, str(after.interval_rounds), str(after.due_round), after.status, why)


def _summary(steps: Sequence[Step], freezes: bool) -> list[str]:
    lines = []
    card = steps[-1].after
    if card is not None:
        place = f"due in round {card.due_round}" if card.status == "active" else "left to audits"
        place += ", unless a twin of it is frozen" * freezes
        if steps[-1].review.kind == "probe":
            *_, baseline = itertools.takewhile(
                lambda step: step.review.kind == "probe", reversed(steps)
            )
            since = baseline.review.round
            place = (
                f"but frozen since round {since}: never practised or audited again, only measured"
            )
        lines.append(
            f"{card.status}, {place}; reviews {card.n_reviews}, lapses {card.lapses}, "
            f"successes in a row {card.streak}"
        )
    expected = [(s.predicted, s.review.pass_rate) for s in steps if s.predicted is not None]
    if expected:
        mean = sum(p for p, _ in expected) / len(expected)
        observed = sum(rate for _, rate in expected) / len(expected)
        lines.append(
            f"expected pass rate {mean:.2f}, observed {observed:.2f}, mean of {len(expected)} reviews"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit 0, or 2 when the run or the task can't be found or read."""
    parser = argparse.ArgumentParser(prog="python -m scheduler.explain", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, required=True, help="the run directory")
    parser.add_argument("--task", required=True, help="the task's id")
    arguments = parser.parse_args(argv)
    try:
        print(explain(arguments.run, arguments.task))
    except UserError as e:
        print(f"explain: {e}", file=sys.stderr)
        return 2
    return 0


def explain(run: Path, task: str) -> str:
    """What the command prints. Raises UserError when the run or the task can't be found or read."""
    from memory.store import Store
    from scheduler.policies import policy as policy_of
    from srs import config as configs

    file, memory = run / "config.json", run / "memory.sqlite"
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: not a readable run config ({e}); name a run with --run") from e
    if not memory.is_file():
        raise UserError(f"{memory}: no such file: the run has planned no round yet")
    config = configs.from_dict(stored, str(file)).scheduler
    policy = policy_of(config)
    with Store.open(memory, read_only=True) as store:
        try:
            card = store.card(task)
        except KeyError as e:
            raise UserError(f"{memory}: no task {task!r}{_nearest(store, task)}") from e
        steps = replay(policy, store.reviews(task))
    text = page(task, policy, steps, freezes=config.frozen_tasks > 0)
    if steps and steps[-1].after != card:
        text += (
            "\nThe stored card differs from this replay: "
            "it was recorded by another version of the policy."
        )
    return text


def _nearest(store: Store, task: str) -> str:
    seen = (review.task for review in itertools.islice(store.reviews(), NAMES_SEARCHED))
    names = dict.fromkeys([*seen, *store.new_ids(NAMES_SEARCHED)])
    near = difflib.get_close_matches(task, names, n=1, cutoff=0.0)
    return f"; did you mean {near[0]!r}?" if near else ""


if __name__ == "__main__":
    sys.exit(main())
