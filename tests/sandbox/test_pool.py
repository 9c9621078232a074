import contextlib
import itertools
import math
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import docker, image, pool
from sandbox.pool import Pool, open_sandbox
from sandbox.process import ProcessWorker
from sandbox.runner import Job, Limits, Sandbox, SandboxConfig, SandboxError

REPO = Path(__file__).parents[2]


def numbered(n: int, sleep_s: float = 0.0) -> Job:
    return Job(solution=f"import time; time.sleep({sleep_s}); print({n})", stdin=("",))


def test_results_come_in_the_order_of_the_jobs(sandbox: Sandbox) -> None:
    jobs = [numbered(i, 0.3 if i % 5 == 0 else 0) for i in range(20)]
    assert [r.outputs[0].strip() for r in sandbox.run(jobs)] == [str(i) for i in range(20)]


def test_jobs_are_taken_as_they_are_needed(sandbox: Sandbox) -> None:
    taken = 0

    def endless() -> Iterator[Job]:
        nonlocal taken
        for taken in itertools.count(1):
            yield numbered(taken)

    results = sandbox.run(endless())
    first = list(itertools.islice(results, 10))
    results.close()  # type: ignore[attr-defined]
    assert [r.outputs[0].strip() for r in first] == [str(i) for i in range(1, 11)]
    assert taken <= 10 + 2 * 8 + 1


def test_an_exception_of_the_input_reaches_the_caller(sandbox: Sandbox) -> None:
    def broken() -> Iterator[Job]:
        yield numbered(1)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(sandbox.run(broken()))
    assert [r.outputs for r in sandbox.run([numbered(2)])] == [("2\n",)]


class Killable:
    """Process workers that are killed as soon as they get one of their first ``n`` jobs."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> ProcessWorker:
        worker = ProcessWorker()
        send = worker.link.send

        def send_and_kill(message: dict[str, object], timeout_s: float) -> None:
            send(message, timeout_s)
            if self.left:
                self.left -= 1
                os.killpg(worker._process.pid, signal.SIGKILL)

        worker.link.send = send_and_kill  # type: ignore[method-assign]
        return worker


def test_a_dead_worker_is_replaced_and_its_job_run_again() -> None:
    with Pool("process", 1, Killable(1)) as sandbox:
        results = list(sandbox.run([numbered(i) for i in range(4)]))
    assert [r.outputs[0].strip() for r in results] == ["0", "1", "2", "3"]


def test_a_job_that_no_worker_survives_is_a_sandbox_error() -> None:
    with (
        Pool("process", 1, Killable(2)) as sandbox,
        pytest.raises(SandboxError, match="two workers"),
    ):
        list(sandbox.run([numbered(0)]))


def test_a_daemon_that_comes_back_costs_time_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "RETRY_S", 0.01)
    killable, down = Killable(1), 3

    def start() -> ProcessWorker:
        nonlocal down
        if killable.left == 0 and down:
            down -= 1
            raise SandboxError("no Docker daemon answers")
        return killable()

    with Pool("process", 1, start) as sandbox:
        results = list(sandbox.run([numbered(i) for i in range(4)]))
    assert [r.outputs[0].strip() for r in results] == ["0", "1", "2", "3"]
    assert down == 0


@pytest.mark.parametrize("n", [1, 2])
def test_a_daemon_that_stays_away_ends_the_run(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Whatever else waits for a worker: nothing may wait for ever."""
    monkeypatch.setattr(pool, "RETRY_S", 0.01)
    monkeypatch.setattr(pool, "RESTART_S", 0.1)
    killable, started = Killable(n), itertools.count()

    def start() -> ProcessWorker:
        if next(started) >= n:
            raise SandboxError("no Docker daemon answers")
        return killable()

    with Pool("process", n, start) as sandbox:
        for _ in range(2):
            with pytest.raises(SandboxError, match="no Docker daemon"):
                list(sandbox.run([numbered(i) for i in range(12)]))


def test_whatever_goes_wrong_the_next_job_finds_a_worker_or_an_error() -> None:
    """Also what no worker should raise: a worker's place that stays empty is waited for for ever."""
    killable, fails = Killable(0), False

    def start() -> ProcessWorker:
        if fails:
            raise OSError("no more processes")
        worker = killable()
        if not workers:
            worker.link.send = broken  # type: ignore[method-assign]
        workers.append(worker)
        return worker

    def broken(*_: object) -> None:
        raise OverflowError("too large")

    workers: list[ProcessWorker] = []
    with Pool("process", 1, start) as sandbox:
        with pytest.raises(OverflowError):
            list(sandbox.run([numbered(0)]))
        assert [r.outputs for r in sandbox.run([numbered(1)])] == [("1\n",)]
        killable.left, fails = 1, True
        with pytest.raises(OSError, match="no more"):
            list(sandbox.run([numbered(2)]))
        with pytest.raises(SandboxError, match="no more processes"):
            list(sandbox.run([numbered(3)]))


