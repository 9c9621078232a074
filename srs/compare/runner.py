"""The runs of a comparison: each a `srs.train` process of its own, several at once, resumed if begun."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from srs import device
from srs.compare.arms import Arm
from srs.compare.board import Board
from srs.compare.protocol import Protocol, write_whole
from srs.compare.results import is_complete
from srs.config import Config
from srs.rundir import RunDir
from srs.types import UserError

MEMORY_PER_RUN_GIB: Final = 4
"""A run on a CPU with the tiny model: this process, the engine, the trainer, and the sandbox."""
STOP_S: Final = 30.0
POLL_S: Final = 0.5
LOG_LINES: Final = 8
PR_SET_PDEATHSIG: Final = 1
BASE_EVALUATION: Final = "rounds/0000/evaluation.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One (arm, seed). ``path`` is its run directory."""

    arm: str
    seed: int
    path: Path
    config: Config

    @property
    def cell(self) -> tuple[str, int]:
        return self.arm, self.seed

    @property
    def base_evaluation(self) -> Path:
        return self.path / BASE_EVALUATION

    @property
    def log(self) -> Path:
        return self.path / "logs" / "train.log"

    @property
    def command(self) -> list[str]:
        sandbox = self.config.sandbox
        return [
            *(sys.executable, "-m", "srs.train", "--resume", "--run-dir", str(self.path)),
            *("--set", f"sandbox.backend={sandbox.backend}"),
            *("--set", f"sandbox.workers={sandbox.workers}"),
        ]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run whose process failed, and the end of its log."""

    run: Run
    status: int
    log_tail: str

    def __str__(self) -> str:
        return (
            f"{self.run.arm}, seed {self.run.seed}: exit {self.status}; {self.run.log} ends:\n"
            f"{self.log_tail}\ncontinue this run alone with: {shlex.join(self.run.command)}"
        )


def planned(protocol: Protocol, config: Config, out: Path) -> list[Run]:
    """Every run of the protocol, seed by seed, so that paired results come early.

    ``config`` brings the keys that don't belong to the protocol. Raises UserError for a bad override.
    """
    return [
        Run(arm=arm.name, seed=seed, path=run_path(out, arm, seed), config=arm.config(config, seed=seed, rounds=protocol.rounds))
        for seed in protocol.seeds
        for arm in protocol.arms
    ]  # fmt: skip


def run_path(out: Path, arm: Arm, seed: int) -> Path:
    return out / "runs" / arm.name / f"seed-{seed}"


def default_jobs() -> int:
    """As many runs as cores and free memory carry; one where there is an accelerator to share."""
    found = device.detect()
    if found.kind != "cpu":
        return 1
    return max(1, min(found.threads, int(_free_memory_gib() // MEMORY_PER_RUN_GIB)))


def execute(runs: Sequence[Run], board: Board, *, jobs: int) -> list[Failure]:
    """Run what isn't complete, at most ``jobs`` at once; what failed doesn't stop the others.

    Each has its share of the cores (`srs.device.core_shares`). On the way out by an exception, Ctrl-C
    included, every process is asked to stop and waited for.
    """
    waiting = [run for run in runs if not is_complete(run.path)]
    working: dict[tuple[str, int], _Process] = {}
    failures: list[Failure] = []
    idle = device.core_shares(jobs)
    try:
        while waiting or working:
            measuring = {p.run.seed for p in working.values() if not p.run.base_evaluation.exists()}
            while idle and (run := next_run(waiting, measuring)):
                waiting.remove(run)
                prepare(run, runs)
                if not run.base_evaluation.exists():
                    measuring.add(run.seed)
                working[run.cell] = _Process(run, idle.pop(0))
                board.started(run.cell)
            time.sleep(POLL_S)
            for cell, process in list(working.items()):
                if (status := process.poll()) is None:
                    continue
                del working[cell]
                idle.append(process.cores)
                failed = status != 0 or not is_complete(process.run.path)
                if failed:
                    failures.append(
                        Failure(run=process.run, status=status, log_tail=process.tail())
                    )
                board.ended(cell, failed=failed)
            board.refresh()
    finally:
        stop(list(working.values()))
    return failures


def next_run(waiting: Sequence[Run], measuring: set[int]) -> Run | None:
    """The first run that need not wait for another one to measure its seed's base model."""
    return next((r for r in waiting if r.base_evaluation.exists() or r.seed not in measuring), None)


def prepare(run: Run, others: Sequence[Run]) -> None:
    """Make the run directory, and put in the base model's evaluation if a run of this seed has it.

    Round 0 depends on the model, the held-out tasks, the evaluation's settings and the seed, which all
    arms share: they differ in [scheduler] only. Raises UserError when the folder can't be made.
    """
    if not (run.path / "config.json").exists():
        shutil.rmtree(run.path, ignore_errors=True)  # without a config nothing has begun in it
        RunDir.create(run.path, run.config).close()
    if run.base_evaluation.exists():
        return
    for other in others:
        if other.seed == run.seed and other.base_evaluation.exists():
            run.base_evaluation.parent.mkdir(parents=True, exist_ok=True)
            write_whole(run.base_evaluation, other.base_evaluation.read_text(encoding="utf-8"))
            return


def stop(processes: Sequence[_Process]) -> None:
    """Interrupt the runs, which then close their own processes; end after `STOP_S` what is left."""
    for process in processes:
        process.interrupt()
    deadline = time.monotonic() + STOP_S
    for process in processes:
        process.end(max(deadline - time.monotonic(), 0.0))


class _Process:
    """`srs.train` on one run, in a session of its own: Ctrl-C reaches only the comparison."""

    def __init__(self, run: Run, cores: frozenset[int]) -> None:
        self.run = run
        self.cores = cores
        run.log.parent.mkdir(parents=True, exist_ok=True)
        here = str(Path(__file__).resolve().parents[2])
        known = os.environ.get("PYTHONPATH")
        with run.log.open("ab") as log:
            self._process = subprocess.Popen(
                run.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{known}" if known else here},
                start_new_session=True,
                preexec_fn=_child(cores),
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def tail(self) -> str:
        with self.run.log.open("rb") as log:
            lines = collections.deque(log, maxlen=LOG_LINES)
        return "".join(f"  {line.decode(errors='replace').rstrip()}\n" for line in lines).rstrip()

    def interrupt(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def end(self, patience_s: float) -> None:
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _child(cores: frozenset[int]) -> Callable[[], None] | None:
    """Bind a run to ``cores``, and have Linux interrupt it when this process dies, even by SIGKILL.

    A run that outlived the comparison would keep its lock.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    libc, parent = ctypes.CDLL(None), os.getpid()

    def begin() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        os.sched_setaffinity(0, cores)

    return begin


@contextlib.contextmanager
def held(out: Path) -> Iterator[None]:
    """Make the folder, and keep another comparison out of it.

    Raises UserError when it can't be made or one is at work there.
    """
    import fcntl

    try:
        out.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (out / ".lock").open("a", encoding="utf-8")
    except OSError as e:
        raise UserError(f"{out}: cannot be written: {e.strerror}") from e
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise UserError(f"{out}: another comparison is running here; wait for it") from e
        yield


def _free_memory_gib() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    fields: Mapping[str, str] = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) / 2**20
