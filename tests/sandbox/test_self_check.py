import ast
import dataclasses
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from evaluator.reference import verify
from sandbox import battery, self_check
from sandbox.battery.program import GUARD, LISTENER, SECRET, SOCKET, TOKEN_NAME, Program
from sandbox.pool import open_sandbox
from sandbox.runner import Job, Limits, Sandbox, SandboxConfig, SandboxError
from srs.types import ExecResult, Task

PROGRAMS = (*battery.ATTACKS, *battery.HONEST)
BY_NAME = {program.name: program for program in PROGRAMS}


class Changing:
    """A real sandbox whose jobs are first given to ``change``."""

    n_opened = 0

    def __init__(self, config: SandboxConfig, change: Callable[[Job], Job]) -> None:
        self.inner = open_sandbox(config)
        self.change = change

    def __enter__(self) -> Self:
        self.inner.__enter__()
        Changing.n_opened += 1
        self.name, self.identity = self.inner.name, self.inner.identity
        self.not_covered = self.inner.not_covered
        return self

    def __exit__(self, *exc: object) -> None:
        self.inner.__exit__(*exc)

    def run(self, jobs: Iterable[Job]) -> Iterator[ExecResult]:
        return self.inner.run(map(self.change, jobs))


@pytest.fixture
def run_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str]]]:
    """``main`` on some programs and a sandbox that changes its jobs: exit status and lines."""

    def run(*names: str, change: Callable[[Job], Job] = lambda job: job) -> tuple[int, list[str]]:
        chosen = [BY_NAME[name] for name in names]
        monkeypatch.setattr(battery, "ATTACKS", [p for p in chosen if p in battery.ATTACKS])
        monkeypatch.setattr(battery, "HONEST", [p for p in chosen if p in battery.HONEST])
        monkeypatch.setattr("sandbox.pool.open_sandbox", lambda config: Changing(config, change))
        status = self_check.main(["--sandbox", "process"])
        return status, capsys.readouterr().out.splitlines()

    return run


def findings(lines: list[str]) -> dict[str, str]:
    return {line.split()[1]: line.split()[0] for line in lines if line.split()[1] in BY_NAME}


def test_the_battery_is_well_formed() -> None:
    assert len(battery.ATTACKS) >= 45
    assert len(battery.HONEST) >= 20
    assert len(BY_NAME) == len(PROGRAMS)
    for program in PROGRAMS:
        assert program.why
        assert len(program.why) < 100, program.name
        assert "\n" not in program.why
        ast.parse(filled(program.solution))
        assert program.runs >= 1
        assert program.honest == (program in battery.HONEST)
        assert program.honest or program.solution != program.problem.reference


def filled(solution: str) -> str:
    for placeholder in (LISTENER, SOCKET, SECRET, GUARD):
        solution = solution.replace(placeholder, "1")
    assert not re.search(r"@[A-Z]+@", solution)
    return solution


def test_every_reference_passes() -> None:
    """Each problem can be solved, so that an attack fails for what it does."""
    problems = {(p.problem.test, p.problem.reference): p for p in PROGRAMS}
    tasks = [as_task(program) for program in problems.values()]
    with open_sandbox(SandboxConfig(backend="process", workers=2)) as sandbox:
        found, dropped = verify(tasks, sandbox, None, limits=Limits(timeout_s=20))
    assert not dropped
    assert len(found) == len(problems) > 30


def as_task(program: Program) -> Task:
    return Task(
        id=program.name, group="g", kind="stdio" if program.problem.stdio else "pytest", style="",
        subset="", question="", declaration=None, entry_point=None, test=program.problem.test,
        reference=program.problem.reference,
    )  # fmt: skip


def test_what_is_contained_and_honest_is_0(run_with: Any) -> None:
    status, lines = run_with("exit_at_import", "escape_network", "exit_script", "callbacks")
    assert status == 0
    assert findings(lines) == {
        "exit_at_import": "contained", "escape_network": "contained", "exit_script": "contained",
        "callbacks": "honest",
    }  # fmt: skip
    assert lines[-1] == "3 of 3 attacks contained, 1 of 1 honest programs passed"


def test_an_attack_that_passes_is_1(run_with: Any) -> None:
    attack = BY_NAME["exit_in_the_call"]

    def gullible(job: Job) -> Job:
        if job.solution != attack.solution:
            return job
        return dataclasses.replace(job, solution=attack.problem.reference)

    status, lines = run_with("exit_at_import", attack.name, "callbacks", change=gullible)
    assert status == 1
    assert findings(lines) == {
        "exit_at_import": "contained", attack.name: "PASSED", "callbacks": "honest",
    }  # fmt: skip
    assert lines[-1].endswith("1 PASSED")


