"""FSRS with a round for a day: py-fsrs decides when a task returns.

Source: J. Ye et al., the Free Spaced Repetition Scheduler, through the package ``fsrs`` (py-fsrs). Its
stability is the time after which recall has fallen to 90%; its card state lives in `Card.stability` and
`Card.difficulty`. There are no learning or relearning steps and no fuzzing, so an interval is a whole
number of rounds and a replay gives the same cards.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Final

from scheduler import evidence
from srs.types import Card, DueOrder, Review, UserError

if TYPE_CHECKING:
    from datetime import datetime

    import fsrs

MAX_INTERVAL_ROUNDS: Final = 1_000
RATINGS: Final = {1: "again", 2: "hard", 3: "good", 4: "easy"}
GOOD: Final = 0.8
CARD_ID: Final = 1
"""Any fixed number: without one py-fsrs takes the time of day and sleeps to keep it unique."""


def rating(review: Review) -> int:
    """FSRS's grade of a review: 1 again, 2 hard (60% or more passed), 3 good (80%), 4 easy (all)."""
    if review.n_passed == review.n_graded:
        return 4
    if review.pass_rate < evidence.RECALLED:
        return 1
    return 3 if review.pass_rate >= GOOD else 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fsrs:
    """The policy with its parameters: 21 weights, or none for py-fsrs's own, and the recall it aims at.

    Weights can be fitted to a review log: `memory.export --format fsrs` writes what optimisers read.
    """

    parameters: tuple[float, ...] = ()
    retention: float = 0.9

    @property
    def name(self) -> str:
        return "fsrs"

    @property
    def order(self) -> DueOrder | None:
        return "overdue"

    @property
    def shares(self) -> tuple[float, ...]:
        return ()

    @property
    def whole_pool(self) -> bool:
        return False

    def checked(self) -> Fsrs:
        """Itself. Raises UserError, naming the key, for values that py-fsrs refuses."""
        if not 0 < self.retention < 1:
            raise UserError("scheduler.fsrs_retention: must be between 0 and 1")
        try:
            _scheduler(self.parameters, self.retention)
        except ValueError as e:
            raise UserError(f"scheduler.fsrs_parameters: {' '.join(str(e).split())}") from e
        return self

    def update(self, card: Card | None, review: Review) -> Card:
        """The card after one review. Pure; ``card`` is None at the first one."""
        import fsrs

        model = _scheduler(self.parameters, self.retention)
        before = fsrs.Card(card_id=CARD_ID) if card is None else _state(card)
        after, _ = model.review_card(before, fsrs.Rating(rating(review)), _day(review.round))
        assert after.stability is not None
        assert after.difficulty is not None
        interval = (after.due - _day(review.round)).days
        return dataclasses.replace(
            evidence.reviewed(card, review, interval_rounds=interval),
            stability=after.stability,
            difficulty=after.difficulty,
        )

    def predict(self, card: Card, round: int) -> float | None:
        """FSRS's retrievability: the probability that a review in ``round`` isn't graded "again".

        It stands for the share of candidates that pass, which it only approximates: "again" means that
        less than 60% passed.
        """
        model = _scheduler(self.parameters, self.retention)
        return model.get_card_retrievability(_state(card), _day(round))

    def why(self, before: Card | None, review: Review, after: Card) -> str:
        """The reason for ``after``'s interval and status, in words."""
        words = f"graded {RATINGS[rating(review)]}"
        if before is None:
            words += f": stability {after.stability:.2f} rounds"
        else:
            recall = self.predict(before, review.round)
            words += f" at a recall of {recall:.2f}: stability {before.stability:.2f} to {after.stability:.2f} rounds"
        return (
            f"{words}; due when recall has fallen to {self.retention:.2f}, after 1 round at least"
        )


@functools.lru_cache(maxsize=16)
def _scheduler(parameters: tuple[float, ...], retention: float) -> fsrs.Scheduler:
    """py-fsrs's scheduler, which holds no state. Raises ValueError for parameters out of its bounds."""
    import fsrs
    from fsrs.scheduler import DEFAULT_PARAMETERS

    return fsrs.Scheduler(
        parameters=parameters or DEFAULT_PARAMETERS,
        desired_retention=retention,
        learning_steps=(),
        relearning_steps=(),
        maximum_interval=MAX_INTERVAL_ROUNDS,
        enable_fuzzing=False,
    )


def _state(card: Card) -> fsrs.Card:
    import fsrs

    return fsrs.Card(
        card_id=CARD_ID,
        state=fsrs.State.Review,
        stability=card.stability,
        difficulty=card.difficulty,
        due=_day(card.due_round),
        last_review=_day(evidence.last_round(card)),
    )


def _day(round: int) -> datetime:
    """The synthetic day of a round; only differences between days matter."""
    from datetime import UTC, datetime, timedelta

    return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=round)
