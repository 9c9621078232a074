"""What programmers do with an assistant's suggestions, as rates with intervals. Pure and seeded.

`tally` turns a log's records into counts by user or session; `estimate` turns those into the metrics
below, each a ratio of two sums. All are observational: who uses what, for which code, is nobody's choice
here, so two groups that differ in a rate need not differ in their models. `evaluator.telemetry` reads logs.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from evaluator.metrics import ratio_ci

EventKind = Literal["opportunity", "attempt", "shown", "accepted", "rejected", "kept", "typed"]
GroupBy = Literal["user", "language", "model"]
Cluster = Literal["user", "session"]

MOSTLY_CHANGED = 0.33
"""Distance, as a share of the longer text, above which an accepted text isn't retained. Sourcegraph's
completion persistence rate counts what is retained to 67% or more."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose record it is, and of what. None = the log doesn't say."""

    user: str
    session: str | None = None
    language: str | None = None
    model: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What had become of an accepted text ``after_s`` seconds later.

    ``distance``: Levenshtein distance to it, in characters. ``characters``: length of what stands there now.
    """

    after_s: float
    distance: int
    characters: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """An accepted text. ``lines`` are those that aren't blank; ``tokens`` are the model's, None = unknown."""

    characters: int
    lines: int
    tokens: int | None = None
    kept: tuple[Kept, ...] = ()

    def changed(self, window_s: float) -> float | None:
        """Levenshtein distance / longer length, 0 … 1, at the first look at or after ``window_s``.

        None without one.
        """
        later = [kept for kept in self.kept if kept.after_s >= window_s]
        if not later:
            return None
        first = min(later, key=lambda kept: kept.after_s)
        return first.distance / max(self.characters, first.characters)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One suggestion, as far as it came: the model was asked, its answer shown, accepted or rejected."""

    origin: Origin
    at_opportunity: bool
    attempted: bool
    shown: bool
    rejected: bool = False
    accepted: Acceptance | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What happened without a suggestion: opportunities that led to none, characters typed by hand."""

    origin: Origin
    opportunities: int = 0
    typed_characters: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Sums over the records of one user or session; the metrics are ratios of these.

    ``tokenised`` acceptances are those whose ``tokens`` are known, with ``token_characters`` characters;
    ``looked_at`` acceptances are those with a look at or after the window.
    """

    opportunities: int = 0
    attempts: int = 0
    shown: int = 0
    rejected: int = 0
    accepted: int = 0
    accepted_characters: int = 0
    accepted_lines: int = 0
    tokenised: int = 0
    tokens: int = 0
    token_characters: int = 0
    typed_characters: int = 0
    looked_at: int = 0
    retained: int = 0
    unchanged: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A metric's two sums."""

    numerator: int
    denominator: int

    @property
    def value(self) -> float | None:
        return self.numerator / self.denominator if self.denominator else None


def attempt_rate(c: Counts) -> Ratio:
    """Attempts / opportunities: how often the assistant asks its model when it could (see `cpo`)."""
    return Ratio(numerator=c.attempts, denominator=c.opportunities)


def feedback_rate(c: Counts) -> Ratio:
    """Shown / attempts: how often an answer comes in time, and is good enough, to be seen (see `cpo`)."""
    return Ratio(numerator=c.shown, denominator=c.attempts)


def acceptance_rate(c: Counts) -> Ratio:
    """Accepted / shown (Ziegler et al. 2022, arXiv:2205.06537). What was neither counts as not accepted."""
    return Ratio(numerator=c.accepted, denominator=c.shown)


def tokens_per_acceptance(c: Counts) -> Ratio:
    """Tokens / acceptances, over those acceptances whose tokens are known (see `cpo`)."""
    return Ratio(numerator=c.tokens, denominator=c.tokenised)


def characters_per_token(c: Counts) -> Ratio:
    """Characters / tokens, over those acceptances whose tokens are known (see `cpo`)."""
    return Ratio(numerator=c.token_characters, denominator=c.tokens)


def cpo(c: Counts) -> Ratio:
    """Characters per opportunity: accepted characters / opportunities.

    Attempt rate · feedback rate · acceptance rate · tokens per acceptance · characters per token
    (Codeium, "The Golden Metrics: Characters per Opportunity and Percentage Code Written", 2024). Each
    factor's numerator is the next one's denominator, so the product is this ratio wherever all tokens
    are known; where they aren't, the ratio still is the number of characters per opportunity.
    """
    return Ratio(numerator=c.accepted_characters, denominator=c.opportunities)


def generated_share(c: Counts) -> Ratio:
    """Accepted characters / (accepted + typed characters): the auto-generated share of new code.

    Codeium's "percentage code written" and Sourcegraph's, but at the moment of acceptance: what is
    deleted later, on either side, still counts. Pasted and generated-elsewhere text is neither.
    """
    total = c.accepted_characters + c.typed_characters
    return Ratio(numerator=c.accepted_characters, denominator=total)


def accepted_lines(c: Counts) -> Ratio:
    """Accepted lines / acceptances (total_code_lines_accepted / total_code_acceptances of GitHub's Copilot
    metrics). A line counts when something other than blanks stands on it."""
    return Ratio(numerator=c.accepted_lines, denominator=c.accepted)


