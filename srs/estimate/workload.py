"""How much a config asks for: candidates, tokens and examples, counted before anything runs."""

from __future__ import annotations

import dataclasses
import math

from srs.config import Config


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Counts over the whole run. Tokens are not here: how long answers are is a rate.

    ``examples`` and ``pairs`` are upper bounds: every practised task gives its examples, every task seen
    its pairs. ``completion_tokens`` replaces ``examples`` where the config sets a budget of tokens.
    """

    rounds: int
    tasks: int
    """Tasks that may be trained on."""
    drawn: int
    """Of a round, audits not counted."""
    held_out: int
    """Tasks of an evaluation."""
    candidates: int
    """Of all rollouts, audits included."""
    evaluations: int
    evaluation_candidates: int
    """Of all evaluations."""
    examples: int
    """Each as often as it is trained on."""
    completion_tokens: int | None
    """Trained on over all rounds, where ``finetune.tokens_per_round`` says how many."""
    pairs: int
    """Preference pairs, each as often as it is trained on."""
    distinct_pairs: int
    seen: int
    """Tasks that some round draws."""
    references: int
    """Reference solutions to verify, once."""


def divided(config: Config, tasks_count: int) -> tuple[int, int]:
    """How many of a source's tasks may be trained on, and how many are held out. Each is 1 or more."""
    pool = max(1, tasks_count - round(tasks_count * config.tasks.held_out_share))
    return pool, max(1, tasks_count - pool)


def workload(config: Config, pool: int, kept_out: int, rounds: int) -> Workload:
    """Count what ``rounds`` rounds on ``pool`` training tasks do, with ``kept_out`` tasks held out.

    Probes of frozen tasks are left out; the share of new tasks is what the config means it to be.
    """
    s, g = config.scheduler, config.generate
    if config.tasks.limit:
        pool = min(pool, config.tasks.limit)
    held_out = min(kept_out, config.eval.limit or kept_out)
    drawn = min(s.tasks_per_round, pool)
    audits = s.audit_size * (rounds // s.audit_every) if s.audit_every else 0
    seen = min(pool, math.ceil(drawn + max(0, rounds - 1) * drawn * s.new_share) if rounds else 0)
    evaluations = sum(round == rounds or config.eval.due(round) for round in range(rounds + 1)) + (
        config.dpo.enabled and rounds > 0
    )
    alone = sum(0 < r < rounds and not config.eval.due(r) for r in {*config.eval.panel_rounds})
    panel = min(config.eval.panel, pool) * config.eval.n
    budget = config.finetune.tokens_per_round
    distinct_pairs = 0
    if config.dpo.enabled:
        distinct_pairs = seen * config.dpo.max_pairs_per_task
        if config.dpo.max_pairs:
            distinct_pairs = min(distinct_pairs, config.dpo.max_pairs)
    return Workload(
        rounds=rounds,
        tasks=pool,
        drawn=drawn,
        held_out=held_out,
        candidates=(rounds * drawn + audits) * g.n,
        evaluations=evaluations,
        evaluation_candidates=evaluations * (held_out * (1 + config.eval.n) + panel)
        + alone * panel,
        examples=rounds * drawn * config.finetune.max_per_task * config.finetune.epochs,
        completion_tokens=rounds * budget if budget else None,
        pairs=distinct_pairs * config.dpo.epochs,
        distinct_pairs=distinct_pairs,
        seen=seen,
        references=pool + held_out,
    )
