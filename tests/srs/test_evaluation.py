"""Evaluation on a real sandbox, with answers that are known: held-out pass@k, and the panel's halves."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from evaluator.reference import verify
from sandbox.pool import open_sandbox
from sandbox.runner import Limits, Sandbox, SandboxConfig
from srs.config import EvalConfig, GenerateConfig
from srs.evaluation import evaluate, halves, measure_panel
from srs.generate import Generator, Policy, Request, Sampling
from srs.rollout import Roller
from srs.types import Candidate, Task

RIGHT, WRONG = "def f(x):\n    return x + 1\n", "def f(x):\n    return x\n"
LIMITS = Limits(timeout_s=5)


def task(name: str) -> Task:
    return Task(
        id=name, group=name, kind="pytest", style="instruct", subset="T", question="add one",
        declaration="def f(x):", entry_point="f",
        test="from solution import f\n\ndef test_f():\n    assert f(1) == 2\n", reference=RIGHT,
    )  # fmt: skip


@dataclasses.dataclass
class Scripted:
    """Sample ``i`` of a task is right when ``right[task]`` has ``i``; greedy answers are wrong."""

    right: dict[str, set[int]]
    asked: list[tuple[str, int, int]] = dataclasses.field(default_factory=list)

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        for request in requests:
            name = request.task.id
            self.asked.append((name, sampling.n, request.seed))
            for index in range(sampling.n):
                passes = sampling.temperature > 0 and index in self.right[name]
                yield Candidate(
                    task=name, round=round, index=index, prompt="p", completion="c",
                    code=RIGHT if passes else WRONG, policy=policy.name, seed=request.seed,
                    n_tokens=1, truncated=False,
                )  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(SandboxConfig(backend="process", workers=2)) as opened:
        yield opened


def test_the_panel_is_sampled_beside_the_held_out_tasks_in_two_halves(sandbox: Sandbox) -> None:
    held_out, panel = [task("h")], [task("p"), task("q")]
    expectations, _ = verify([*held_out, *panel], sandbox, None, limits=LIMITS)
    generator = Scripted({"h": {0, 4}, "p": {0, 1, 3}, "q": {2}})
    roller = Roller(
        generator=cast(Generator, generator),
        sandbox=sandbox,
        expectations=expectations,
        limits=LIMITS,
        seed=1,
    )
    heard: list[int] = []
    seen = [
        evaluate(
            roller,
            held_out,
            policy=Policy(name="base", adapter=None),
            round=round,
            eval_config=EvalConfig(n=5),
            generate_config=GenerateConfig(),
            advance=heard.append,
            panel=panel,
        )
        for round in (0, 8)
    ]
    assert seen[0] == {**seen[1], "round": 0}, "the streams don't depend on the round"
    result = seen[0]
    assert result["panel"] == {"p": [[2, 2], [1, 3]], "q": [[0, 2], [1, 3]]}
    assert result["sampled_per_task"] == {"h": [2, 5]}
    assert result["per_task"] == {"h": [0, 1]}
    assert sum(heard) == 2 * (1 + 5 + 2 * 5)
    assert len({seed for _, _, seed in generator.asked}) == 4, "one stream for each task and phase"


def test_the_panel_alone_gets_the_same_samples_as_beside_an_evaluation(sandbox: Sandbox) -> None:
    held_out, panel = [task("h")], [task("p"), task("q")]
    expectations, _ = verify([*held_out, *panel], sandbox, None, limits=LIMITS)
    generator = Scripted({"h": {0, 4}, "p": {0, 1, 3}, "q": {2}})
    roller = Roller(
        generator=cast(Generator, generator),
        sandbox=sandbox,
        expectations=expectations,
        limits=LIMITS,
        seed=1,
    )
    heard: list[int] = []
    common: dict[str, Any] = {
        "policy": Policy(name="base", adapter=None),
        "eval_config": EvalConfig(n=5),
        "generate_config": GenerateConfig(),
        "advance": heard.append,
    }
    alone = measure_panel(roller, panel, round=3, **common)
    asked = list(generator.asked)
    assert {name for name, _, _ in asked} == {"p", "q"}
    assert sum(heard) == 2 * 5
    beside = evaluate(roller, held_out, round=8, panel=panel, **common)
    assert alone == {
        "policy": "base", "round": 3, "n": 5, "temperature": 0.8, "panel": beside["panel"]
    }  # fmt: skip
    assert set(asked) < set(generator.asked), "from the same streams"


def test_halves_share_no_sample() -> None:
    assert halves([True, False, False, True, True]) == [[1, 2], [2, 3]]
    assert halves([True] * 10) == [[5, 5], [5, 5]]


def test_evaluation_is_due_at_the_rounds_named_or_at_every_so_many() -> None:
    assert [r for r in range(11) if EvalConfig(every=4).due(r)] == [0, 4, 8]
    assert [r for r in range(11) if EvalConfig(every=4, rounds=(3, 9)).due(r)] == [0, 3, 9]