def retained_share(c: Counts) -> Ratio:
    """Acceptances whose text still stands there after the window / those looked at then.

    Still there: Levenshtein distance / longer length ≤ `MOSTLY_CHANGED`. Persistence after 30 … 600 s
    is from Ziegler et al. 2022 (arXiv:2205.06537), the threshold from Sourcegraph's documentation.
    """
    return Ratio(numerator=c.retained, denominator=c.looked_at)


def unchanged_share(c: Counts) -> Ratio:
    """As `retained_share`, counting only what hasn't changed by a character."""
    return Ratio(numerator=c.unchanged, denominator=c.looked_at)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A ratio, the events without which it isn't measured, and how to say it: ``of`` is the denominator."""

    ratio: Callable[[Counts], Ratio]
    needs: frozenset[EventKind]
    of: str
    is_share: bool = True

    @property
    def name(self) -> str:
        return self.ratio.__name__


METRICS = (
    Metric(ratio=attempt_rate, needs=frozenset({"opportunity", "attempt"}), of="opportunities"),
    Metric(ratio=feedback_rate, needs=frozenset({"attempt", "shown"}), of="attempts"),
    Metric(ratio=acceptance_rate, needs=frozenset({"shown"}), of="shown"),
    Metric(ratio=tokens_per_acceptance, needs=frozenset({"accepted"}), of="acceptances with tokens", is_share=False),
    Metric(ratio=characters_per_token, needs=frozenset({"accepted"}), of="accepted tokens", is_share=False),
    Metric(ratio=cpo, needs=frozenset({"opportunity"}), of="opportunities", is_share=False),
    Metric(ratio=generated_share, needs=frozenset({"typed"}), of="new characters"),
    Metric(ratio=accepted_lines, needs=frozenset({"accepted"}), of="acceptances", is_share=False),
    Metric(ratio=retained_share, needs=frozenset({"kept"}), of="acceptances looked at"),
    Metric(ratio=unchanged_share, needs=frozenset({"kept"}), of="acceptances looked at"),
)  # fmt: skip


def tally(
    records: Iterable[Suggestion | Background],
    *,
    window_s: float,
    by: GroupBy | None = None,
    cluster: Cluster = "user",
) -> dict[str, list[Counts]]:
    """Group → the counts of each of its clusters (users, or sessions); without ``by``, one group ``all``.

    Groups and clusters are sorted, so that nothing depends on the order of the records. Raises ValueError for a record that doesn't say
    what it is to be grouped or clustered by.
    """
    sums: dict[str, dict[tuple[str, str], collections.Counter[str]]] = {}
    for record in records:
        origin = record.origin
        group = "all" if by is None else getattr(origin, by)
        session = origin.session if cluster == "session" else ""
        if group is None or session is None:
            raise ValueError(
                f"a record of user {origin.user} has no {by if group is None else cluster}"
            )
        clusters = sums.setdefault(group, {})
        counter = clusters.setdefault((origin.user, session), collections.Counter())
        counter.update(_increments(record, window_s))
    return {
        group: [Counts(**counter) for _, counter in sorted(clusters.items())]
        for group, clusters in sorted(sums.items())
    }


def _increments(record: Suggestion | Background, window_s: float) -> Mapping[str, int]:
    if isinstance(record, Background):
        return {
            "opportunities": record.opportunities,
            "typed_characters": record.typed_characters,
        }
    found = {
        "opportunities": int(record.at_opportunity),
        "attempts": int(record.attempted),
        "shown": int(record.shown),
        "rejected": int(record.rejected),
    }
    if (accepted := record.accepted) is not None:
        found |= {
            "accepted": 1,
            "accepted_characters": accepted.characters,
            "accepted_lines": accepted.lines,
        }
        if accepted.tokens is not None:
            found |= {
                "tokenised": 1,
                "tokens": accepted.tokens,
                "token_characters": accepted.characters,
            }
        if (changed := accepted.changed(window_s)) is not None:
            found |= {
                "looked_at": 1,
                "retained": int(changed <= MOSTLY_CHANGED),
                "unchanged": int(changed == 0),
            }
    return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric's sums and value, with the bounds of its interval.

    ``value`` is None when the denominator is 0, the bounds also when fewer than two clusters count.
    """

    numerator: int
    denominator: int
    value: float | None
    low: float | None
    high: float | None


def estimate(
    clusters: Sequence[Counts],
    metric: Metric,
    *,
    seed: int = 0,
    n_resamples: int = 2_000,
) -> Estimate:
    """``metric`` over all ``clusters``, with a 95% interval from resampling whole clusters.

    The cluster bootstrap of `evaluator.metrics.ratio_ci`: one user's suggestions are alike, so whole
    users (or sessions) are drawn. Clusters where both sums are 0 say nothing and aren't drawn.
    """
    ratios = [metric.ratio(counts) for counts in clusters]
    total = Ratio(
        numerator=sum(ratio.numerator for ratio in ratios),
        denominator=sum(ratio.denominator for ratio in ratios),
    )
    sums = [(r.numerator, r.denominator) for r in ratios if r.numerator or r.denominator]
    low = high = None
    if len(sums) >= 2 and total.denominator:
        low, high = ratio_ci(sums, seed=seed, n_resamples=n_resamples)
    return Estimate(
        numerator=total.numerator,
        denominator=total.denominator,
        value=total.value,
        low=low,
        high=high,
    )