def test_no_limit_of_time_is_no_error(sandbox: Sandbox) -> None:
    job = Job(solution="print(1)", stdin=("",), limits=Limits(timeout_s=math.inf))
    assert [r.outputs for r in sandbox.run([job] * 2)] == [("1\n",)] * 2


@pytest.mark.parametrize(
    ("where", "name", "error"),
    [
        (tempfile, "TemporaryFile", FileNotFoundError(2, "No usable temporary directory found")),
        (subprocess, "Popen", BlockingIOError(11, "Resource temporarily unavailable")),
    ],
)
def test_a_worker_that_cannot_start_is_a_sandbox_error(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: OSError
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(where, name, fails)
    with pytest.raises(SandboxError, match=f"no worker process: .*{error.strerror}"):
        open_sandbox(SandboxConfig(backend="process", workers=1)).__enter__()


class HangingDaemon:
    """Answers a ping, and nothing else before the time-out."""

    def __init__(self) -> None:
        self.images = self.api = self

    def get(self, *_: object, **__: object) -> None:
        from requests.exceptions import ReadTimeout

        raise ReadTimeout("Read timed out")

    containers = pull = get

    def close(self) -> None:
        pass


def test_a_daemon_that_hangs_is_a_sandbox_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "connect", HangingDaemon)
    for name in ("", "some/image:1"):
        config = SandboxConfig(backend="docker", image=name)
        assert "Read timed out" in docker.unavailable(config)
        with pytest.raises(SandboxError, match="Read timed out"):
            open_sandbox(config)
    with pytest.raises(SandboxError, match="Read timed out"):
        docker.remove_leftovers(HangingDaemon())


def test_a_ping_without_an_answer_is_a_sandbox_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import docker as sdk

    class Client(HangingDaemon):
        ping = HangingDaemon.get

    monkeypatch.setattr(sdk, "from_env", lambda **_: Client())
    assert "Read timed out" in docker.unavailable(SandboxConfig())


UNDER_A_LIMIT = """
    import resource, sys
    from sandbox.pool import open_sandbox
    from sandbox.runner import *
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
    script = Job(solution="print(1)", stdin=("",))
    exiting = Job(solution="import os; os._exit(70)", stdin=("",))
    test = Job(solution="f = abs", test="from solution import f\\ndef test_f(): assert f(-1) == 1")
    needs = Job(solution=test.solution, test=test.test.replace("_f()", "_f(tmp_path)"))
    jobs = {"script": script, "exiting": exiting, "test": test, "pytest": needs}
    with open_sandbox(SandboxConfig(backend="process", workers=1)) as sandbox:
        try:
            for result in sandbox.run([jobs[name] for name in sys.argv[2:]]):
                print(result.status, *(report.outcome for report in result.reports))
        except SandboxError as e:
            print("broken:", e)
"""


def under_a_limit(*arguments: str) -> list[str]:
    """What each of those jobs gives where nobody may have more descriptors than that."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(UNDER_A_LIMIT), *arguments],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_a_limit_of_the_caller_below_ours_is_kept() -> None:
    assert under_a_limit("256", "script", "exiting", "test", "pytest") == [
        "finished passed", "finished failed", "finished passed", "finished passed",
    ]  # fmt: skip


@pytest.mark.parametrize("job", ["script", "test", "pytest"])
def test_a_fork_that_cannot_be_set_up_is_no_verdict(job: str) -> None:
    """Below 200 descriptors it can't arrange those that the program gets."""
    (said,) = under_a_limit("128", job)
    assert said.startswith(
        "broken: process: two workers failed on one job: a fork can't be set up: OSError"
    )


@pytest.mark.usefixtures("docker_daemon")
def test_containers_killed_during_a_batch_cost_no_verdict() -> None:
    ours = {"label": f"{docker.OWNER_LABEL}={docker.owner()}"}
    with (
        contextlib.closing(docker.connect()) as client,
        open_sandbox(SandboxConfig(backend="docker", workers=2)) as sandbox,
    ):
        outputs = []
        for n, result in enumerate(sandbox.run(numbered(i, 0.02) for i in range(120))):
            outputs.append(result.outputs[0].strip())
            if n in (20, 60):
                for container in client.containers.list(filters=ours)[:1]:
                    container.kill()
    assert outputs == [str(i) for i in range(120)]


