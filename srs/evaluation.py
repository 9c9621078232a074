"""Held-out evaluation of one policy, and the paired comparison of two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evaluator import metrics
from srs.config import EvalConfig, GenerateConfig
from srs.generate import Policy, Sampling
from srs.rollout import Known, Roller, Rollout
from srs.types import Task

Evaluation = dict[str, Any]
"""``policy, round, n, temperature, pass_at_1, pass_at_k, per_task, sampled_per_task, format_error_rate``.

``pass_at_1`` is greedy; ``pass_at_k`` maps k = 1…n to the unbiased estimate from n samples; each with
its 95% interval over tasks (`evaluator.metrics.mean_with_interval`). ``per_task``: [passed, 1]; ``sampled_per_task``: [passed, n].
``panel``, when there is one, as `measure_panel` gives it.
"""
Panel = dict[str, Any]
"""``policy, round, n, temperature, panel``; the last one: each panel task's n samples in two halves,
[[passed, n // 2], [passed, rest]]."""


def evaluate(
    roller: Roller,
    tasks: Sequence[Task],
    *,
    policy: Policy,
    round: int,
    eval_config: EvalConfig,
    generate_config: GenerateConfig,
    advance: Callable[[int], None],
    known: Known | None = None,
    panel: Sequence[Task] = (),
) -> Evaluation:
    """One greedy answer and ``eval_config.n`` samples for each task; the samples alone for the panel.

    ``known`` keeps the verdicts of programs that earlier evaluations graded (`Roller.roll_out`).

    The sampling seeds don't depend on the round, so two policies are compared on the same streams.
    """

    def roll_out(n: int, temperature: float, phase: str) -> Rollout:
        return roller.roll_out(
            tasks,
            policy=policy,
            sampling=_sampling(n, temperature, generate_config),
            round=0,
            phase=phase,
            advance=advance,
            known=known,
        )

    greedy = roll_out(1, 0.0, "evaluate-greedy")
    counts = greedy.passed_and_graded()
    result: Evaluation = {
        "policy": policy.name,
        "round": round,
        "n": eval_config.n,
        "temperature": eval_config.temperature,
        "pass_at_1": metrics.mean_with_interval([passed / n for passed, n in counts.values()]),
        "pass_at_k": {},
        "per_task": {task: list(pair) for task, pair in counts.items()},
        "sampled_per_task": {},
        "format_error_rate": metrics.format_error_rate(greedy.verdicts),
    }
    if eval_config.n:
        sampled = roll_out(eval_config.n, eval_config.temperature, "evaluate-sampled")
        counts = sampled.passed_and_graded()
        result["sampled_per_task"] = {task: list(pair) for task, pair in counts.items()}
        result["pass_at_k"] = {
            str(k): metrics.mean_with_interval(
                [metrics.pass_at_k(n, c, k) for c, n in counts.values()]
            )
            for k in range(1, eval_config.n + 1)
        }
    if panel:
        result["panel"] = measure_panel(
            roller,
            panel,
            policy=policy,
            round=round,
            eval_config=eval_config,
            generate_config=generate_config,
            advance=advance,
            known=known,
        )["panel"]
    return result


def measure_panel(
    roller: Roller,
    panel: Sequence[Task],
    *,
    policy: Policy,
    round: int,
    eval_config: EvalConfig,
    generate_config: GenerateConfig,
    advance: Callable[[int], None],
    known: Known | None = None,
) -> Panel:
    """``eval_config.n`` samples for each task, from the same streams after every round."""
    samples = roller.roll_out(
        panel,
        policy=policy,
        sampling=_sampling(eval_config.n, eval_config.temperature, generate_config),
        round=0,
        phase="evaluate-panel",
        advance=advance,
        known=known,
    )
    return {
        "policy": policy.name,
        "round": round,
        "n": eval_config.n,
        "temperature": eval_config.temperature,
        "panel": {
            task: halves([verdict.passed for _, verdict in graded])
            for task, graded in samples.by_task().items()
        },
    }


def _sampling(n: int, temperature: float, generate_config: GenerateConfig) -> Sampling:
    return Sampling(
        n=n,
        temperature=temperature,
        top_p=generate_config.top_p if temperature else 1.0,
        max_tokens=generate_config.max_tokens,
    )


def halves(passed: Sequence[bool]) -> list[list[int]]:
    """[passed, n] of the first half of a task's samples and of the rest.

    What is picked by one half is measured by the other: a task picked for passing regresses to its mean
    in the samples that picked it.
    """
    first, rest = passed[: len(passed) // 2], passed[len(passed) // 2 :]
    return [[sum(first), len(first)], [sum(rest), len(rest)]]


def compare(base: Evaluation, final: Evaluation) -> dict[str, Any]:
    """Greedy pass@1 of two policies on the same tasks, paired.

    ``difference`` (final - base) with its paired 95% interval; ``mcnemar``: tasks fixed and
    broken, exact two-sided p.
    """
    tasks = sorted(base["per_task"])
    before, after = (_pass_rates(evaluation["per_task"], tasks) for evaluation in (base, final))
    broken, fixed = metrics.discordant(
        [rate == 1 for rate in before], [rate == 1 for rate in after]
    )
    return {
        "base": base["policy"],
        "final": final["policy"],
        "difference": metrics.difference_with_interval(after, before),
        "mcnemar": {"fixed": fixed, "broken": broken, "p": metrics.mcnemar_exact(fixed, broken)},
    }


def _pass_rates(per_task: Mapping[str, Sequence[int]], tasks: Sequence[str]) -> list[float]:
    return [per_task[task][0] / per_task[task][1] for task in tasks]
