"""Preference pairs from repairs: the answer that was put right over the one it replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evaluator.repairing.attempt import Attempt, Key
from evaluator.repairing.loop import State
from srs.prompts import answer
from srs.types import PreferencePair

INSTRUCTIVE = frozenset({"passed", "failed", "error", "memory", "output_limit", "tampered"})
"""A timeout may pass on an idle machine, and an answer without a program can't be rendered."""


def repair_pairs(
    start: State, feedback: Sequence[Attempt], control: Iterable[Attempt], *, chat: bool
) -> list[PreferencePair]:
    """One pair for each item that feedback put right, by item, of tasks that have tests.

    ``chosen`` is the right answer and ``rejected`` the one that the feedback was about: it failed, or
    passed with findings. The prompt is the task's own, as the control was given it, so that a model
    learns to write the better answer at once.
    """
    prompts: dict[Key, str] = {}
    for one in control:
        prompts.setdefault(one.key, one.prompt)
    latest = dict(start)
    pairs = []
    for now in sorted(feedback, key=lambda a: (a.key, a.epoch)):
        if now.no_room:
            continue
        before, latest[now.key] = latest[now.key], now
        right = now.ok and now.passed and now.code is not None
        if not right or before.code is None or before.outcome not in INSTRUCTIVE:
            continue
        if before.passed and before.unanalysed is not None:
            continue  # not known to be worse
        pairs.append(
            PreferencePair(
                task=now.task,
                prompt=prompts[now.key],
                chosen=answer(now.code or "", chat=chat),
                rejected=answer(before.code, chat=chat),
                chosen_round=now.epoch,
                rejected_round=before.epoch,
                chosen_policy=now.policy,
                rejected_policy=before.policy,
                rejected_outcome=before.outcome,
                rejected_tests_passed=_share_passed(before),
            )
        )
    return pairs


def _share_passed(one: Attempt) -> float:
    return one.n_passed / one.n_collected if one.n_collected else 0.0
