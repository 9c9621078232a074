"""Our verdicts beside plain pytest's on a few tasks, and that a wrong judge on either side is noticed."""

import ast
import contextlib
import dataclasses
import importlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest

from sandbox.inside import confine
from sandbox.runner import Job, Limits, Sandbox, SandboxConfig, SandboxError
from srs.tasks import read_rows
from srs.types import ExecResult

ROOT = Path(__file__).parents[2]
TINY = ROOT / "srs" / "tiny" / "train.jsonl"
DOUBLE = "def double(x):\n    return 2 * x\n"
ROWS = {
    "class": (
        "class Stack:\n"
        "    def __init__(self, limit=2):\n        self.items, self.limit = [], limit\n"
        "    def push(self, item):\n"
        "        if len(self.items) >= self.limit:\n            raise OverflowError('full')\n"
        "        self.items.append(item)\n        return self\n"
        "    def pop(self):\n        return self.items.pop()\n",
        "import pytest\nfrom solution import Stack\n\n"
        "def test_order():\n    stack = Stack().push(1).push(2)\n    assert [stack.pop(), stack.pop()] == [2, 1]\n\n"
        "def test_full():\n    stack = Stack(1).push(1)\n"
        "    with pytest.raises(OverflowError, match='full'):\n        stack.push(2)\n",
    ),
    "operators": (
        "class Vector:\n"
        "    def __init__(self, x, y):\n        self.x, self.y = x, y\n"
        "    def __add__(self, other):\n        return Vector(self.x + other.x, self.y + other.y)\n"
        "    def __eq__(self, other):\n        return self.x == other.x and self.y == other.y\n"
        "    def __len__(self):\n        return 2\n",
        "from solution import Vector\n\n"
        "def test_add():\n    assert Vector(1, 2) + Vector(3, 4) == Vector(4, 6)\n\n"
        "def test_unequal():\n    assert Vector(1, 2) != Vector(1, 3)\n    assert Vector(1, 2) != Vector(2, 2)\n\n"
        "def test_len():\n    assert len(Vector(0, 0)) == 2\n",
    ),
    "capsys": (
        "import sys\n\ndef greet(name, times):\n    for i in range(times):\n        print(i, name)\n"
        "    print('done', file=sys.stderr)\n",
        "from solution import greet\n\n"
        "def test_prints(capsys):\n    greet('Ann', 2)\n    captured = capsys.readouterr()\n"
        "    assert captured.out == '0 Ann\\n1 Ann\\n'\n    assert captured.err == 'done\\n'\n",
    ),
    "parametrize": (
        "def clamp(x, low, high):\n    return max(low, min(x, high))\n",
        "import pytest\nfrom solution import clamp\n\n"
        "@pytest.mark.parametrize('x, expected', [(3, 3), (-2, 1), (9, 5)])\n"
        "def test_clamp(x, expected):\n    assert clamp(x, 1, 5) == expected\n",
    ),
    "fixture": (
        "def total(path):\n    with open(path) as file:\n        return sum(int(line) for line in file if line.strip())\n",
        "import pytest\nfrom solution import total\n\n"
        "@pytest.fixture\ndef numbers(tmp_path):\n    path = tmp_path / 'numbers'\n"
        "    path.write_text('1\\n\\n4\\n')\n    return path\n\n"
        "def test_total(numbers):\n    assert total(numbers) == 5\n",
    ),
    "asserts": (
        "def split(text, n):\n    parts = [text[i:i + n] for i in range(0, len(text), n)]\n    return parts, len(parts)\n",
        "def test_bare():\n    assert split('abcde', 2)\n\n"
        "def test_chained():\n    parts, n = split('abcde', 2)\n    assert 1 < n < 4 and parts[-1] == 'e', 'last'\n\n"
        "def test_not_in():\n    assert 'abc' not in split('abcde', 2)[0]\n",
    ),
    "generator": (
        "def evens(numbers):\n    for n in numbers:\n        if n % 2 == 0:\n            yield n\n",
        "from solution import evens\n\n"
        "def test_lazy():\n    found = evens(iter([1, 2, 4]))\n    assert next(found) == 2\n    assert list(found) == [4]\n",
    ),
}  # fmt: skip


