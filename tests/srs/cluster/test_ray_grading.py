"""Grading on several hosts: the same verdicts, in order, whatever happens to a host."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cluster_parts import Doomed, Fragile, Nodes, Other, without_time

from evaluator.grade import grade_batch
from sandbox.pool import LOOKAHEAD, open_sandbox
from sandbox.runner import Job, SandboxConfig, SandboxError
from srs.cluster import station
from srs.cluster.grading import TRIES, RaySandbox
from srs.cluster.hosts import Host, hosts
from srs.types import Candidate, Task

CONFIG = SandboxConfig(backend="process", workers=1, timeout_s=20)
TASK = Task(
    id="add", group="add", kind="pytest", style="instruct", subset="T", question="add one",
    declaration="def f(x):", entry_point="f",
    test="from solution import f\n\ndef test_f():\n    assert f(1) == 2\n\ndef test_g():\n    assert f(-1) == 0\n",
    reference="def f(x):\n    return x + 1\n",
)  # fmt: skip
PROGRAMS = (
    "def f(x):\n    return x + 1\n",
    "def f(x):\n    return x\n",
    "def f(x):\n    return 2 * x\n",
    "import nothing_of_that_name\n",
    None,
    "import os\nos._exit(0)\n",
    "def f(x):\n    return [0] * 10**10\n",
)


def candidates(count: int, programs: Sequence[str | None] = PROGRAMS) -> list[Candidate]:
    chosen = itertools.islice(itertools.cycle(programs), count)
    return [
        Candidate(
            task="add", round=1, index=index, prompt="p", completion="", code=code, policy="base",
            seed=0, n_tokens=1, truncated=False,
        )
        for index, code in enumerate(chosen)
    ]  # fmt: skip


def numbered(n: int, sleep_s: float = 0.0) -> Job:
    return Job(
        solution=f"import time; time.sleep({sleep_s}); print({n})",
        stdin=("",),
        limits=CONFIG.limits,
    )


def numbers(results: Any) -> list[int]:
    return [int(result.outputs[0]) for result in results]


@pytest.fixture(scope="module")
def steady(_nodes: Nodes) -> Iterator[RaySandbox]:
    """For tests that do a host no harm."""
    _nodes.fill()
    with RaySandbox(CONFIG, hosts()) as opened:
        yield opened


@pytest.fixture
def sandbox(nodes: Nodes) -> Iterator[RaySandbox]:
    assert len(nodes.living) == 3
    with RaySandbox(CONFIG, hosts()) as opened:
        yield opened


def test_verdicts_are_those_of_one_machine(steady: RaySandbox) -> None:
    wanted = candidates(2 * len(PROGRAMS))
    with open_sandbox(CONFIG) as local:
        here = list(grade_batch([TASK], wanted, local, limits=CONFIG.limits))
        assert (steady.identity, steady.name) == (local.identity, local.name)
        assert steady.not_covered == local.not_covered
    there = list(grade_batch([TASK], wanted, steady, limits=CONFIG.limits))
    assert [without_time(v) for v in there] == [without_time(v) for v in here]
    assert {v.outcome for v in here} >= {"passed", "failed", "error", "no_code", "memory"}


def test_jobs_are_taken_as_they_are_needed_and_results_come_in_order(steady: RaySandbox) -> None:
    taken = 0

    def endless() -> Iterator[Job]:
        nonlocal taken
        for taken in itertools.count(1):
            yield numbered(taken, 0.1 if taken % 4 == 0 else 0)

    results = steady.run(endless())
    assert numbers(itertools.islice(results, 12)) == list(range(1, 13))
    results.close()  # type: ignore[attr-defined]
    assert taken <= 12 + 3 * LOOKAHEAD + 1
    assert numbers(steady.run([numbered(7)])) == [7]


def test_an_error_of_the_input_reaches_the_caller(steady: RaySandbox) -> None:
    def broken() -> Iterator[Job]:
        yield numbered(1)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(steady.run(broken()))


def test_a_host_lost_in_mid_round_costs_no_verdict(
    nodes: Nodes, sandbox: RaySandbox, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = candidates(150, [p for p in PROGRAMS if p and "10**10" not in p])
    victim = nodes.living[0]
    verdicts = []
    with caplog.at_level(logging.INFO):
        for verdict in grade_batch([TASK], wanted, sandbox, limits=CONFIG.limits):
            verdicts.append(verdict)
            if len(verdicts) == 20:
                nodes.kill(victim)
    assert [v.index for v in verdicts] == list(range(150))
    per_program = {c.code: set[str]() for c in wanted}
    for candidate, verdict in zip(wanted, verdicts, strict=True):
        per_program[candidate.code].add(str({**without_time(verdict), "index": 0}))
    assert all(len(seen) == 1 for seen in per_program.values()), "a verdict depends on the host"
    assert f"/{victim[:6]} failed, its jobs are done elsewhere" in caplog.text
    assert nodes.living[0] != victim


def test_a_killed_worker_process_is_started_anew(
    sandbox: RaySandbox, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    results = sandbox.run(numbered(n, 0.1) for n in range(40))
    first = list(itertools.islice(results, 4))
    with caplog.at_level(logging.INFO):
        for each in sandbox._stations[:2]:
            ray.kill(each.actor)
        assert numbers([*first, *results]) == list(range(40))
        deadline = time.monotonic() + 60
        while caplog.text.count("grades again") < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
    assert caplog.text.count("grades again") == 2


@pytest.mark.usefixtures("nodes")
def test_nobody_waits_for_a_host_that_starts_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The host breaks on the first job; its other lane is idle then, and gets some of the later ones."""

    def jobs() -> Iterator[Job]:
        yield numbered(0)
        deadline = time.monotonic() + 60
        while "failed, its jobs are done elsewhere" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield from (numbered(n) for n in range(1, 20))

    monkeypatch.setattr(station, "GradingHost", Fragile)
    with caplog.at_level(logging.INFO), RaySandbox(CONFIG, hosts()[:2]) as sandbox:
        assert numbers(sandbox.run(jobs())) == list(range(20))
        assert "grades again" not in caplog.text


