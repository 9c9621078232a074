"""A worker: runs one job after another, each in forks that become other users, and tells what it saw.

It speaks frames on stdin and stdout: one "ready" frame, then one answer per job. It ends when its stdin
closes, and takes everything it started along. What a job's forks report goes over pipes of their own; a
verdict never rests on an exit code, and is never delayed until a pipe closes: a run ends at its last
report, at the deadline, or when its process is gone.

*Split*, the usual way: the tests run in a fork of this process and see a module ``solution`` whose functions
run in a fork of the zygote, under another user, where no test ever was (`sandbox.inside.link`).
*Together*, for tests that need the solution in their own process: then what they report is in the
candidate's hands, and only altered copies of the tests, which it must fail, tell whether it lied.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import json
import os
import random
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from sandbox.inside import (
    answers,
    confine,
    crowd,
    files,
    fork,
    frames,
    plain_run,
    programs,
    reap,
    runner,
    scientific,
    tests,
    words,
)
from sandbox.inside.runs import ALTERED_RUNS, ORIGINAL_RUNS
from sandbox.inside.watch import Watch
from sandbox.inside.zygote import Zygote

DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]
READABLE = ["/bin", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/sbin", "/sys", "/usr"]


class Worker:
    """``options``: see `sandbox.inside.main`."""

    def __init__(self, options: dict[str, Any], stdin: int, stdout: int) -> None:
        self.stdin, self.stdout, self.options = stdin, stdout, options
        self.lean = not options["preload"]
        self.scientific: scientific.Scientific | None = None
        self.candidate_uid: int | None = options["candidate_uid"]
        self.tests_uid: int | None = options["tests_uid"]
        root = options["root"]
        self.candidate_home = _make(os.path.join(root, "candidate"), 0o777, None)
        self.tests_home = _make(os.path.join(root, "tests"), 0o770, self.tests_uid)
        self.scratch = [self.candidate_home, self.tests_home, *options["scratch"]]
        readable = [*READABLE, sys.prefix, sys.base_prefix, *options["readable"]]
        writable = [*options["scratch"], *DEVICES]

        def candidate(home: str) -> fork.Identity:
            return fork.Identity(
                uid=self.candidate_uid,
                home=home,
                landlock=confine.landlock(readable, [*writable, home]),
                dumpable=True,
                session=False,
                nproc=options["nproc"],
            )

        self.tests_identity = fork.Identity(uid=self.tests_uid, home=self.tests_home)
        make_candidates = functools.partial(
            programs.Candidates, candidate(self.candidate_home), options["preload"]
        )
        make_apart = functools.partial(
            programs.ApartSessions, self.tests_identity, options["preload"]
        )
        make_together = functools.partial(
            programs.TogetherSessions, candidate(self.tests_home), options["preload"]
        )
        close = (stdin, stdout)
        self.candidates = Zygote(make_candidates, self.candidate_uid, close)
        self.apart = Zygote(make_apart, self.candidate_uid, close)
        self.together = Zygote(make_together, self.candidate_uid, close)
        self.kept = {self.candidates.pid, self.apart.pid, self.together.pid}
        self.runners: dict[str, runner.Runner] = {}
        self.files: dict[str, tests.TestFile] = {}
        self.oom_kills = _oom_kills()
        os.environ.update(HOME=self.tests_home, TMPDIR=self.tests_home)
        self.candidates.wait()
        self.together.wait()
        self.identity = self.apart.wait()
        self.clean()
        gc.collect()
        gc.freeze()
        gc.disable()  # each fork turns it on again for itself

    def serve(self) -> None:
        while True:
            job = frames.receive(self.stdin)
            if self.lean and scientific.wanted(job):
                if self.scientific is None:
                    self.scientific = scientific.Scientific(self.options, self.stdin)
                    self.kept.add(self.scientific.pid)
                answer = self.scientific.answer(job)
            else:
                answer = self.script(job) if job["test"] is None else self.run_tests(job)
            frames.send(self.stdout, answer)

    def run_tests(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run one test job. The answer has ExecResult's fields, as JSON."""
        answer = self._with_canaries(job)
        refused = answer.pop("refused", False)
        wanted = job["either"] == "failed" or (job["either"] == "refused" and refused)
        if (
            wanted
            and job["canaries"]
            and not answers.passed(answer)
            and answer["status"] in ("finished", "error", "died")
        ):
            return self._with_canaries({**job, "together": True})
        return answer

    def _with_canaries(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run the tests and, when it passed, what a pass must not rest on.

        Where the reference leaves its arguments alone: what the solution did to its own. Otherwise
        ``values.clear(); return 0`` passes ``assert total(values) == sum(values)``. Then the
        canaries: all must fail, and the tests pass again.

        Each is run in fresh forks and in random order, so that a program that passes by chance, or
        tries to tell the copies from the tests, is not likely to be right about all of them.
        """
        writes, job = job["writes"], {**job, "writes": True}
        answer = self._tests_once(job)
        if not answers.passed(answer):
            return answer
        if answer.get("wrote") and not writes:
            again = self._tests_once({**job, "writes": False})
            answer["wall_s"] += again["wall_s"]
            if again["status"] == "finished" and not answers.passed(again):
                return {**answer, "passed_by_writing": True}
            if not answers.passed(again):  # it ran out of time or memory
                return {**again, "wall_s": answer["wall_s"]}
        if not job["canaries"]:
            return answer
        altered = itertools.cycle(range(len(job["canaries"])))
        runs: list[int | None] = [
            *itertools.islice(altered, max(ALTERED_RUNS, len(job["canaries"])))
        ]
        runs += [None] * ORIGINAL_RUNS
        random.SystemRandom().shuffle(runs)
        for number in runs:
            source, test = (job["test"], "") if number is None else job["canaries"][number]
            again = self._tests_once({**job, "test": source})
            wall_s = answer["wall_s"] + again["wall_s"]
            if number is not None and answers.passed(again, test):
                return {**answer, "passed_canary": number, "wall_s": wall_s}
            if number is None and not answers.passed(again):
                return {**again, "wall_s": wall_s}
            answer["wall_s"] = wall_s
        return answer

    def _tests_once(self, job: dict[str, Any]) -> dict[str, Any]:
        start = time.monotonic()
        output, records = os.pipe(), os.pipe()
        fds = [output[1], records[1]]
        if not job["together"]:
            ours, theirs = socket.socketpair()
            self.candidates.start({"kind": "serve", **_limits(job)}, [theirs.fileno(), output[1]])
            theirs.close()
            fds.append(ours.detach())
        file = self._test_file(job["test"])
        own: fork.Child | None = None
        kind: str | None = None
        if job["together"] or ((file.plain or not file.pure) and file.code is None):
            pid = self._start_session(job, fds)
        elif file.pure:
            kind = "plain" if file.plain else "pytest"
            pid = self._give_to_runner(kind, job, fds)
        else:
            own = self._fork_plain(file, job, fds)
            pid = own.pid
        for fd in fds:
            os.close(fd)
        watch = Watch(pid, records[0], (output[0],), self.stdin, self._look)
        try:
            ended = watch.until(start + job["timeout_s"], job["output_kib"] << 10)
        finally:
            watch.close()
        answer = answers.of_records(watch.parsed(), ended, together=job["together"])
        went_well = answer["status"] in ("finished", "error")
        statuses = self._end(own, runner=None if went_well else kind)
        for_memory = self._killed_for_memory(statuses)
        if answer["status"] == "died":
            if for_memory:
                answer["status"] = "memory"
            elif answer["detail"] == tests.STOPPED and not job["together"]:
                answer["detail"] += f": {_ending(statuses[0])}"
            answer["detail"] = answer["detail"] or _ending(statuses[-1])
        if answer.pop("memory") and answer["status"] in ("finished", "died"):
            answer["status"] = "memory"
        answer["wall_s"] = time.monotonic() - start
        answer["together"] = job["together"]
        return answer

    def _give_to_runner(self, kind: str, job: dict[str, Any], fds: list[int]) -> int:
        limits = _limits(job)
        kept = self.runners.get(kind)
        if kept is not None and (kept.limits != limits or kept.n_jobs >= runner.JOBS_MAX):
            self._end_runner(kind)
        if kind not in self.runners:
            self.runners[kind] = (
                runner.plain(self.tests_identity, limits)
                if kind == "plain"
                else runner.pytest(self.apart, limits)
            )
            self.kept.add(self.runners[kind].pid)
        self.runners[kind].start(job, fds)
        return self.runners[kind].pid

    def _end_runner(self, kind: str) -> int:
        ended = self.runners.pop(kind)
        self.kept.discard(ended.pid)
        return ended.kill()

    def _fork_plain(self, file: tests.TestFile, job: dict[str, Any], fds: list[int]) -> fork.Child:
        """The tests, in a fork of this process, which has no pytest to copy."""

        def run(birth: fork.Birth) -> NoReturn:
            null = os.open(os.devnull, os.O_RDONLY)
            named = {0: null, 1: fds[0], 2: fds[0], 3: fds[1], 4: fds[2]}
            fork.prepare()
            fork.become(self.tests_identity, job, birth, named)
            path = os.path.join(self.tests_home, "test_solution.py")
            tests.run_apart(job, lambda record: plain_run.run(file, path, record))
            os._exit(0)

        return fork.Child(run)

    def _start_session(self, job: dict[str, Any], fds: list[int]) -> int:
        os.chmod(self.tests_home, 0o777 if job["together"] else 0o770)
        wanted = ("test", "solution", "together", "allowed", "bound", "writes")
        source = _memory_file(json.dumps({name: job[name] for name in wanted}))
        try:
            sessions = self.together if job["together"] else self.apart
            return sessions.start({"kind": "session", **_limits(job)}, [*fds, source])
        finally:
            os.close(source)

    def script(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run a stdin/stdout job: one fork per case, all within the job's one time limit."""
        start = time.monotonic()
        answer: dict[str, Any] = {"status": "finished", "reports": [], "outputs": [], "detail": ""}
        answer["collected"] = [f"case-{i}" for i in range(len(job["stdin"]))]
        for name, text in zip(answer["collected"], job["stdin"], strict=True):
            out, err = os.pipe(), os.pipe()
            fds = [_memory_file(text), out[1], err[1], _memory_file(job["solution"])]
            pid = self.candidates.start({"kind": "script", **_limits(job)}, fds)
            for fd in fds:
                os.close(fd)
            watch = Watch(pid, None, (out[0], err[0]), self.stdin, self._look)
            try:
                ended = watch.until(start + job["timeout_s"], job["output_kib"] << 10)
            finally:
                watch.close()
                status = self._end(None)
            for_memory = self._killed_for_memory(status)
            if ended != "died":
                answer["status"] = ended
                break
            answer["outputs"].append(bytes(watch.output[out[0]]).decode("utf-8", "replace"))
            error = bytes(watch.output[err[0]]).decode("utf-8", "backslashreplace").strip()
            message = _message(status[0], error)
            outcome = "failed" if status[0] else "passed"
            answer["reports"].append({"id": name, "outcome": outcome, "message": message})
            if for_memory or "MemoryError" in message:
                answer["status"], answer["detail"] = "memory", message
                break
        answer["wall_s"] = time.monotonic() - start
        return answer

    def clean(self) -> None:
        """Empty what programs can write to, as the users who wrote there."""
        for directory in self.scratch:
            if self.candidate_uid is None:  # then a program may have closed its own directory
                with contextlib.suppress(PermissionError):
                    os.chmod(directory, 0o700)
            if files.is_empty(directory) or files.clear_shallow(directory):
                continue
            for uid in (self.candidate_uid, self.tests_uid):
                if uid is None:
                    files.clear(os.fsencode(directory))
                else:
                    reap.as_user(uid, functools.partial(files.clear, os.fsencode(directory)))

    def close(self) -> None:
        """After stdin closed: leave nothing running and nothing written."""
        reap.end_children((), self.candidate_uid)
        self.clean()

    def _test_file(self, source: str) -> tests.TestFile:
        if source not in self.files:
            if len(self.files) >= tests.FILES_KEPT:
                self.files.pop(next(iter(self.files)))
            file = self.files[source] = tests.TestFile(source)
            if file.plain and (file.pure or not file.imports_pytest):
                file.compile_plain(os.path.join(self.tests_home, "test_solution.py"))
        return self.files[source]

    def _end(self, own: fork.Child | None, *, runner: str | None = None) -> list[int]:
        """End every process of the run, and that runner, and empty the scratch directories.

        Returns wait statuses, the candidate's first. Raises RuntimeError when one was never set up.
        """
        statuses = [self.candidates.end(), self.apart.end(), self.together.end()]
        if own is not None:
            statuses.append(own.end())
        if runner is not None:
            statuses.append(self._end_runner(runner))
        if own is not None:  # else only the zygotes can have orphans
            reap.end_children(self.kept, self.candidate_uid)
        self.clean()
        return statuses

    def _look(self) -> None:
        crowd.tame((self.candidates.pid, self.together.pid), self.candidate_uid)

    def _killed_for_memory(self, statuses: list[int]) -> bool:
        """Whether the kernel killed one of those processes for its control group's memory limit.

        Asked after every run: what it killed in one mustn't be taken for the end of another.
        """
        before, self.oom_kills = self.oom_kills, _oom_kills()
        killed = any(os.WIFSIGNALED(s) and os.WTERMSIG(s) == signal.SIGKILL for s in statuses)
        return killed and self.oom_kills > before


def _limits(job: dict[str, Any]) -> dict[str, Any]:
    return {name: job[name] for name in ("memory_mib", "output_kib", "processes")}


def _memory_file(text: str) -> int:
    fd = os.memfd_create("srs")
    data = memoryview(text.encode("utf-8", "surrogatepass"))
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _make(path: str, mode: int, group: int | None) -> str:
    """A directory of this user's. With ``group``, only that user and this one get in."""
    if group is not None:
        os.setegid(group)
    os.makedirs(path, exist_ok=True)
    if group is not None:
        os.setegid(os.getgid())
    os.chmod(path, mode)
    return path


def _oom_kills() -> int:
    """How many processes the memory limit of our control group has killed so far."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError), open(path) as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _message(status: int, error: str) -> str:
    if status == 0:
        return ""
    return words.short(error.splitlines()[-1] if error else _ending(status))


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"killed by signal {number} ({signal.strsignal(number)})"
    return f"the process ended by itself with status {os.WEXITSTATUS(status)}"
