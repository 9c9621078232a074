"""Builds a complete synthetic run directory out of the real records, for the report's tests."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srs import config as configs
from srs.types import Candidate, Outcome, RoundPlan, RoundRecord, Task, Verdict, to_json

FAILURES: tuple[tuple[Outcome, str], ...] = (
    ("failed", "test_two: assert solve([3, 1]) == [1, 3]\n  where solve([3, 1]) is [3, 1]"),
    ("error", "NameError: name 'itertools' is not defined"),
    ("timeout", "no result after 5.0 s"),
    ("no_code", "no Python code that parses in the completion"),
)


def task(number: int, *, id: str = "", question: str = "") -> Task:
    kind = ("list", "string", "dict")[number % 3]
    return Task(
        id=id or f"Tiny_{number}_I",
        group=f"Tiny_{number}",
        kind="pytest",
        style="instruct",
        subset="Tiny",
        question=question
        or f"Return the {kind} with every element doubled, then sorted, as in example {number}.\n"
        "The input may be empty.",
        declaration="def solve(values):",
        entry_point="solve",
        test="from solution import solve\n\ndef test_one():\n    assert solve([]) == []\n",
        reference="def solve(values):\n    return sorted(2 * v for v in values)\n",
        difficulty=("easy", "medium", "hard")[number % 3],
    )


class RunBuilder:
    """Writes one round after another into ``path``, as a run would; ``finish`` adds the ending."""

    def __init__(self, path: Path, *, rounds: int = 10, n: int = 5, seed: int = 0) -> None:
        self.path = path
        self.n = n
        self.rounds = rounds
        self.records: list[RoundRecord] = []
        self._random = random.Random(seed)
        path.mkdir(parents=True, exist_ok=True)
        config = configs.override(
            configs.Config(),
            [f"run.rounds={rounds}", "scheduler.tasks_per_round=12", "finetune.lora_r=16"],
        )
        self._json("config.json", configs.to_dict(config))
        self._json(
            "environment.json",
            {
                "python": "3.11.2",
                "packages": {"torch": "2.13.0", "vllm": None, "trl": "1.16.0"},
                "sandbox": {"backend": "process", "not_covered": ["the network", "other users"]},
            },
        )
        self._lines("tasks_dropped.jsonl", [{"task": "Tiny_900_I", "reason": "reference: timeout"}])

    def add_round(
        self,
        number: int,
        tasks: Sequence[Task] = (),
        *,
        n_new: int = 8,
        completion: str | None = None,
        detail: str | None = None,
    ) -> RoundRecord:
        """Grade ``n`` candidates for each task; ``completion`` makes them all that (hostile) text."""
        ids = tuple(t.id for t in tasks)
        plan = RoundPlan(round=number, new=ids[:n_new], review=ids[n_new:])
        skill = 0.35 + 0.5 * number / max(self.rounds, 1)
        graded = [
            self._graded(t, number, index, skill, completion, detail)
            for t in tasks
            for index in range(self.n)
        ]
        if tasks:
            folder = f"rounds/{number:04d}"
            self._json(f"{folder}/plan.json", to_json(plan))
            self._lines(f"{folder}/candidates.jsonl", [to_json(c) for c, _ in graded])
            self._lines(f"{folder}/verdicts.jsonl", [to_json(v) for _, v in graded])
        new = {*plan.new}
        value = 0.31 + 0.022 * number + self._random.uniform(-0.015, 0.015)
        record = RoundRecord(
            round=number,
            n_new=len(plan.new),
            n_review=len(plan.review),
            n_candidates=len(graded),
            pass_rate=_rate([v for _, v in graded]),
            pass_rate_new=_rate([v for _, v in graded if v.task in new]),
            pass_rate_review=_rate([v for _, v in graded if v.task not in new]),
            pass_at_k=0.8 if graded else None,
            val_pass_at_1=value,
            val_ci_low=max(0.0, value - 0.06),
            val_ci_high=min(1.0, value + 0.06),
            graduated=3 * number,
            skipped=number // 4,
            active=6 * number,
            lapses=number % 3,
            format_error_rate=0.02 if graded else None,
            sft_examples=len(tasks),
            sft_tokens=120 * len(tasks),
            sft_loss=0.9 / (1 + number) if graded else None,
            seconds={"plan": 0.02, "generate": 6.5, "grade": 1.2, "train": 8.0, "eval": 4.0}
            if graded
            else {"eval": 4.1},
        )
        self.records.append(record)
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_json(record)) + "\n")
        return record

    def finish(self, n_held_out: int = 240) -> None:
        """Pairs, the final evaluations and their comparison (numbers made up, shapes real)."""
        self._lines("pairs.jsonl", [{"task": f"Tiny_{i}_I"} for i in range(40)])
        last = f"round-{self.records[-1].round:04d}"
        for name, policy, share in (
            ("base", "base", 0.31),
            ("sft", last, 0.52),
            ("dpo", "dpo", 0.55),
        ):
            passed, shift = round(share * n_held_out), 8 if name == "dpo" else 0
            at_k = {
                str(k): _estimate(min(0.97, share + 0.09 * math.log(k + 1))) for k in range(1, 6)
            }
            self._json(
                f"evaluation/{name}.json",
                {
                    "policy": policy,
                    "round": 0,
                    "n": 5,
                    "temperature": 0.8,
                    "pass_at_1": _estimate(share),
                    "pass_at_k": at_k,
                    "per_task": {
                        f"Held_{i}_I": [int(shift <= i < shift + passed), 1]
                        for i in range(n_held_out)
                    },
                    "sampled_per_task": {},
                    "format_error_rate": 0.01,
                },
            )
        self._json(
            "evaluation/comparison.json",
            {
                "base": "base",
                "final": "dpo",
                "difference": {"value": 0.24, "low": 0.181, "high": 0.299},
                "mcnemar": {"fixed": 66, "broken": 8, "p": 1.3e-12},
            },
        )

    def _graded(
        self,
        t: Task,
        number: int,
        index: int,
        skill: float,
        completion: str | None,
        detail: str | None,
    ) -> tuple[Candidate, Verdict]:
        passed = self._random.random() < skill and completion is None
        outcome, why = ("passed", "") if passed else self._random.choice(FAILURES)
        code: str | None = (
            f"def solve(values):\n    return {'sorted(2 * v for v in values)' if passed else 'values'}\n"
        )
        if completion is not None:
            outcome, why, code = "failed", detail or why, completion
        text = code if code else ""
        if outcome == "no_code":
            text, code = (
                "Sure! The answer is to sort the values:\n```python\ndef solve(values:\n",
                None,
            )
        candidate = Candidate(
            task=t.id,
            round=number,
            index=index,
            prompt=f"### Problem\n{t.question}\n\n### Answer\n```python\n",
            completion=text,
            code=code,
            policy=f"round-{number - 1:04d}" if number > 1 else "base",
            seed=index,
            n_tokens=30,
            truncated=outcome == "no_code",
        )
        verdict = Verdict(
            task=t.id,
            round=number,
            index=index,
            outcome=outcome,
            n_passed=5 if passed else 2 * (outcome == "failed"),
            n_collected=5,
            wall_s=0.012,
            detail=why,
        )
        return candidate, verdict

    def _json(self, name: str, value: Any) -> None:
        self._text(name, json.dumps(value))

    def _lines(self, name: str, values: Sequence[Any]) -> None:
        self._text(name, "".join(json.dumps(value) + "\n" for value in values))

    def _text(self, name: str, text: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def complete(path: Path, rounds: int = 10) -> dict[str, Task]:
    """A finished run of ``rounds`` rounds with 12 tasks each; returns its tasks."""
    tasks = [task(i) for i in range(8 * rounds + 4)]
    run = RunBuilder(path, rounds=rounds)
    run.add_round(0)
    for number in range(1, rounds + 1):
        new, old = (
            tasks[8 * number - 8 : 8 * number],
            tasks[max(0, 8 * number - 20) : max(0, 8 * number - 16)],
        )
        run.add_round(number, [*new, *old])
    run.finish()
    return {t.id: t for t in tasks}


def _rate(verdicts: Sequence[Verdict]) -> float | None:
    return sum(v.passed for v in verdicts) / len(verdicts) if verdicts else None


def _estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.06, "high": min(1.0, value + 0.06)}
