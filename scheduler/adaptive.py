"""Ours: a discounted posterior of the pass rate, and a stability that gaps must prove.

Each card is a small Bayesian filter. Between two reviews its pass rate is predicted: practice lifts it,
time takes part of it away, and certainty fades because the model changes. At a review the candidates are
added as evidence, and the stability grows with the gap that a success survived or falls with the surprise
of a failure. docs/policies.md gives the equations, their sources, and what each constant stands for.

All that choosing needs is fixed at review time, so a store can choose by index: ``due_round``, the
``stage`` (which share of the reviews the card competes for) and the ``priority`` within it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

from scheduler import evidence
from scheduler.evidence import RECALLED, last_round
from srs.types import Card, CardStatus, DueOrder, Review, UserError

STAGES: Final = ("acquire", "hold", "parole")
PAROLE_SHARE: Final = 0.1
"""Of the reviews, for tasks that nothing solves."""
RETENTION: Final = 0.9
"""So much is left after ``stability`` rounds of what forgetting can take."""
DUE_AT: Final = 0.8
"""A held task is due when so much is left: after 2.1 times its stability."""
KEPT: Final = 0.95
"""Share of a pass rate that general skill keeps however long a task isn't practised."""
GROWTH: Final = 1.5
"""Rounds of stability gained per round of gap survived with every candidate passing; SM-2's ease - 1."""
LAPSE: Final = 0.1
"""Share of the stability that a total surprise leaves: predicted 1, observed 0."""
MIN_STABILITY, MAX_STABILITY = 1.0, 1_000.0
"""Rounds."""
HELD: Final = 0.8
"""Expected pass rate from which a task is held rather than acquired."""
GRADUATE_STREAK: Final = 4
GRADUATE_GAP_ROUNDS: Final = 8
GRADUATE_PASS_RATE: Final = 0.8
GRADUATE_BOUND: Final = 0.75
"""Graduation: so many successes in a row, the last two this good, such a gap survived, and the
posterior's lower bound this high."""
SKIP_ZEROS: Final = 5
MIN_WAIT_ROUNDS: Final = 4
"""No task returns sooner: by then half of what was seen of it is out of date."""
MAX_WAIT_ROUNDS: Final = 1_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """The policy with its one setting: the share of the reviews for tasks that it holds.

    What is being acquired gets the rest, and what nothing solves `PAROLE_SHARE`: none starves the others.
    The more a model forgets, the more holding is worth (docs/policies.md). Cards don't depend on it.
    """

    hold_share: float = 0.1

    @property
    def name(self) -> str:
        return "adaptive"

    @property
    def order(self) -> DueOrder | None:
        return "priority"

    @property
    def shares(self) -> tuple[float, ...]:
        return (1 - PAROLE_SHARE - self.hold_share, self.hold_share, PAROLE_SHARE)

    @property
    def whole_pool(self) -> bool:
        return False

    def checked(self) -> Adaptive:
        """Itself. Raises UserError, naming the key, for a share that would starve what is held or acquired."""
        if not 0 < self.hold_share < 1 - PAROLE_SHARE:
            most = 1 - PAROLE_SHARE
            raise UserError(f"scheduler.hold_share: must be above 0 and below {most:g}")
        return self

    def update(self, card: Card | None, review: Review) -> Card:
        """The card after one review. Pure; ``card`` is None at the first one."""
        expected, gap, passes, fails = 0.0, 0, 0.0, 0.0
        if card is not None:
            gap = review.round - last_round(card)
            expected = _recall(card, gap)
            certainty = (card.passes + card.fails) * evidence.weight(gap)
            passes, fails = expected * certainty, (1 - expected) * certainty
        passes, fails = passes + review.n_passed, fails + (review.n_graded - review.n_passed)
        stability = _stability(card, review, passes, fails, gap, expected)
        status = _status(card, review, passes, fails, gap)
        passes, fails = evidence.after_practice(card, review, passes, fails)
        stage = _stage(card, review, passes, fails)
        interval = _interval(card, review, stability, stage)
        after = dataclasses.replace(
            evidence.reviewed(card, review, interval_rounds=interval, status=status),
            stability=stability,
            passes=passes,
            fails=fails,
        )
        surprise = max(0.0, expected - review.pass_rate) if _lapsed(card, after) else 0.0
        return dataclasses.replace(after, stage=stage, priority=_priority(after, stage) + surprise)

    def predict(self, card: Card, round: int) -> float | None:
        """The share of candidates expected to pass: what practice left, less what time took since."""
        return _recall(card, max(0, round - last_round(card)))

    def why(self, before: Card | None, review: Review, after: Card) -> str:
        """The reason for ``after``'s interval and status, in words."""
        if review.pass_rate >= RECALLED:
            words = f"success: stability {after.stability:.1f} rounds"
            if before is not None:
                gap = review.round - last_round(before)
                words += f" (was {before.stability:.1f}; a gap of {gap} was survived)"
            if after.stage == 1:
                words += f", due when {DUE_AT:.0%} is left of what can be forgotten"
        elif review.n_passed == 0 and after.interval_rounds > MIN_WAIT_ROUNDS:
            words = (
                f"nothing passed {after.zeros} times in a row: "
                f"the distance doubles each time, up to {2**SKIP_ZEROS} rounds"
            )
        elif _lapsed(before, after):
            assert before is not None
            words = (
                f"a lapse: again in {after.interval_rounds} rounds; "
                f"stability {before.stability:.1f} to {after.stability:.1f}"
            )
        else:
            words = (
                f"failed (less than {RECALLED:.0%} passed): again in {after.interval_rounds} rounds"
            )
        was = None if before is None else before.status
        if after.status != was and after.status == "graduated":
            words += (
                f"; graduated: {GRADUATE_STREAK} successes or more, {GRADUATE_PASS_RATE:.0%} or more passed "
                f"in the last two, a gap of {GRADUATE_GAP_ROUNDS} rounds or more survived, and the pass rate "
                f"is above {GRADUATE_BOUND} to the posterior"
            )
        elif after.status != was and after.status == "skipped":
            words += "; skipped until an audit sees one pass"
        elif was is not None and after.status != was:
            words += f"; no longer {was}"
        if after.status != "active":
            return words
        place = "in order of due rounds" if after.stage == 1 else f"priority {after.priority:.2f}"
        return f"{words}; queue '{STAGES[after.stage]}', {place}"


