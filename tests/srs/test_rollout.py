"""Generation streams into grading: order, reuse of verdicts, and what is not reused."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from evaluator.reference import verify
from sandbox.pool import open_sandbox
from sandbox.runner import Limits, Sandbox, SandboxConfig
from srs.generate import Generator, Policy, Request, Sampling
from srs.rollout import Known, Roller, Rollout
from srs.types import Candidate, RoundPlan, Task

RIGHT, WRONG, SLOW = (
    "def f(x):\n    return x + 1\n",
    "def f(x):\n    return x\n",
    "while True: pass\n",
)
LIMITS = Limits(timeout_s=1.5)


def task(name: str) -> Task:
    return Task(
        id=name, group=name, kind="pytest", style="instruct", subset="T", question="add one",
        declaration="def f(x):", entry_point="f",
        test="from solution import f\n\ndef test_f():\n    assert f(1) == 2\n", reference=RIGHT,
    )  # fmt: skip


class Scripted:
    """Answers tasks last to first, with the given programs: a generator whose order is not the tasks'."""

    def __init__(self, codes: Sequence[str | None]) -> None:
        self.codes = codes
        self.seeds: list[int] = []

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        for request in reversed(requests):
            self.seeds.append(request.seed)
            for index, code in enumerate(self.codes[: sampling.n]):
                yield Candidate(
                    task=request.task.id, round=round, index=index, prompt="p", completion=code or "",
                    code=code, policy=policy.name, seed=request.seed, n_tokens=1, truncated=False,
                )  # fmt: skip


class Counting:
    """A sandbox that counts the jobs it passes on to a real one."""

    def __init__(self, inner: Sandbox) -> None:
        self.inner = inner
        self.jobs = 0

    def run(self, jobs: Any) -> Any:
        def counted() -> Iterator[Any]:
            for job in jobs:
                self.jobs += 1
                yield job

        return self.inner.run(counted())


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(SandboxConfig(backend="process", workers=2)) as opened:
        yield opened


def roll_out(
    sandbox: Sandbox, codes: Sequence[str | None], known: Known | None = None
) -> tuple[Rollout, int, int, list[int]]:
    """The rollout of three tasks, jobs run, verdicts heard of, and the seeds that were asked for."""
    tasks = [task(name) for name in ("a", "b", "c")]
    expectations, _ = verify(tasks, sandbox, None, limits=LIMITS)
    generator, counting, heard = Scripted(codes), Counting(sandbox), []
    roller = Roller(
        generator=cast(Generator, generator),
        sandbox=cast(Sandbox, counting),
        expectations=expectations,
        limits=LIMITS,
        seed=1,
    )
    rollout = roller.roll_out(
        tasks,
        policy=Policy(name="base", adapter=None),
        sampling=Sampling(n=len(codes), temperature=1.0, top_p=1.0, max_tokens=9),
        round=4,
        phase="rollout",
        advance=heard.append,
        known=known,
    )
    return rollout, counting.jobs, sum(heard), generator.seeds


def test_verdicts_come_back_in_task_order_and_equal_programs_run_once(sandbox: Sandbox) -> None:
    rollout, jobs, heard, seeds = roll_out(sandbox, [RIGHT, WRONG, None, RIGHT])
    outcomes = [(v.task, v.index, v.outcome) for v in rollout.verdicts]
    assert outcomes == [
        (name, index, outcome)
        for name in ("a", "b", "c")
        for index, outcome in enumerate(["passed", "failed", "no_code", "passed"])
    ]
    assert all(v.round == 4 for v in rollout.verdicts)
    assert (jobs, heard) == (6, 12)
    assert len(set(seeds)) == 3
    plan = RoundPlan(round=4, new=("a",), review=(), audit=("b",), probe=("c",))
    assert [(r.task, r.round, r.n_passed, r.n_graded, r.kind) for r in rollout.reviews(plan)] == [
        ("a", 4, 2, 4, "practice"), ("b", 4, 2, 4, "audit"), ("c", 4, 2, 4, "probe")
    ]  # fmt: skip
    practised = rollout.of(plan.practised)
    assert [(c.task, v.task, c.index) for c, v in practised.graded] == [
        ("a", "a", index) for index in range(4)
    ]


def test_known_programs_are_not_graded_again_but_time_outs_are(sandbox: Sandbox) -> None:
    known: Known = {}
    first = roll_out(sandbox, [RIGHT, SLOW], known)
    again = roll_out(sandbox, [RIGHT, SLOW], known)
    assert (first[1], again[1]) == (6, 3)
    assert [v.outcome for v in again[0].verdicts] == ["passed", "timeout"] * 3
