"""The records that flow through the loop.

Standard library only: every package may import this module, and it imports none of them.
All records are frozen and keyword-only; units are in the names (``_s`` seconds, ``_mib`` mebibytes,
``_rounds`` rounds). ``to_json``/``from_json`` are the one way a record becomes a JSON object and back.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeVar

TaskKind = Literal["pytest", "stdio"]
CardStatus = Literal["active", "graduated", "skipped"]
Outcome = Literal[
    "passed", "failed", "error", "timeout", "memory", "output_limit", "no_code", "tampered"
]
TestOutcome = Literal["passed", "failed", "error", "skipped"]
ExecStatus = Literal["finished", "error", "timeout", "memory", "output_limit", "died"]
Source = Literal["self", "reference"]
DueOrder = Literal["overdue", "ease", "priority", "random"]
ReviewKind = Literal["practice", "audit", "probe"]


class UserError(Exception):
    """Input that can't be used (exit 2). Its one line names the file, line or key and what to do."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One programming problem, e.g. KodCode's ``Prefill_12_I``.

    ``group`` is the split key: twins (``Prefill_12_I``/``Prefill_12_C``) and rewordings share it, so
    that they land on the same side of a split. ``test`` is a pytest module for ``kind="pytest"``; for
    ``kind="stdio"`` it is JSON, ``{"stdin": [...], "stdout": [...]}`` of equal lengths.
    """

    id: str
    group: str
    kind: TaskKind
    style: str
    subset: str
    question: str
    declaration: str | None
    entry_point: str | None
    test: str
    reference: str | None
    difficulty: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """The tasks of one round. No id stands in it twice.

    ``new`` (never tried) and ``review`` (drawn again) are practised: graded, remembered and trained on.
    ``audit`` (graduated or skipped cards, drawn at random) is graded and remembered, ``probe`` (frozen
    tasks whose time has come, see `scheduler.frozen`) only measured; neither is trained on.
    """

    round: int
    new: tuple[str, ...]
    review: tuple[str, ...]
    audit: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()

    @property
    def practised(self) -> tuple[str, ...]:
        return self.new + self.review

    @property
    def task_ids(self) -> tuple[str, ...]:
        return self.practised + self.audit + self.probe


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One sampled answer: the exact prompt and completion, and the code found in it.

    ``code`` is None when no parseable code was found (a format error). ``policy`` names the weights
    that wrote it: ``"base"``, ``"round-0003"``, ``"dpo"``. ``index`` counts 0…n-1 within the task.
    """

    task: str
    round: int
    index: int
    prompt: str
    completion: str
    code: str | None
    policy: str
    seed: int
    n_tokens: int
    truncated: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """What one test (or one stdin/stdout case) did. ``message`` is the failing assertion, in words."""

    __test__ = False  # not a pytest class

    id: str
    outcome: TestOutcome
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """What the sandbox saw of one job. A broken sandbox raises instead of returning one of these.

    ``finished``: every collected test has a report. ``error``: the module or a test could not be
    imported or collected. ``died``: the process ended before its last report (``os._exit``, a signal).
    ``outputs`` holds, for stdio jobs only, the captured stdout of each case, in order.

    ``calls``: how often tests and solution called each other from process to process. ``used``: how far the tests relied on the solution's own objects (see `sandbox.runner.Job`);
    ``shared``: names they took from the solution that are standard ones: (name, module, qualified name);
    ``wrote``: the solution changed an argument; ``passed_by_writing``: and the tests pass by that alone;
    ``passed_canary``: which of the job's altered tests it passed as well, if any; ``together``: tests and
    solution ran in one process.
    """

    status: ExecStatus
    collected: tuple[str, ...] = ()
    reports: tuple[TestReport, ...] = ()
    outputs: tuple[str, ...] = ()
    wall_s: float = 0.0
    detail: str = ""
    calls: int = 0
    used: int = 0
    shared: tuple[tuple[str, str, str], ...] = ()
    wrote: bool = False
    passed_by_writing: bool = False
    passed_canary: int | None = None
    together: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one candidate. ``n_passed`` ≤ ``n_collected`` = the reference's test count.

    ``path``: what it rests on. ``split``: tests that ran in a process without the candidate's code;
    ``together``: in one process; ``+canaries``: and altered tests that the candidate failed, as it must;
    ``stdio``: what it printed.
    """

    task: str
    round: int
    index: int
    outcome: Outcome
    n_passed: int
    n_collected: int
    wall_s: float
    detail: str = ""
    path: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One task's result in one round: ``n_passed`` of ``n_graded`` candidates passed.

    ``kind``: a ``practice`` was trained on; an ``audit`` of a graduated or skipped card was not; a
    ``probe`` was not either and leaves the card as it is.
    """

    task: str
    round: int
    n_passed: int
    n_graded: int
    kind: ReviewKind = "practice"

    @property
    def pass_rate(self) -> float:
        return self.n_passed / self.n_graded


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a policy remembers of one task; always the replay of the task's reviews.

    ``streak`` counts successes in a row and ``zeros`` rounds in a row in which nothing passed.
    ``due_round`` = the round of the latest review + ``interval_rounds``.

    A policy uses what it needs of the rest: ``stage`` is a Leitner box or a pool; ``priority`` orders due
    cards, the highest first; ``stability`` (rounds) and ``difficulty`` are a memory model's state;
    ``passes`` and ``fails`` are evidence, counts of candidates that may be discounted by age.
    """

    task: str
    ease: float
    interval_rounds: int
    streak: int
    zeros: int
    lapses: int
    due_round: int
    status: CardStatus
    n_reviews: int
    last_pass_rate: float
    stage: int = 0
    priority: float = 0.0
    stability: float = 0.0
    difficulty: float = 0.0
    passes: float = 0.0
    fails: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SftExample:
    """One supervised example; loss falls on ``completion`` only, scaled by ``weight`` (mean 1)."""

    task: str
    round: int
    prompt: str
    completion: str
    weight: float
    source: Source


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair:
    """One DPO pair (TRL's ``prompt, chosen, rejected``) with where each side came from."""

    task: str
    prompt: str
    chosen: str
    rejected: str
    chosen_round: int
    rejected_round: int
    chosen_policy: str
    rejected_policy: str
    rejected_outcome: Outcome
    rejected_tests_passed: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One line of ``metrics.jsonl``; round 0 is before training. None = not measured this round.

    ``pass_rate`` and ``pass_at_k`` are over the round's candidates; ``val_*`` over the held-out tasks.
    ``graduated``/``skipped`` count cards in that state now, ``lapses`` those of this round.

    ``n_measured``: candidates of audits and probes, which are not among ``n_candidates``. ``forgetting``:
    by lag in rounds, the mean fall of the frozen tasks' pass rate so far, and over how many tasks.
    """

    round: int
    n_new: int
    n_review: int
    n_candidates: int
    pass_rate: float | None
    pass_rate_new: float | None
    pass_rate_review: float | None
    pass_at_k: float | None
    val_pass_at_1: float | None
    val_ci_low: float | None
    val_ci_high: float | None
    graduated: int
    skipped: int
    active: int
    lapses: int
    format_error_rate: float | None
    sft_examples: int
    sft_tokens: int
    sft_loss: float | None
    seconds: dict[str, float]
    n_measured: int = 0
    pass_rate_audit: float | None = None
    forgetting: dict[str, Any] = dataclasses.field(default_factory=dict)


R = TypeVar("R")


def to_json(record: Any) -> dict[str, Any]:
    """A record as a JSON-ready dict, keys in field order."""
    return dataclasses.asdict(record)


def from_json(cls: type[R], obj: dict[str, Any]) -> R:
    """The inverse of `to_json`. Lists become tuples; nested test reports become records.

    Raises TypeError when a field is missing or unknown.
    """
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in obj.items()}
    if cls is ExecResult:
        values["reports"] = tuple(TestReport(**r) for r in values.get("reports", ()))
        values["shared"] = tuple(map(tuple, values.get("shared", ())))
    return cls(**values)
