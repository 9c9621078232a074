import dataclasses
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.acceptance import (
    METRICS,
    Acceptance,
    Background,
    Counts,
    Kept,
    Origin,
    Suggestion,
    acceptance_rate,
    accepted_lines,
    attempt_rate,
    characters_per_token,
    cpo,
    estimate,
    feedback_rate,
    generated_share,
    retained_share,
    tally,
    tokens_per_acceptance,
    unchanged_share,
)

METRIC = {metric.name: metric for metric in METRICS}
FACTORS = (
    attempt_rate,
    feedback_rate,
    acceptance_rate,
    tokens_per_acceptance,
    characters_per_token,
)
ANN = Origin(user="ann", session="1", language="python", model="a")
BOB = Origin(user="bob", session="1", language="go", model="a")


def suggestion(
    origin: Origin, accepted: Acceptance | None = None, shown: bool = True
) -> Suggestion:
    return Suggestion(
        origin=origin, at_opportunity=True, attempted=True, shown=shown, accepted=accepted
    )


# 9 opportunities, 5 attempts, 4 shown, 2 accepted with 12 characters in 5 tokens on 4 lines, 24 typed.
RECORDS: list[Suggestion | Background] = [
    Background(origin=ANN, opportunities=3, typed_characters=24),
    Background(origin=BOB, opportunities=1),
    suggestion(ANN, Acceptance(characters=6, lines=1, tokens=3, kept=(Kept(after_s=600, distance=1, characters=6),))),
    suggestion(ANN),
    suggestion(ANN, shown=False),
    suggestion(
        BOB,
        Acceptance(
            characters=6,
            lines=3,
            tokens=2,
            kept=(
                Kept(after_s=700, distance=6, characters=0),
                Kept(after_s=30, distance=0, characters=6),
            ),
        ),
    ),
    suggestion(BOB),
]  # fmt: skip


def whole(records: list[Suggestion | Background], window_s: float = 600) -> Counts:
    """The sums over everybody."""
    (clusters,) = tally(records, window_s=window_s).values()
    fields = [field.name for field in dataclasses.fields(Counts)]
    return Counts(**{name: sum(getattr(c, name) for c in clusters) for name in fields})


def test_every_metric_by_hand() -> None:
    counts = whole(RECORDS)
    assert attempt_rate(counts).value == 5 / 9
    assert feedback_rate(counts).value == 4 / 5
    assert acceptance_rate(counts).value == 2 / 4
    assert tokens_per_acceptance(counts).value == 5 / 2
    assert characters_per_token(counts).value == 12 / 5
    assert cpo(counts).value == 12 / 9
    assert generated_share(counts).value == 12 / (12 + 24)
    assert accepted_lines(counts).value == 4 / 2
    assert retained_share(counts).value == 1 / 2
    assert unchanged_share(counts).value == 0 / 2


def test_the_window_takes_the_first_look_at_or_after_it() -> None:
    at_30 = whole(RECORDS, window_s=30)
    assert retained_share(at_30).value == 2 / 2
    assert unchanged_share(at_30).value == 1 / 2
    later = retained_share(whole(RECORDS, window_s=601))
    assert (later.numerator, later.denominator) == (0, 1)
    assert retained_share(whole(RECORDS, window_s=701)).value is None


@pytest.mark.parametrize(
    ("distance", "characters", "retained"),
    [(33, 100, 1), (34, 100, 0), (66, 200, 1), (67, 200, 0), (0, 100, 1), (100, 0, 0)],
)
def test_retained_means_at_most_a_third_changed(
    distance: int, characters: int, retained: int
) -> None:
    kept = Kept(after_s=1, distance=distance, characters=characters)
    records: list[Suggestion | Background] = [
        suggestion(ANN, Acceptance(characters=100, lines=1, kept=(kept,)))
    ]
    assert whole(records, window_s=1).retained == retained


