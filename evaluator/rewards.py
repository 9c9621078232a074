"""`pytest_reward`: a reward function in the form that TRL's GRPOTrainer takes.

GRPOTrainer(model=…, reward_funcs=pytest_reward, train_dataset=KODCODE_ROWS_WITH_A_PROMPT_COLUMN)
"""

from __future__ import annotations

import atexit
import collections
import dataclasses
import functools
import hashlib
import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from evaluator.grade import examine, grade_batch
from evaluator.judge import Expectation
from sandbox.pool import open_sandbox
from sandbox.runner import Sandbox, SandboxConfig, SandboxError
from srs.prompts import extract_code
from srs.types import Candidate, Task, UserError, Verdict

Completion = str | Sequence[Mapping[str, Any]]
TESTS = ("test", "test_code")
COLUMNS = ("question_id", *TESTS, "solution", "style", "subset", "test_info")
log = logging.getLogger(__name__)


class RewardFunction(Protocol):
    """What GRPOTrainer calls; its ``__name__`` is the name under which the rewards are logged."""

    __name__: str

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]: ...


def make_reward(config: SandboxConfig, *, partial: bool = False) -> RewardFunction:
    """A reward function that grades in its own sandbox, opened at the first call in each process.

    It takes texts or chat messages as ``completions``, and the columns of KodCode rows by their names,
    one entry per completion: ``test`` (or ``test_code``), and where there are any ``question_id,
    solution, style, subset, test_info``; other columns are ignored. With a ``solution``, candidates are
    measured against what it does. The reward is 1 for a pass, else 0; with ``partial``, a program that
    was run and did not pass gets the share of its tests that did. None (TRL: not applicable) is for rows
    without a test, or whose tests say nothing about an answer, and said in the log once.

    The function raises SandboxError for a broken sandbox, UserError for a row that can't be graded.
    """
    grader = _Grader(config, partial=partial)

    def reward(
        prompts: Sequence[Any],  # noqa: ARG001 (TRL gives everything by name)
        completions: Sequence[Completion],
        **columns: Any,
    ) -> list[float | None]:
        return grader.rewards(completions, columns)

    reward.__name__ = reward.__qualname__ = "pytest_reward_partial" if partial else "pytest_reward"
    reward.__doc__ = make_reward.__doc__
    return reward