def _recall(card: Card, gap: int) -> float:
    left = math.pow(RETENTION, gap / card.stability)
    return evidence.mean(card.passes, card.fails) * (KEPT + (1 - KEPT) * left)


def _stability(
    card: Card | None, review: Review, passes: float, fails: float, gap: int, expected: float
) -> float:
    """Rounds until `RETENTION` is left, after the review whose posterior ``passes`` and ``fails`` make."""
    p = evidence.mean(passes, fails)
    if card is None:
        stability = math.sqrt(p / (1 - p))
    elif review.pass_rate >= RECALLED:
        stability = card.stability + GROWTH * gap * max(0.0, 2 * p - 1)
    else:
        stability = card.stability * math.pow(LAPSE, max(0.0, expected - review.pass_rate))
    return min(MAX_STABILITY, max(MIN_STABILITY, stability))


def _status(card: Card | None, review: Review, passes: float, fails: float, gap: int) -> CardStatus:
    if evidence.zeros(card, review) >= SKIP_ZEROS:
        return "skipped"
    if card is None or review.pass_rate < RECALLED:
        return "active"
    proven = (
        card.streak + 1 >= GRADUATE_STREAK
        and gap >= GRADUATE_GAP_ROUNDS
        and min(card.last_pass_rate, review.pass_rate) >= GRADUATE_PASS_RATE
        and evidence.lower_bound(passes, fails) >= GRADUATE_BOUND
    )
    return "graduated" if proven or card.status == "graduated" else "active"


def _interval(card: Card | None, review: Review, stability: float, stage: int) -> int:
    """Held tasks wait until `DUE_AT` is left, others their stability; hopeless ones at doubling distances."""
    if review.pass_rate < RECALLED:
        wait = float(1 << min(SKIP_ZEROS, max(0, evidence.zeros(card, review) - 1)))
    else:
        wait = stability * (math.log(DUE_AT) / math.log(RETENTION) if stage == 1 else 1.0)
    return min(MAX_WAIT_ROUNDS, max(MIN_WAIT_ROUNDS, round(wait)))


def _stage(card: Card | None, review: Review, passes: float, fails: float) -> int:
    if evidence.zeros(card, review) >= 2:
        return 2
    held = review.pass_rate >= RECALLED and evidence.mean(passes, fails) >= HELD
    return 1 if held else 0


def _priority(card: Card, stage: int) -> float:
    """Held tasks in the order in which they fall due, the others by their learnability p(1-p)."""
    if stage == 1:
        return -float(card.due_round)
    return evidence.learnability(card.passes, card.fails)


def _lapsed(before: Card | None, after: Card) -> bool:
    return before is not None and after.lapses > before.lapses
