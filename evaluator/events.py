"""The events that an assistant's log is made of: one JSON object a line (docs/metrics.md).

Unknown keys are ignored, since logs carry much else; known ones must have the type that they have here.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Annotated, Literal

from evaluator.acceptance import Kept
from evaluator.text_metrics import levenshtein

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Key = Literal["user", "session", "language", "model"]
KEYS: tuple[Key, ...] = ("user", "session", "language", "model")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every line has. Keys that aren't named here or below are ignored."""

    user: str
    session: str | None = None
    language: str | None = None
    model: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Opportunity(Event):
    """A moment at which the assistant could have asked its model.

    With the ``id`` of the attempt made there; or without, ``count`` moments at which none was made.
    """

    event: Literal["opportunity"]
    id: str | None = None
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or (self.id is not None and self.count != 1):
            raise ValueError("count must be 1 or more, and 1 beside an id")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step(Event):
    """The model was asked; its answer was shown; the programmer refused it."""

    event: Literal["attempt", "shown", "rejected"]
    id: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Event):
    """What was inserted: its ``text``, or only its ``characters`` and ``lines`` (those not blank)."""

    event: Literal["accepted"]
    id: str
    text: str | None = None
    characters: int | None = None
    lines: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        given = [value is not None for value in (self.characters, self.lines)]
        if any(given) if self.text is not None else not all(given):
            raise ValueError("give text, or characters and lines")
        if self.length < 1 or self.n_lines < 0 or (self.tokens is not None and self.tokens < 1):
            raise ValueError("an accepted text has 1 or more characters and tokens")

    @property
    def length(self) -> int:
        return len(self.text) if self.text is not None else self.characters or 0

    @property
    def n_lines(self) -> int:
        if self.text is None:
            return self.lines or 0
        return sum(bool(line.strip()) for line in self.text.splitlines())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look(Event):
    """What stands in the accepted text's place ``after_s`` seconds later: ``text``, ``""`` when deleted.

    Or only its Levenshtein ``distance`` to what was accepted and its length in ``characters``.
    """

    event: Literal["kept"]
    id: str
    after_s: float
    text: str | None = None
    distance: int | None = None
    characters: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.after_s) and self.after_s >= 0):
            raise ValueError("after_s must be 0 or more seconds")
        given = [value is not None for value in (self.distance, self.characters)]
        if any(given) if self.text is not None else not all(given):
            raise ValueError("give text, or distance and characters")

    def against(self, accepted: Accepted) -> Kept:
        """Raises ValueError when the two can't belong together."""
        if self.text is not None:
            if accepted.text is None:
                raise ValueError(
                    "has text where the acceptance has none: give distance, characters"
                )
            distance = levenshtein(accepted.text, self.text)
            return Kept(after_s=self.after_s, distance=distance, characters=len(self.text))
        characters, distance = self.characters or 0, self.distance or 0
        if characters < 0:
            raise ValueError("characters must be 0 or more")
        least, most = abs(accepted.length - characters), max(accepted.length, characters)
        if not least <= distance <= most:
            raise ValueError(f"distance must be {least} … {most} for texts of these lengths")
        return Kept(after_s=self.after_s, distance=distance, characters=characters)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Typed(Event):
    """``characters`` that the programmer typed; pasted text belongs in no event."""

    event: Literal["typed"]
    characters: int

    def __post_init__(self) -> None:
        if self.characters < 0:
            raise ValueError("characters must be 0 or more")


AnyStep = Opportunity | Step | Accepted | Look
AnyEvent = AnyStep | Typed


def parse(line: bytes) -> AnyEvent:
    """One line's event. Raises ValueError saying which key is wrong and how."""
    import pydantic

    try:
        event = _adapter().validate_json(line, strict=True)
    except pydantic.ValidationError as e:
        error = e.errors(include_url=False, include_context=False, include_input=False)[0]
        # The first place is the kind of event, which the message doesn't need.
        place = ".".join(str(part) for part in error["loc"][1:])
        message = error["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place}: {message}" if place else message) from e
    for key in (*KEYS, "id"):
        if getattr(event, key, None) == "":
            raise ValueError(f"{key}: must not be empty")
    return event


@functools.cache
def _adapter() -> TypeAdapter[AnyEvent]:
    import pydantic

    return pydantic.TypeAdapter(Annotated[AnyEvent, pydantic.Field(discriminator="event")])
