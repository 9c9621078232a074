"""FSRS in rounds: the same cards as py-fsrs gives when it is used directly."""

from datetime import UTC, datetime, timedelta

import fsrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replays import replay, review_of

from scheduler.config import SchedulerConfig
from scheduler.fsrs import Fsrs, rating
from scheduler.policies import policy
from srs.types import Card, Review, UserError

DEFAULT = Fsrs()
FITTED = (0.1, 0.5, 1.0, 4.0, *fsrs.Scheduler().parameters[4:])


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        # py-fsrs 6.3's default weights at a retention of 0.9, where the interval is the stability.
        ([5, 5, 5], [8, 66, 397]),
        ([4, 4, 4, 4], [2, 11, 46, 163]),
        ([3, 3, 3], [1, 3, 7]),
        ([0, 0, 2, 3, 5, 5, 5], [1, 1, 1, 1, 1, 3, 6]),
        ([5, 5, 1, 5, 5], [8, 66, 4, 16, 67]),
    ],
)
def test_golden_traces(passes: list[int], expected: list[int]) -> None:
    cards = replay(DEFAULT, passes)
    assert [card.interval_rounds for card in cards] == expected
    assert {card.status for card in cards} == {"active"}


@pytest.mark.parametrize(
    ("n_passed", "n_graded", "grade"),
    [(0, 5, 1), (2, 5, 1), (3, 5, 2), (4, 5, 3), (5, 5, 4), (0, 1, 1), (1, 1, 4), (59, 100, 1), (79, 100, 2), (99, 100, 3)],
)  # fmt: skip
def test_rating_of_a_pass_rate(n_passed: int, n_graded: int, grade: int) -> None:
    assert rating(Review(task="t", round=1, n_passed=n_passed, n_graded=n_graded)) == grade


@settings(deadline=None)  # a busy machine is not a broken law
@given(
    passes=st.lists(st.integers(0, 5), min_size=1, max_size=15),
    late=st.integers(0, 30),
    parameters=st.sampled_from([(), FITTED]),
    retention=st.sampled_from([0.8, 0.9, 0.95]),
)
def test_cards_are_those_of_the_package(
    passes: list[int], late: int, parameters: tuple[float, ...], retention: float
) -> None:
    """The whole card of py-fsrs is carried by ours: nothing is lost between two reviews."""
    ours = Fsrs(parameters=parameters, retention=retention)
    theirs = fsrs.Scheduler(
        **({"parameters": parameters} if parameters else {}),
        desired_retention=retention,
        learning_steps=(),
        relearning_steps=(),
        maximum_interval=1_000,
        enable_fuzzing=False,
    )
    card: Card | None = None
    reference = fsrs.Card(card_id=7)
    for n_passed in passes:
        review = review_of(card, n_passed, late=late)
        day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=review.round)
        card = ours.update(card, review)
        reference, _ = theirs.review_card(reference, fsrs.Rating(rating(review)), day)
        assert (card.stability, card.difficulty) == (reference.stability, reference.difficulty)
        assert timedelta(days=card.interval_rounds) == reference.due - day
        for gap in (0, 1, 5, 40):
            recall = theirs.get_card_retrievability(reference, day + timedelta(days=gap))
            assert ours.predict(card, review.round + gap) == recall


def test_fitted_parameters_and_retention_come_from_the_config() -> None:
    fitted = policy(SchedulerConfig(policy="fsrs", fsrs_parameters=FITTED))
    assert [replay(fitted, [n])[-1].interval_rounds for n in (0, 3, 4, 5)] == [1, 1, 1, 4]
    often = policy(SchedulerConfig(policy="fsrs", fsrs_retention=0.95))
    assert replay(often, [5, 5])[-1].interval_rounds < replay(DEFAULT, [5, 5])[-1].interval_rounds


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"fsrs_parameters": (1.0, 2.0)},
            r"scheduler\.fsrs_parameters: Expected 21 parameters, got 2",
        ),
        ({"fsrs_parameters": (1e9, *FITTED[1:])}, r"scheduler\.fsrs_parameters: .*out of bounds"),
        ({"fsrs_retention": 1.0}, r"scheduler\.fsrs_retention: must be between 0 and 1"),
    ],
)
def test_unusable_parameters_name_their_key(keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        policy(SchedulerConfig(policy="fsrs", **keys))  # type: ignore[arg-type]
