"""Reads an assistant's event log: lines in any order → `evaluator.acceptance` records, bad lines by number.

The lines of one suggestion share an ``id`` and go opportunity → attempt → shown → accepted or rejected →
kept. A kind that no line has isn't recorded, and isn't asked for; one that the log does record must be
there for every suggestion that came further, so that no rate exceeds 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from evaluator.acceptance import Acceptance, Background, EventKind, Kept, Origin, Suggestion
from evaluator.events import (
    KEYS,
    Accepted,
    AnyEvent,
    AnyStep,
    Event,
    Key,
    Look,
    Opportunity,
    Typed,
    parse,
)
from srs.types import UserError

RANK: dict[EventKind, int] = {
    "opportunity": 0, "attempt": 1, "shown": 2, "accepted": 3, "rejected": 4, "kept": 5,
}  # fmt: skip
"""The order of a suggestion's steps. ``rejected`` comes after ``accepted`` to be refused beside it."""
BEFORE: tuple[EventKind, ...] = ("opportunity", "attempt", "shown")
"""Steps that every later one needs, where the log records them."""
Numbered = tuple[int, AnyEvent]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class BadLine:
    """A line that can't be used, counted from 1, and why."""

    line: int
    why: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What a file holds. ``kinds``: those it records. ``bad`` is in the order of the file."""

    n_lines: int
    kinds: frozenset[EventKind]
    records: tuple[Suggestion | Background, ...]
    bad: tuple[BadLine, ...]


def read_log(
    path: Path,
    *,
    required: Sequence[Key] = (),
    advance: Callable[[int], object] = lambda _: None,
) -> Log:
    """All records of the file. Every record must say each of the ``required`` keys.

    ``advance`` is called with the number of lines read since. Raises UserError for a file that can't be
    read, or that is empty.
    """
    events: list[Numbered] = []
    bad: list[BadLine] = []
    n = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                advance(1)
                text = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
                if not text:
                    continue
                n += 1
                try:
                    events.append((number, parse(text)))
                except ValueError as e:
                    bad.append(BadLine(line=number, why=str(e)))
    except OSError as e:
        raise UserError(f"{path}: cannot read the events: {e.strerror or e}") from e
    if not n:
        raise UserError(f"{path}: no events; expected one JSON object per line")
    records, inconsistent = join(events, required=required)
    return Log(
        n_lines=n,
        kinds=frozenset(event.event for _, event in events),
        records=tuple(records),
        bad=tuple(sorted([*bad, *inconsistent])),
    )


def join(
    events: Iterable[Numbered], *, required: Sequence[Key] = ()
) -> tuple[list[Suggestion | Background], list[BadLine]]:
    """The lines of each id as one suggestion, and the lines that fit into none.

    A line is bad when the step before it is missing or itself bad, when its step is there already, when
    it contradicts another line of its id on whose it is, or when a ``required`` key is said nowhere.
    """
    records: list[Suggestion | Background] = []
    bad: list[BadLine] = []
    by_id: dict[str, list[tuple[int, AnyStep]]] = {}
    kinds: set[EventKind] = set()
    for number, event in events:
        kinds.add(event.event)
        if not isinstance(event, Typed) and event.id is not None:
            by_id.setdefault(event.id, []).append((number, event))
            continue
        origin = _with(None, event)
        if missing := _missing(origin, required):
            bad.append(BadLine(line=number, why=missing))
        elif isinstance(event, Typed):
            records.append(Background(origin=origin, typed_characters=event.characters))
        else:
            count = event.count if isinstance(event, Opportunity) else 0
            records.append(Background(origin=origin, opportunities=count))
    for name, lines in by_id.items():
        suggestion, misfits = _suggestion(lines, kinds, required)
        bad += [BadLine(line=number, why=f"id {name!r}: {why}") for number, why in misfits]
        if suggestion is not None:
            records.append(suggestion)
    return records, bad


def _suggestion(
    lines: Iterable[tuple[int, AnyStep]], kinds: set[EventKind], required: Sequence[Key]
) -> tuple[Suggestion | None, list[tuple[int, str]]]:
    """What the lines of one id amount to, None when none can be used; and those that can't, with why."""
    steps: dict[EventKind, AnyStep] = {}
    kept: dict[float, Kept] = {}
    origin: Origin | None = None
    used: list[int] = []
    misfits: list[tuple[int, str]] = []
    for number, event in sorted(lines, key=lambda line: (RANK[line[1].event], line[0])):
        try:
            _check_place(event, steps, kinds)
            if isinstance(event, Look):
                accepted = steps.get("accepted")
                if not isinstance(accepted, Accepted):
                    raise ValueError("kept, but no accepted line can be used")
                if event.after_s in kept:
                    raise ValueError(f"a second look after {event.after_s:g} s")
                found = event.against(accepted)
                origin = _with(origin, event)
                kept[event.after_s] = found
            else:
                origin = _with(origin, event)
                steps[event.event] = event
        except ValueError as e:
            misfits.append((number, str(e)))
        else:
            used.append(number)
    if origin is None:
        return None, misfits
    if missing := _missing(origin, required):
        return None, [*misfits, *((number, missing) for number in used)]
    acceptance = None
    if isinstance(accepted := steps.get("accepted"), Accepted):
        acceptance = Acceptance(
            characters=accepted.length,
            lines=accepted.n_lines,
            tokens=accepted.tokens,
            kept=tuple(kept.values()),
        )
    suggestion = Suggestion(
        origin=origin,
        at_opportunity="opportunity" in steps,
        attempted="attempt" in steps,
        shown="shown" in steps,
        rejected="rejected" in steps,
        accepted=acceptance,
    )
    return suggestion, misfits


def _check_place(event: AnyStep, steps: dict[EventKind, AnyStep], kinds: set[EventKind]) -> None:
    """Raises ValueError when the step was taken already, or one that the log records is missing before."""
    if event.event in steps:
        raise ValueError(f"a second {event.event} line")
    if event.event == "rejected" and "accepted" in steps:
        raise ValueError("rejected, and accepted")
    before = [kind for kind in BEFORE if kind in kinds and RANK[kind] < RANK[event.event]]
    if before and before[-1] not in steps:
        raise ValueError(f"{event.event}, but no {before[-1]} line can be used")


def _with(origin: Origin | None, event: Event) -> Origin:
    """What is known with one line more. Raises ValueError when the line contradicts it."""
    known = {key: getattr(origin, key) if origin else None for key in KEYS}
    for key in KEYS:
        if isinstance(event, Look) and key == "session":
            continue  # a later session may have looked
        said = getattr(event, key)
        if None not in (said, known[key]) and said != known[key]:
            raise ValueError(f"{key} is {said!r}, but {known[key]!r} in another of its lines")
        known[key] = known[key] if said is None else said
    return Origin(
        user=event.user,
        session=known["session"],
        language=known["language"],
        model=known["model"],
    )


def _missing(origin: Origin, required: Sequence[Key]) -> str | None:
    lacking = [key for key in required if getattr(origin, key) is None]
    return f"no {' and no '.join(lacking)}, which is asked for" if lacking else None