def _processes() -> dict[tuple[int, str], int]:
    """Every living process as (pid, start time), with its parent's pid."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                found[int(stat.parent.name), fields[19]] = int(fields[1])
    return found


def _descendants(pid: int) -> set[tuple[int, str]]:
    everyone = _processes()
    tree: set[tuple[int, str]] = set()
    parents = {pid}
    while new := {key for key, parent in everyone.items() if parent in parents} - tree:
        tree |= new
        parents = {number for number, _ in new}
    return tree


def test_closing_early_leaves_nothing() -> None:
    before = _descendants(os.getpid())
    with open_sandbox(SandboxConfig(backend="process", workers=2)) as sandbox:
        next(sandbox.run(numbered(i, 0 if i == 0 else 30) for i in range(10)))
        started = _descendants(os.getpid()) - before
        assert len(started) >= 4
        start = time.monotonic()
    assert time.monotonic() - start < 20
    assert not started & set(_processes())


def test_kill_9_of_the_owner_leaves_nothing(backend: str) -> None:
    """The workers notice that nobody reads their answers any more, even in the middle of a job."""
    program = textwrap.dedent(
        f"""
        import time
        from sandbox.pool import open_sandbox
        from sandbox.runner import *
        with open_sandbox(SandboxConfig(backend={backend!r}, workers=1)) as sandbox:
            slow = Job(solution="import time; time.sleep(600)", stdin=("",), limits=Limits(timeout_s=600))
            results = sandbox.run([Job(solution="", stdin=("",)), slow])
            next(results)
            print("started", flush=True)
            next(results)
        """
    )

    def containers() -> list[Any]:
        with contextlib.closing(docker.connect()) as client:
            found = client.containers.list(all=True, filters={"label": docker.OWNER_LABEL})
            return [c for c in found if f"/{owner.pid}/" in c.labels[docker.OWNER_LABEL]]

    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPO, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "started\n"
        time.sleep(1)
        started = _descendants(owner.pid)
        assert containers() if backend == "docker" else started
        owner.kill()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not started & set(_processes()) and not (backend == "docker" and containers()):
            return
        time.sleep(0.2)
    pytest.fail("something outlived its owner")


@pytest.mark.usefixtures("docker_daemon")
def test_only_containers_of_dead_owners_are_removed() -> None:
    with contextlib.closing(docker.connect()) as client:
        _check_removal(client)


def _check_removal(client: Any) -> None:
    name = image.ensure(client)
    dead = docker.owner().rsplit("/", 1)[0] + "/1"  # our pid, another start: a process long gone
    made = {
        label: client.containers.create(
            name, entrypoint="sleep", command="60", labels={docker.OWNER_LABEL: label}
        )
        for label in (dead, docker.owner(), "elsewhere/boot/1/1")
    }
    unlabelled = client.containers.create(name, entrypoint="sleep", command="60")
    try:
        docker.remove_leftovers(client)
        kept = {c.id for c in client.containers.list(all=True)}
        assert made[dead].id not in kept
        assert {made[docker.owner()].id, made["elsewhere/boot/1/1"].id, unlabelled.id} <= kept
    finally:
        for container in (*made.values(), unlabelled):
            if container.id in {c.id for c in client.containers.list(all=True)}:
                container.remove(force=True)


def test_auto_names_a_backend_and_its_gaps() -> None:
    with open_sandbox(SandboxConfig(backend="auto", workers=1)) as sandbox:
        assert sandbox.name in ("docker", "process")
        assert sandbox.not_covered
        assert sandbox.name in sandbox.identity
        assert "pytest" in sandbox.identity


def test_no_daemon_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(SandboxError, match="no Docker daemon answers"):
        open_sandbox(SandboxConfig(backend="docker"))
    with open_sandbox(SandboxConfig(backend="auto", workers=1)) as sandbox:
        assert sandbox.name == "process"


@pytest.mark.usefixtures("docker_daemon")
def test_a_plain_user_without_namespaces() -> None:
    """The process backend where a training job runs: a container, uid 1000, unshare refused."""
    program = textwrap.dedent(
        """
        from sandbox.pool import open_sandbox
        from sandbox.runner import *
        with open_sandbox(SandboxConfig(backend="process", workers=1)) as sandbox:
            jobs = [Job(solution="print(%d)" % i, stdin=("",)) for i in range(3)]
            daemon = "import os\\nif os.fork() == 0: os.setsid()\\nwhile True: pass"
            hang = Job(solution=daemon, stdin=("",), limits=Limits(timeout_s=1))
            test = Job(solution="f = abs", test="from solution import f\\ndef test_f(): assert f(-1) == 1")
            print([r.status for r in sandbox.run([*jobs, hang, jobs[0], test])])
            print(sandbox.not_covered)
        """
    )
    with contextlib.closing(docker.connect()) as client:
        output = client.containers.run(
            image.ensure(client),
            entrypoint=["python3", "-B", "-c"],
            command=[program],
            user="1000:1000",
            network_mode="none",
            working_dir="/repo",
            volumes={
                str(REPO / name): {"bind": f"/repo/{name}", "mode": "ro"}
                for name in ("sandbox", "srs")
            },
            stderr=True,
            remove=True,
        ).decode()
    assert "['finished', 'finished', 'finished', 'timeout', 'finished', 'finished']" in output
    assert "network is reachable" in output


def test_limits_are_the_configs() -> None:
    assert SandboxConfig(timeout_s=3, memory_mib=128).limits == Limits(timeout_s=3, memory_mib=128)