def test_acceptances_without_tokens_are_left_to_the_characters() -> None:
    records = [*RECORDS, suggestion(BOB, Acceptance(characters=18, lines=1))]
    counts = whole(records)
    assert tokens_per_acceptance(counts).value == 5 / 2
    assert characters_per_token(counts).value == 12 / 5
    assert cpo(counts).value == 30 / 10


counts_of_a_user = st.builds(
    lambda a, b, c, d, e, f: Counts(
        opportunities=a + b + c + d,
        attempts=a + b + c,
        shown=a + b,
        accepted=a,
        accepted_characters=a * e,
        accepted_lines=a,
        tokenised=a,
        tokens=a * f,
        token_characters=a * e,
        typed_characters=d,
    ),
    *[st.integers(0, 30)] * 4,
    *[st.integers(1, 30)] * 2,
)


@given(counts_of_a_user)
def test_cpo_is_the_product_of_its_factors(counts: Counts) -> None:
    factors = [factor(counts).value for factor in FACTORS]
    whole = cpo(counts).value
    if None not in factors:
        assert whole == pytest.approx(math.prod(f for f in factors if f is not None))


@settings(deadline=None)
@given(st.lists(counts_of_a_user, min_size=1, max_size=6), st.randoms())
def test_estimates_are_bounded_and_do_not_depend_on_the_order_of_users(
    users: list[Counts], random: Random
) -> None:
    for metric in METRICS:
        found = estimate(users, metric, n_resamples=50)
        if metric.is_share and found.value is not None:
            assert 0 <= found.value <= 1
        if found.low is not None:
            assert found.high is not None
            values = [v for u in users if (v := metric.ratio(u).value) is not None]
            assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
        shuffled = random.sample(users, len(users))
        again = estimate(shuffled, metric, n_resamples=50)
        assert (again.numerator, again.denominator) == (found.numerator, found.denominator)
        assert again.value == found.value


def test_an_interval_needs_two_users_who_count() -> None:
    accepts, never, idle = Counts(shown=4, accepted=4), Counts(shown=4), Counts()
    metric = METRIC["acceptance_rate"]
    alone = estimate([accepts, idle, idle], metric)
    assert (alone.value, alone.low, alone.high) == (1, None, None)
    both = estimate([accepts, never], metric)
    assert (both.value, both.low, both.high) == (0.5, 0, 1)
    nothing = estimate([idle, idle], metric)
    assert (nothing.denominator, nothing.value, nothing.low) == (0, None, None)


def test_alike_suggestions_of_one_user_do_not_narrow_the_interval() -> None:
    metric = METRIC["acceptance_rate"]
    few = [Counts(shown=10, accepted=2), Counts(shown=10, accepted=6), Counts(shown=10, accepted=4)]
    many = [Counts(shown=1_000 * c.shown, accepted=1_000 * c.accepted) for c in few]
    assert estimate(few, metric).low == estimate(many, metric).low == pytest.approx(0.2)


def test_groups_and_clusters() -> None:
    later = Origin(user="ann", session="2", language="go", model="a")
    records = [*RECORDS, suggestion(later)]
    assert [len(c) for c in tally(records, window_s=0).values()] == [2]
    assert [len(c) for c in tally(records, window_s=0, cluster="session").values()] == [3]
    by_language = tally(records, window_s=0, by="language")
    assert {name: len(c) for name, c in by_language.items()} == {"python": 1, "go": 2}
    by_user = tally(records, window_s=0, by="user", cluster="session")
    assert {name: len(c) for name, c in by_user.items()} == {"ann": 2, "bob": 1}
    silent = suggestion(Origin(user="eve"))
    with pytest.raises(ValueError, match="eve has no model"):
        tally([silent], window_s=0, by="model")
    with pytest.raises(ValueError, match="eve has no session"):
        tally([silent], window_s=0, cluster="session")


@given(st.permutations(RECORDS))
def test_nothing_depends_on_the_order_of_records(
    records: list[Suggestion | Background],
) -> None:
    for by in (None, "user", "language"):
        found = tally(records, window_s=600, by=by)
        assert list(found.items()) == list(tally(RECORDS, window_s=600, by=by).items())
