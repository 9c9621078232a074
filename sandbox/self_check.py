"""Runs our own attacks and honest oddities on this machine's sandbox: ``python -m sandbox.self_check``.

Each attack is graded and, on the same worker, an honest program after it. ``contained``: it did not
pass, reached nothing outside, and the honest one passed. Exit 0 only when every attack is contained and
every honest program passes, 1 otherwise, 3 when the sandbox can't be started or doesn't run at all.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from sandbox import battery
from sandbox.battery.program import GUARD, LISTENER, MARKER, SECRET, SOCKET, TOKEN_NAME, Program
from sandbox.runner import Sandbox, SandboxConfig, SandboxError
from srs.types import Candidate, Task, Verdict

Finding = Literal["contained", "PASSED", "ESCAPED", "BROKE", "honest", "WRONG"]
BAD: tuple[Finding, ...] = ("PASSED", "ESCAPED", "BROKE", "WRONG")
TIMEOUT_S = 3.0
OVERDUE_S = 30.0
"""A verdict that takes longer than this beyond the time limit has been held up."""
GUARDING = f"import sys; sys.stdin.read()  # {MARKER}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What was found about one program; ``detail`` says what went wrong or how an attack ended."""

    program: Program
    finding: Finding
    detail: str

    def __str__(self) -> str:
        text = f"{self.finding:<9}  {self.program.name:<27}  {self.program.why}"
        return f"{text} ({self.detail})" if self.detail else text


class Outside:
    """What attacks try to reach: a TCP port, an abstract socket, a file, a variable, a process.

    Entered before the sandbox is opened, so that what workers inherit is there to be found.
    """

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.name = f"srs-self-check-{secrets.token_hex(8)}"
            self.tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            self.unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            self.unix.bind(f"\0{self.name}")
            self.unix.listen()
            for listener in (self.tcp, self.unix):
                listener.setblocking(False)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="srs-self-check-"))
            self.secret = Path(folder, "secret")
            self.secret.write_text("secret", encoding="ascii")
            self.secret.chmod(0o600)
            os.environ[TOKEN_NAME] = secrets.token_hex(8)
            stack.callback(os.environ.pop, TOKEN_NAME)
            self.guard = _guard()
            stack.callback(lambda: _end(self.guard))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def fill(self, solution: str) -> str:
        """The solution with the places to reach written in."""
        port = str(self.tcp.getsockname()[1])
        known = {LISTENER: port, SOCKET: self.name, SECRET: str(self.secret), GUARD: str(self.guard.pid)}  # fmt: skip
        for placeholder, value in known.items():
            solution = solution.replace(placeholder, value)
        return solution

    def reached(self) -> str:
        """What a program has reached since the last call, in words; empty for nothing."""
        found = []
        for listener, what in ((self.tcp, "the TCP listener"), (self.unix, "the abstract socket")):
            with contextlib.suppress(BlockingIOError):
                listener.accept()[0].close()
                found.append(f"{what} was reached")
        if self.guard.poll() is not None:
            found.append("a process of the check was killed")
            _end(self.guard)
            self.guard = _guard()
        if not self.secret.exists() or self.secret.read_text(encoding="utf-8") != "secret":
            found.append("a file of the check was changed")
            self.secret.write_text("secret", encoding="ascii")
        return ", ".join(found)


def _guard() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", GUARDING], stdin=subprocess.PIPE)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    process.stdin.close()  # which ends it
    process.wait()


def check(config: SandboxConfig) -> Iterator[Item]:
    """One item per program of the battery, attacks first. Raises SandboxError for a broken sandbox.

    An attack that breaks the sandbox is a finding, and a new sandbox is opened for the next program. The
    error is for one that can't be opened, or that breaks on an honest program.
    """
    from sandbox.pool import open_sandbox

    todo = collections.deque([*battery.ATTACKS, *battery.HONEST])
    begun = False
    with Outside() as outside:
        while todo:
            with open_sandbox(config) as sandbox:
                if not begun:
                    print("sandbox:", sandbox.identity, flush=True)
                    print("not covered:", "; ".join(sandbox.not_covered) or "-", flush=True)
                begun = True
                yield from _until_broken(todo, sandbox, config, outside)