def test_without_hosts_the_run_stops_and_nothing_is_made_up(
    nodes: Nodes, sandbox: RaySandbox
) -> None:
    results = sandbox.run(numbered(n, 0.2) for n in range(60))
    seen = list(itertools.islice(results, 3))
    for node in nodes.living:
        nodes.kill(node)
    with pytest.raises(SandboxError, match="no host of the cluster is left to grade on"):
        seen.extend(results)
    assert numbers(seen) == list(range(len(seen)))
    with pytest.raises(SandboxError, match="no host of the cluster is left"):
        list(sandbox.run([numbered(1)]))


@pytest.mark.usefixtures("nodes")
def test_a_job_that_breaks_every_sandbox_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station, "GradingHost", Doomed)
    with RaySandbox(CONFIG, hosts()[:2]) as sandbox:
        results = sandbox.run(numbered(n) for n in range(8))
        assert numbers(itertools.islice(results, 3)) == [0, 1, 2]
        with pytest.raises(SandboxError, match=f"{TRIES} hosts failed on one job.*disk is full"):
            next(results)


@pytest.mark.usefixtures("nodes")
def test_a_host_can_be_in_replacement_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station, "GradingHost", Doomed)
    starts, replacing, go_on = station.start, threading.Event(), threading.Event()

    def start(*args: Any, **options: Any) -> Any:
        replacing.set()
        assert go_on.wait(60)
        return starts(*args, **options)

    with ThreadPoolExecutor() as threads, RaySandbox(CONFIG, hosts()[:1]) as sandbox:
        monkeypatch.setattr(station, "start", start)
        result = threads.submit(lambda: list(sandbox.run([numbered(3)])))
        assert replacing.wait(60)
        threading.Timer(1.0, go_on.set).start()
    with pytest.raises(SandboxError, match="the sandbox was closed"):
        result.result(60)
    assert [each.actor for each in sandbox._stations] == [None]


@pytest.mark.usefixtures("nodes")
def test_hosts_with_other_sandboxes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station, "GradingHost", Other)
    with pytest.raises(SandboxError, match=r"the hosts' sandboxes differ: .*set sandbox\.backend"):
        RaySandbox(CONFIG, hosts()[:2]).__enter__()


@pytest.mark.usefixtures("nodes")
def test_a_host_without_a_sandbox_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    gone = Host(id="ab" * 28, name="gone/ababab", cores=1)
    with RaySandbox(CONFIG, [gone, hosts()[0]]) as sandbox:
        assert numbers(sandbox.run(numbered(n) for n in range(5))) == list(range(5))
    assert "host gone/ababab does no grading" in caplog.text
    with pytest.raises(SandboxError, match="no host of the cluster can grade"):
        RaySandbox(CONFIG, [gone]).__enter__()