def test_a_second_run_that_passes_is_1(run_with: Any) -> None:
    attack, ran = BY_NAME["leave_daemon"], 0

    def forgetful(job: Job) -> Job:
        nonlocal ran
        ran += job.solution == attack.solution
        if job.solution != attack.solution or ran < 2:
            return job
        return dataclasses.replace(job, solution=attack.problem.reference)

    status, lines = run_with(attack.name, change=forgetful)
    assert (status, findings(lines)) == (1, {attack.name: "PASSED"})


def test_an_honest_program_that_fails_is_1(run_with: Any) -> None:
    honest = BY_NAME["callbacks"]

    def strict(job: Job) -> Job:
        return dataclasses.replace(job, solution="") if job.solution == honest.solution else job

    status, lines = run_with("exit_at_import", honest.name, "iterators", change=strict)
    assert status == 1
    assert findings(lines)[honest.name] == "WRONG"
    assert findings(lines)["iterators"] == "honest"


def test_what_reaches_the_outside_escapes(run_with: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hole alone is noticed, though the answers are wrong; the next program starts afresh."""
    outside: list[self_check.Outside] = []
    enter = self_check.Outside.__enter__

    def entered(self: self_check.Outside) -> self_check.Outside:
        outside.append(self)
        return enter(self)

    def kill() -> None:
        outside[-1].guard.kill()
        outside[-1].guard.wait()

    holes: list[Callable[[], object]] = [
        lambda: socket.create_connection(outside[-1].tcp.getsockname()).close(),
        lambda: outside[-1].secret.write_text("changed"),
        kill,
    ]

    def leaky(job: Job) -> Job:
        if "_exit(0)" in job.solution and holes:
            holes.pop(0)()
        return job

    monkeypatch.setattr(self_check.Outside, "__enter__", entered)
    names = ("exit_at_import", "exit_in_the_call", "exit_from_a_signal", "exit_script")
    status, lines = run_with(*names, change=leaky)
    assert status == 1
    assert not holes
    assert list(findings(lines).values()) == ["ESCAPED"] * 3 + ["contained"]
    for line, words in zip(lines[2:], ("TCP listener", "file", "process"), strict=False):
        assert words in line


def test_an_attack_that_breaks_the_sandbox_is_1_and_the_rest_goes_on(run_with: Any) -> None:
    attack = BY_NAME["exit_in_the_call"]
    poisoned = False

    def fragile(job: Job) -> Job:
        if job.solution == attack.solution:
            raise SandboxError("two workers failed on one job")
        return job

    status, lines = run_with(attack.name, "exit_at_import", "callbacks", change=fragile)
    assert status == 1
    assert "two workers failed" in lines[2]
    expected = {attack.name: "BROKE", "exit_at_import": "contained", "callbacks": "honest"}
    assert findings(lines) == expected
    before = Changing.n_opened

    def poisonous(job: Job) -> Job:
        nonlocal poisoned
        if poisoned and job.solution == attack.problem.reference:
            poisoned = False
            return dataclasses.replace(job, solution="")
        poisoned = poisoned or job.solution == attack.solution
        return job

    status, lines = run_with(attack.name, "exit_at_import", "callbacks", change=poisonous)
    assert (status, findings(lines)) == (1, expected)
    assert Changing.n_opened == before + 2


def test_a_broken_sandbox_is_3(
    run_with: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Job) -> Job:
        raise SandboxError("disk full")

    assert run_with("callbacks", change=broken)[0] == 3

    def refused(config: SandboxConfig) -> Sandbox:
        raise SandboxError(f"no runtime {config.runtime}")

    monkeypatch.setattr("sandbox.pool.open_sandbox", refused)
    assert self_check.main(["--runtime", "runsc"]) == 3
    assert "no runtime runsc" in capsys.readouterr().err


def test_nothing_is_left_outside() -> None:
    with self_check.Outside() as outside:
        folder, guard = outside.secret.parent, outside.guard
        assert outside.reached() == ""
        assert "secret" in outside.fill(f"open('{SECRET}')")
    assert not folder.exists()
    assert guard.returncode == 0
    assert TOKEN_NAME not in os.environ
    assert not Path("/proc", str(guard.pid)).exists()


def test_every_attack_is_contained_and_every_honest_program_passes(backend: str) -> None:
    assert self_check.main(["--sandbox", backend]) == 0