def _until_broken(
    todo: collections.deque[Program], sandbox: Sandbox, config: SandboxConfig, outside: Outside
) -> Iterator[Item]:
    """Items for the programs taken from ``todo``; ends early with one that did not leave the sandbox whole."""
    while todo:
        program = todo.popleft()
        if program.honest:
            yield _honest(program, sandbox, config)
            continue
        try:
            item = _attack(program, sandbox, config, outside)
        except SandboxError as e:
            item = Item(program=program, finding="BROKE", detail=str(e))
        yield item
        if item.finding == "BROKE":
            return


def _attack(program: Program, sandbox: Sandbox, config: SandboxConfig, outside: Outside) -> Item:
    solution = outside.fill(program.solution)
    codes = [solution] * program.runs + [program.problem.reference]
    start = time.monotonic()
    *attacks, after = _grade(program, codes, sandbox, config)
    took_s = time.monotonic() - start
    reached = outside.reached()
    finding: Finding
    late_s = len(codes) * config.timeout_s + OVERDUE_S
    if any(verdict.passed for verdict in attacks):
        finding, detail = "PASSED", ""
    elif reached:
        finding, detail = "ESCAPED", reached
    elif not after.passed:
        finding, detail = "BROKE", f"the honest program after it: {after.outcome} {after.detail}"
    elif took_s > late_s:
        finding, detail = "BROKE", f"held up the sandbox for {took_s:.0f} s"
    else:
        finding, detail = "contained", attacks[-1].outcome
    return Item(program=program, finding=finding, detail=detail)


def _honest(program: Program, sandbox: Sandbox, config: SandboxConfig) -> Item:
    (verdict,) = _grade(program, [program.solution], sandbox, config)
    if verdict.passed:
        return Item(program=program, finding="honest", detail="")
    return Item(program=program, finding="WRONG", detail=f"{verdict.outcome}: {verdict.detail}")


def _grade(
    program: Program, codes: Sequence[str], sandbox: Sandbox, config: SandboxConfig
) -> list[Verdict]:
    """Verdicts on each code, in order. A reference that fails is found by being the last of the codes."""
    from evaluator.grade import grade_batch
    from evaluator.reference import verify

    task = Task(
        id=program.name,
        group=program.name,
        kind="stdio" if program.problem.stdio else "pytest",
        style="online_judge" if program.problem.stdio else "instruct",
        subset="battery",
        question="",
        declaration=None,
        entry_point=None,
        test=program.problem.test,
        reference=program.problem.reference,
    )
    candidates = [
        Candidate(
            task=task.id,
            round=0,
            index=index,
            prompt="",
            completion=code,
            code=code,
            policy="battery",
            seed=0,
            n_tokens=0,
            truncated=False,
        )
        for index, code in enumerate(codes)
    ]
    expected, _ = verify([task], sandbox, None, limits=config.limits)
    return list(
        grade_batch([task], candidates, sandbox, expectations=expected, limits=config.limits)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.self_check", description=__doc__)
    parser.add_argument("--sandbox", choices=("auto", "docker", "process"), default="auto")
    parser.add_argument("--runtime", default="", help="Docker runtime, such as runsc")
    args = parser.parse_args(argv)
    # One worker: the honest program after an attack meets whatever the attack left.
    config = SandboxConfig(
        backend=args.sandbox, runtime=args.runtime, workers=1, timeout_s=TIMEOUT_S
    )
    counts: collections.Counter[Finding] = collections.Counter()
    try:
        for item in check(config):
            counts[item.finding] += 1
            print(item, flush=True)
    except SandboxError as e:
        print(f"error: the sandbox is broken: {e}", file=sys.stderr)
        return 3
    attacks, honest = len(battery.ATTACKS), len(battery.HONEST)
    bad = [f"{counts[finding]} {finding}" for finding in BAD if counts[finding]]
    print(
        f"{counts['contained']} of {attacks} attacks contained, "
        f"{counts['honest']} of {honest} honest programs passed"
        + (f": {', '.join(bad)}" if bad else "")
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