@pytest.fixture
def differential(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("differential_grader")


@pytest.fixture
def mutation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("mutants")


@pytest.fixture
def plain(differential: ModuleType) -> Iterator[Callable[..., str]]:
    """Plain pytest's verdict on (code, test, limits)."""
    with differential.PlainPytest() as one:
        yield one.verdict


def tasks_file(directory: Path, rows: dict[str, tuple[str, str]]) -> Path:
    path = directory / "rows.jsonl"
    made = [
        {"question_id": f"Hand_{name}_I", "question": "q", "solution": solution, "test": test, "style": "instruct"}
        for name, (solution, test) in rows.items()
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def figures(printed: str) -> dict[str, int]:
    """The counts of the summary, by their names."""
    lines = [line for line in printed.splitlines() if line and not line.startswith(" ")]
    return {name: int(rest.split()[0]) for name, _, rest in (s.partition(":") for s in lines)}


def test_shipped_tasks_agree(
    differential: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--tasks", str(TINY), "--limit-rows", "12", "--mutants", "4", "--sandbox", "process", "--workers", "2"]  # fmt: skip
    status = differential.main([*arguments, "--timeout-s", "5", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert status == 0, printed
    counts = figures(printed)
    assert (counts["rows"], counts["disagreements"]) == (12, 0)
    assert counts["agreements"] == counts["programs"] > 60
    assert int(printed.partition("(")[2].split()[0]) >= 12  # passed
    assert not (tmp_path / "out").exists()


def test_hand_written_rows_agree(differential: ModuleType, tmp_path: Path) -> None:
    tasks = read_rows(tasks_file(tmp_path, ROWS))
    config = SandboxConfig(backend="process", workers=2)
    found = [c for part in differential.run(tasks, 6, 0, config) for c in part]
    assert [str(c) for c in found if not c.agrees] == []
    assert {c.program.name: c.plain for c in found if c.task.id == "Hand_class_I"}.items() >= {
        ("reference", "passed"),
        ("stub", "failed"),
    }
    for c in found:
        assert c.dropped == ""
        assert c.program.name != "reference" or c.ours.passed
        assert c.program.name != "stub" or not c.ours.passed
    assert {c.ours.path for c in found} >= {"split", "split+canaries"}
    assert sum(not c.ours.passed for c in found if c.program.change) >= 20


def test_a_program_that_only_plain_pytest_believes(
    differential: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    liar = "import os\n\ndef double(x):\n    os._exit(0)\n"
    path = tasks_file(tmp_path, {"liar": (liar, "def test_it():\n    assert double(1) == 2\n")})
    out = tmp_path / "out"
    arguments = ["--tasks", str(path), "--mutants", "0", "--sandbox", "process", "--workers", "1"]
    assert differential.main([*arguments, "--out", str(out)]) == 1
    printed = capsys.readouterr().out
    assert figures(printed) == {
        "rows": 1,
        "programs": 2,
        "agreements": 1,
        "time-outs": 0,
        "disagreements": 1,
    }
    assert "Hand_liar_I reference: plain pytest passed, ours failed [split+canaries]" in printed
    saved = out / "rows" / "Hand_liar_I-reference"
    assert (saved / "solution.py").read_text() == liar
    assert "from solution import double" in (saved / "test_solution.py").read_text()
    assert "plain pytest passed, ours failed" in (saved / "verdicts.txt").read_text()


@dataclasses.dataclass
class Faulty:
    """A sandbox that changes what a real one saw; it is entered and left by who owns the real one."""

    real: Sandbox
    change: Callable[[Job, ExecResult], ExecResult]
    name: str = "faulty"
    not_covered: tuple[str, ...] = ()
    identity: str = "faulty"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def run(self, jobs: Iterable[Job]) -> Iterator[ExecResult]:
        kept = list(jobs)
        return map(self.change, kept, self.real.run(kept))


def all_pass(_: Job, result: ExecResult) -> ExecResult:
    reports = tuple(dataclasses.replace(r, outcome="passed") for r in result.reports)
    return dataclasses.replace(result, reports=reports)


def none_passes(_: Job, result: ExecResult) -> ExecResult:
    reports = tuple(dataclasses.replace(r, outcome="failed") for r in result.reports)
    return dataclasses.replace(result, reports=reports)


def late_at_first(job: Job, result: ExecResult) -> ExecResult:
    return dataclasses.replace(result, status="timeout") if job.limits.timeout_s < 6 else result


def always_late(_: Job, result: ExecResult) -> ExecResult:
    return dataclasses.replace(result, status="timeout")


@pytest.mark.parametrize(
    ("change", "status", "counts"),
    [
        (all_pass, 1, {"agreements": 1, "time-outs": 0, "disagreements": 1}),
        (none_passes, 1, {"agreements": 1, "time-outs": 0, "disagreements": 1}),
        (late_at_first, 0, {"agreements": 2, "time-outs": 1, "disagreements": 0}),
        (always_late, 0, {"agreements": 1, "time-outs": 2, "disagreements": 0}),
    ],
)
def test_a_wrong_judge_is_noticed(
    differential: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    process_sandbox: Sandbox,
    change: Any,
    status: int,
    counts: dict[str, int],
) -> None:
    test = "def test_it():\n    assert double(1) == 2\n"
    path = tasks_file(tmp_path, {"double": (DOUBLE, test)})
    monkeypatch.setattr(differential, "open_sandbox", lambda _: Faulty(process_sandbox, change))
    arguments = ["--tasks", str(path), "--mutants", "0", "--workers", "1", "--timeout-s", "5"]
    assert differential.main(arguments) == status
    assert figures(capsys.readouterr().out) == {"rows": 1, "programs": 2, **counts}


def test_unusable_input(
    differential: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert differential.main(["--tasks", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (DOUBLE, "passed"),
        ("def double(x):\n    return x\n", "failed"),
        ("def double(x:\n", "failed"),
        ("def triple(x):\n    return 2 * x\n", "failed"),
        ("def double(x):\n    while True:\n        pass\n", "timeout"),
        ("def double(x):\n    return len(bytes(4 << 30)) and 2 * x\n", "failed"),
    ],
)
def test_plain_pytest(plain: Callable[..., str], code: str, verdict: str) -> None:
    test = "from solution import double\n\ndef test_it():\n    assert double(1) == 2\n"
    limits = Limits(timeout_s=1 if verdict == "timeout" else 20)
    assert plain(code, test, limits) == verdict
    assert plain(DOUBLE, "", limits) == "failed"  # no test was collected
    assert plain(DOUBLE, test, Limits(timeout_s=20)) == "passed"


def test_plain_pytest_leaves_nothing_running(plain: Callable[..., str]) -> None:
    marker = f"600.{time.monotonic_ns()}"
    test = f"import subprocess\n\ndef test_it():\n    subprocess.Popen(['sleep', '{marker}'])\n"
    assert plain(DOUBLE, test, Limits(timeout_s=20)) == "passed"
    assert until(
        lambda: not any(marker.encode() in command(p.name) for p in Path("/proc").glob("[0-9]*"))
    )


def test_plain_pytest_goes_with_the_process_that_holds_it(differential: ModuleType) -> None:
    test = "import time\n\ndef test_it():\n    open('begun', 'w')\n    time.sleep(60)\n"
    with (
        ThreadPoolExecutor(1) as thread,
        differential.PlainPytest() as plain,
    ):
        verdict = thread.submit(plain.verdict, DOUBLE, test, Limits(timeout_s=300))
        waiting = until(lambda: busy_forks(plain.pid))
        assert waiting
        os.kill(plain.pid, signal.SIGKILL)
        with pytest.raises(SandboxError, match="plain pytest is gone"):
            verdict.result(timeout=30)
    assert until(lambda: not any(map(command, waiting)))


def busy_forks(pid: int) -> list[str]:
    """Those whose test has begun, as a file in their directory tells."""
    forks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [fork for fork in forks if Path(f"/proc/{fork}/cwd/begun").exists()]


def command(pid: str) -> bytes:
    """Empty for a process that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def until(found: Callable[[], Any]) -> Any:
    """What ``found`` returns once that is true, or after five seconds."""
    deadline = time.monotonic() + 5
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return value


@pytest.mark.skipif(confine.landlock([], []) is None, reason="this kernel has no Landlock")
def test_plain_pytest_changes_no_file_of_ours(plain: Callable[..., str], tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.write_text("kept")
    for act, verdict in (("unlink()", "failed"), ("read_text()", "passed")):
        test = f"import pathlib\n\ndef test_it():\n    pathlib.Path({str(ours)!r}).{act}\n"
        assert plain(DOUBLE, test, Limits(timeout_s=20)) == verdict
    assert ours.read_text() == "kept"


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("x = 3", "line 1: 3 became 4"),
        ("x = 3", "line 1: 3 became 2"),
        ("x = True", "line 1: True became False"),
        ("x = a + b", "line 1: a + b became a - b"),
        ("x += b", "line 1: x += b became x -= b"),
        ("x = a < b < c", "line 1: a < b < c became a < b <= c"),
        ("x = a and b", "line 1: a and b became a or b"),
        ("if a:\n    b()", "line 1: if a: became if not a:"),
        ("x = b if a else c", "line 1: b if a else c became b if not a else c"),
        ("x = [a for a in b if a]", "line 1: for a in b if a became for a in b if not a"),
        ("def f():\n    return a", "line 2: return a became return None"),
        ("a()\nb()", "line 2: b() became pass"),
        ("x = a[b:]", "line 1: b: became b - 1:"),
        ("x = a[:b]", "line 1: :b became :b + 1"),
        ("x = f(a, b, c)", "line 1: f(a, b, c) became f(b, a, c)"),
        ("x = range(a, b)", "line 1: range(a, b) became range(a, b + 1)"),
    ],
)
def test_each_kind_of_mutant(mutation: ModuleType, source: str, change: str) -> None:
    assert change in [m.change for m in mutation.mutants(source, mutation.N_MAX, "0")]


def test_mutants_are_distinct_and_drawn_by_the_seed(mutation: ModuleType) -> None:
    source = "def f(a, b):\n    '''Doc.'''\n    if a < b:\n        return a[1:b] + [2]\n    return g(b, a) * 3\n"
    made = mutation.mutants(source, 12, "0")
    assert made == mutation.mutants(source, 12, "0")
    assert made != mutation.mutants(source, 12, "1")
    programs = [ast.unparse(ast.parse(m.source)) for m in made]
    assert len({ast.unparse(ast.parse(source)), *programs}) == 13
    assert all("Doc." in program for program in programs)
    assert len(mutation.mutants(source * 9, 99, "0")) == mutation.N_MAX
    assert mutation.mutants("def f(x: 3): pass", 5, "0") == []
    twice = "while a < b:\n    c = f(d, d)"
    changes = [m.change for m in mutation.mutants(twice, 20, "0")]
    assert "line 2: f(d, d) became f(d, d)" not in changes
    assert len(changes) == 4


def test_stub(mutation: ModuleType) -> None:
    source = (
        "N = 3\nclass A:\n    def f(self, x):\n        return x\nasync def g():\n    await h()\n"
    )
    names: dict[str, Any] = {}
    exec(mutation.stub(source), names)
    assert (names["N"], names["A"]().f(1)) == (3, None)
    with pytest.raises(StopIteration):
        names["g"]().send(None)