class _Grader:
    """One sandbox per process and what the references of the tasks seen so far do. One call at a time."""

    def __init__(self, config: SandboxConfig, *, partial: bool) -> None:
        self._config = config
        self._partial = partial
        self._warned: set[str] = set()
        self._expected: dict[str, Expectation | None] = {}
        self._mute: dict[str, str] = {}
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """A fork has its parent's workers and perhaps a lock held by a thread that it doesn't have."""
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._owner = os.getpid()

    def rewards(
        self, completions: Sequence[Completion], columns: Mapping[str, Any]
    ) -> list[float | None]:
        tasks = _tasks(columns, len(completions))
        candidates = [
            _candidate(task, index, _text(completion))
            for index, (task, completion) in enumerate(zip(tasks, completions, strict=True))
            if task is not None
        ]
        rewards: list[float | None] = [None] * len(tasks)
        with self._lock:
            for verdict in self._verdicts({t.id: t for t in tasks if t is not None}, candidates):
                if verdict.task not in self._mute:
                    rewards[verdict.index] = _reward(verdict, partial=self._partial)
            self._warn(tasks)
        return rewards

    def _warn(self, tasks: Sequence[Task | None]) -> None:
        found = collections.Counter(
            "have no test" if task is None else f"can't be judged ({self._mute[task.id]})"
            for task in tasks
            if task is None or task.id in self._mute
        )
        for why, n in found.items():
            if why not in self._warned:
                self._warned.add(why)
                log.warning(
                    "%d of %d rows %s: their reward is None (said once)", n, len(tasks), why
                )

    def _verdicts(self, tasks: Mapping[str, Task], candidates: list[Candidate]) -> list[Verdict]:
        if not candidates:
            return []
        try:
            sandbox = self._opened()
            self._learn([t for t in tasks.values() if t.id not in self._expected], sandbox)
            known = {i: e for i in tasks if (e := self._expected[i]) is not None}
            return list(
                grade_batch(
                    tasks.values(),
                    candidates,
                    sandbox,
                    expectations=known,
                    telling_nothing=self._mute,
                    limits=self._config.limits,
                )
            )
        except SandboxError:
            self._close()  # the next call may have more luck with fresh workers
            raise

    def _learn(self, tasks: Sequence[Task], sandbox: Sandbox) -> None:
        found, mute, failing = examine(tasks, sandbox, self._config.limits)
        self._mute |= mute
        for drop in failing:
            log.warning(
                "%s: its own reference fails (%s); judged by its test file", drop.task, drop.reason
            )
        self._expected.update({t.id: found.get(t.id) for t in tasks})

    def _opened(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = open_sandbox(_shared(self._config)).__enter__()
            atexit.register(self._close)
            if gaps := self._sandbox.not_covered:
                log.warning("sandbox: %s; not covered: %s", self._sandbox.identity, "; ".join(gaps))
        return self._sandbox

    def _close(self) -> None:
        if self._sandbox is not None and self._owner == os.getpid():
            sandbox, self._sandbox = self._sandbox, None
            atexit.unregister(self._close)
            sandbox.__exit__(None, None, None)


def _shared(config: SandboxConfig) -> SandboxConfig:
    """The config for one of this machine's training processes: together they take one worker per core."""
    if config.workers:
        return config
    n_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return dataclasses.replace(config, workers=max(1, len(os.sched_getaffinity(0)) // n_processes))


def _tasks(columns: Mapping[str, Any], n: int) -> list[Task | None]:
    """The task of each completion, None where the row has no test. Raises UserError."""
    if not any(name in columns for name in TESTS):
        raise UserError(f"the data set has no column {' or '.join(TESTS)}: keep it for the reward")
    used = {name: columns[name] for name in COLUMNS if name in columns}
    for name, values in used.items():
        if len(values) != n:
            raise UserError(f"column {name}: {len(values)} entries for {n} completions")
    rows = [{name: values[i] for name, values in used.items()} for i in range(n)]
    return [
        _task(json.dumps(row, sort_keys=True, default=dict))
        if any(row.get(name) for name in TESTS)
        else None
        for row in rows
    ]


@functools.lru_cache(maxsize=4096)
def _task(row: str) -> Task:
    """The task of a row given as JSON; its id tells rows with the same name and other tests apart."""
    from srs.kodcode import BadRow, to_task

    columns = json.loads(row)
    name = columns.get("question_id") or "a row without question_id"
    try:
        task = to_task({**columns, "question_id": name})
    except BadRow as e:
        raise UserError(f"{name}: cannot be graded: {e}") from e
    return dataclasses.replace(task, id=f"{name} ({hashlib.sha256(row.encode()).hexdigest()[:12]})")


def _candidate(task: Task, index: int, completion: str) -> Candidate:
    return Candidate(
        task=task.id,
        round=0,
        index=index,
        prompt="",
        completion=completion,
        code=extract_code(completion, task.entry_point),
        policy="trainer",
        seed=0,
        n_tokens=0,
        truncated=False,
    )


def _text(completion: Completion) -> str:
    """The answer: the text itself, or that of the last message which the assistant wrote."""
    if isinstance(completion, str):
        return completion
    said = [m["content"] for m in completion if m.get("role") == "assistant" and m.get("content")]
    if not said:
        return ""
    if isinstance(said[-1], str):
        return said[-1]
    return "".join(part.get("text", "") for part in said[-1])


def _reward(verdict: Verdict, *, partial: bool) -> float:
    """1 for a pass alone: a program whose tests all passed and which ended badly gets 0."""
    if verdict.passed:
        return 1.0
    if not partial or verdict.outcome in ("error", "tampered") or not verdict.n_collected:
        return 0.0
    share = verdict.n_passed / verdict.n_collected
    return share if share < 1 else 0.0


pytest_reward = make_reward(SandboxConfig())
