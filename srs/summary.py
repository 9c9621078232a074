"""What a run amounts to, in words and table cells: the texts of its report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from srs.progress import duration
from srs.runview import Estimate, RunView
from srs.taskview import visible
from srs.types import RoundRecord

MAX_CHANGED_IDS = 300
ROW_TITLES = (
    "Round",
    "New",
    "Review",
    "Graded",
    "Passed",
    "pass@k",
    "Held out",
    "95% interval",
    "Active",
    "Graduated",
    "Skipped",
    "Lapses",
    "No code",
    "SFT tokens",
    "SFT loss",
    "Time",
)


def progress(run: RunView, n_tasks: int) -> str:
    parts = [f"{run.rounds_done} of {run.rounds_wanted} rounds"]
    if run.records and run.records[-1].round > run.rounds_done:
        parts[0] += f" (numbered to {run.records[-1].round}: rounds with nothing due are skipped)"
    parts.append(f"{n_tasks:,} tasks tried")
    parts.append(f"{sum(r.n_candidates for r in run.records):,} candidates graded")
    if run.n_pairs is not None:
        parts.append(f"{run.n_pairs:,} preference pairs")
    parts.append(f"{duration(sum(sum(r.seconds.values()) for r in run.records))} of rounds")
    if run.comparison is None:
        parts.append("not finished yet")
    return " · ".join(parts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    term: str
    value: str
    note: str


def headline(run: RunView) -> list[Headline]:
    """Base, final, their difference, and which tasks changed sides."""
    measured = [r for r in run.records if r.val_pass_at_1 is not None]
    comparison = run.comparison
    if comparison is None:
        first = _measured("Held-out pass@1 before training", measured[0] if measured else None)
        latest = measured[-1] if len(measured) > 1 else None
        now = f"after round {latest.round}" if latest else "now"
        return [
            first,
            _measured(f"Held-out pass@1 {now}", latest),
            Headline(term="Difference", value="Not yet", note="compared after the last round"),
            Headline(
                term="Tasks fixed / broken", value="Not yet", note="McNemar's test, at the end"
            ),
        ]
    shown = []
    for title, policy in (("base", comparison.base), ("final", comparison.final)):
        evaluation = run.evaluation(policy)
        term = f"Held-out pass@1, {title}" + (f" ({policy})" if policy != title else "")
        value = percent(evaluation.pass_at_1.value) if evaluation else "-"
        note = f"95% interval {interval(evaluation.pass_at_1)}" if evaluation else ""
        shown.append(Headline(term=term, value=value, note=note))
    d = comparison.difference
    clear = "excludes" if d.low > 0 or d.high < 0 else "includes"
    return [
        *shown,
        Headline(
            term="Difference",
            value=f"{100 * d.value:+.1f} points",
            note=f"95% interval [{100 * d.low:+.1f}, {100 * d.high:+.1f}], {clear} 0",
        ),
        Headline(
            term="Tasks fixed / broken",
            value=f"{comparison.fixed} / {comparison.broken}",
            note=f"McNemar's exact test, p {_p(comparison.p)}",
        ),
    ]


def _measured(term: str, record: RoundRecord | None) -> Headline:
    if record is None or record.val_pass_at_1 is None:
        return Headline(term=term, value="Not yet", note="")
    note = ""
    if record.val_ci_low is not None and record.val_ci_high is not None:
        note = f"95% interval [{100 * record.val_ci_low:.1f}, {100 * record.val_ci_high:.1f}]"
    return Headline(term=term, value=percent(record.val_pass_at_1), note=note)


def changes(run: RunView) -> list[dict[str, str]]:
    """The held-out tasks that the final policy fixed and broke, by id."""
    if run.comparison is None:
        return []
    base, final = run.evaluation(run.comparison.base), run.evaluation(run.comparison.final)
    if base is None or final is None:
        return []
    changed: dict[str, list[str]] = {"fixed": [], "broken": []}
    for task, (passed, graded) in base.per_task.items():
        now_passed, now_graded = final.per_task.get(task, (passed, graded))
        step = now_passed / now_graded - passed / graded
        if step:
            changed["fixed" if step > 0 else "broken"].append(task)
    return [
        {
            "title": f"{len(ids)} held-out tasks {how}",
            "ids": visible(", ".join(sorted(ids)[:MAX_CHANGED_IDS]), 20_000).shown
            + (" …" if len(ids) > MAX_CHANGED_IDS else ""),
        }
        for how, ids in changed.items()
        if ids
    ]


def says_held_out(records: Sequence[RoundRecord]) -> str:
    shares = [(r.round, r.val_pass_at_1) for r in records if r.val_pass_at_1 is not None]
    text = "Greedy answers to tasks that are never trained on; bars are 95% intervals."
    if len(shares) > 1:
        (a, x), (b, y) = shares[0], shares[-1]
        text += f" From {percent(x)} (round {a}) to {percent(y)} (round {b})."
    return text


def says_cards(records: Sequence[RoundRecord]) -> str:
    if not records:
        return "Active cards are scheduled, graduated ones are learnt, skipped ones given up."
    r = records[-1]
    return (
        f"After round {r.round}: {r.active:,} active, {r.graduated:,} graduated (learnt), "
        f"{r.skipped:,} skipped (given up)." + _says_audits(records) + _says_forgetting(r)
    )


def _says_audits(records: Sequence[RoundRecord]) -> str:
    audits = [(r.round, r.pass_rate_audit) for r in records if r.pass_rate_audit is not None]
    if not audits:
        return ""
    round, share = audits[-1]
    return (
        f" The last audit of graduated and skipped ones, in round {round}: {percent(share)} passed."
    )


def _says_forgetting(record: RoundRecord) -> str:
    falls = [
        f"{100 * found['fall']:+.1f} points after {lag} rounds ({found['tasks']} tasks)"
        for lag, found in record.forgetting.items()
    ]
    return f" Tasks frozen once mastered have lost {', '.join(falls)}." if falls else ""


def says_seconds(records: Sequence[RoundRecord]) -> str:
    total: dict[str, float] = {}
    for record in records:
        for phase, spent in record.seconds.items():
            total[phase] = total.get(phase, 0.0) + spent
    if not total:
        return "Where each round's time goes."
    parts = ", ".join(
        f"{name} {duration(s)}" for name, s in sorted(total.items(), key=lambda i: -i[1])
    )
    return f"Where each round's time went. In all: {parts}."


def row(r: RoundRecord) -> list[str]:
    """The cells of one round, in the order of `ROW_TITLES`."""
    held_out = "-"
    if r.val_ci_low is not None and r.val_ci_high is not None:
        held_out = f"[{100 * r.val_ci_low:.1f}, {100 * r.val_ci_high:.1f}]"
    shares = [percent(x) for x in (r.pass_rate, r.pass_at_k, r.val_pass_at_1)]
    return [
        *map(str, (r.round, r.n_new, r.n_review, r.n_candidates)),
        *shares,
        held_out,
        *map(str, (r.active, r.graduated, r.skipped, r.lapses)),
        percent(r.format_error_rate),
        f"{r.sft_tokens:,}",
        "-" if r.sft_loss is None else f"{r.sft_loss:.4f}",
        duration(sum(r.seconds.values())),
    ]


def some_ks(run: RunView) -> list[int]:
    """At most four columns of pass@k: 1, the largest, and round numbers between."""
    ks = sorted({k for e in run.evaluations for k in e.pass_at_k})
    return ks if len(ks) <= 4 else sorted({ks[0], ks[-1], *(k for k in ks if k in (5, 10))})


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def interval(estimate: Estimate) -> str:
    return f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
