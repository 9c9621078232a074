import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from evaluator.reference import Expectation, verify
from sandbox.runner import Job, Limits, Sandbox
from srs.tasks import read_rows
from srs.types import ExecResult, Task, UserError

DATA = Path(__file__).parents[3] / "shared" / "data"
LIMITS = Limits(timeout_s=30)
TASK = Task(
    id="T_1_I", group="T_1", kind="pytest", style="instruct", subset="T", question="q",
    declaration=None, entry_point=None, test="def test_a():\n    assert f() == 1\n",
    reference="def f():\n    return 1\n",
)  # fmt: skip


class Counting:
    """A sandbox that counts what it is asked to run."""

    def __init__(self, inner: Sandbox) -> None:
        self.inner, self.n = inner, 0
        self.name, self.not_covered, self.identity = inner.name, inner.not_covered, inner.identity

    def __enter__(self) -> "Counting":
        return self

    def __exit__(self, *exc: object) -> None: ...

    def run(self, jobs: Iterable[Job]) -> Iterator[ExecResult]:
        def counted() -> Iterator[Job]:
            for job in jobs:
                self.n += 1
                yield job

        return self.inner.run(counted())


def test_equal_content_runs_once_and_is_kept(process_sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox = Counting(process_sandbox)
    broken = dataclasses.replace(TASK, id="T_2_I", reference="def f():\n    return 2\n")
    none = dataclasses.replace(TASK, id="T_3_I", reference=None)
    tasks = [TASK, broken, none, dataclasses.replace(TASK, id="T_1_C")]
    cache = tmp_path / "deep" / "references.sqlite"
    advanced: list[int] = []
    first = verify(tasks, sandbox, cache, limits=LIMITS, advance=advanced.append)
    assert sandbox.n == 3  # what fails split is tried together
    assert sum(advanced) == 4
    found, dropped = first
    assert found == {
        name: Expectation(ids=("test_a",), writes=False) for name in ("T_1_I", "T_1_C")
    }
    assert [d.task for d in dropped] == ["T_2_I", "T_3_I"]
    assert "2 == 1" in dropped[0].reason
    assert "no reference" in dropped[1].reason

    assert verify(tasks, sandbox, cache, limits=LIMITS) == first
    assert sandbox.n == 3
    verify(tasks, sandbox, cache, limits=Limits(timeout_s=29))
    assert sandbox.n == 6


@pytest.mark.parametrize(
    ("test", "reference", "path", "objects"),
    [
        ("def test_a():\n    assert f() == 1\n", "def f():\n    return 1\n", "split", 0),
        ("def test_a():\n    assert F().x == 1\n", "class F:\n    x = 1\n", "split", 1),
        (
            "def test_a():\n    assert F(2) + F(3) == F(5)\n",
            "import dataclasses\n@dataclasses.dataclass\nclass F:\n    x: int\n"
            "    def __add__(self, other):\n        return F(self.x + other.x)\n",
            "split+canaries",
            2,
        ),
        (
            "def test_a(monkeypatch):\n    monkeypatch.setattr('builtins.input', lambda: '1')\n    assert f() == 1\n",
            "def f():\n    return int(input())\n",
            "together+canaries",
            2,
        ),
        (  # so many calls would take long from process to process
            "def test_a():\n    assert sum(f(i) for i in range(9000)) == 9000\n",
            "def f(i):\n    return 1\n",
            "together+canaries",
            2,
        ),
        (  # slow, not chatty
            "import time\ndef test_a():\n    time.sleep(1)\n    assert f() == 1\n",
            "def f():\n    return 1\n",
            "split",
            0,
        ),
        (
            "def test_a():\n    assert all(x == 1 for x in f())\n",
            "def f():\n    return [1, 1]\n",
            "split+canaries",
            0,
        ),
    ],
)
def test_the_reference_decides_how_its_task_is_judged(
    process_sandbox: Sandbox, test: str, reference: str, path: str, objects: int
) -> None:
    task = dataclasses.replace(TASK, test=test, reference=reference)
    found, dropped = verify([task], process_sandbox, None, limits=LIMITS)
    assert not dropped
    assert (found[task.id].path, found[task.id].objects) == (path, objects)


def test_a_task_that_cannot_tell_an_answer_is_dropped(process_sandbox: Sandbox) -> None:
    """It needs one process, and nothing in it says what is expected."""
    task = dataclasses.replace(
        TASK,
        test="def test_a():\n    class G(F):\n        pass\n    G()\n",
        reference="class F:\n    pass\n",
    )
    found, dropped = verify([task], process_sandbox, None, limits=LIMITS)
    assert not found
    assert "can't tell an honest answer" in dropped[0].reason


def test_a_stopped_verification_keeps_what_it_has(process_sandbox: Sandbox, tmp_path: Path) -> None:
    tasks = [
        dataclasses.replace(TASK, id=f"T_{i}_I", reference=f"def f():\n    return {i}\n")
        for i in range(10)
    ]

    class Stop(Exception):
        pass

    done = 0

    def stop_at_five(n: int) -> None:
        nonlocal done
        done += n
        if done == 5:
            raise Stop

    with pytest.raises(Stop):
        verify(tasks, process_sandbox, tmp_path / "c", limits=LIMITS, advance=stop_at_five)
    sandbox = Counting(process_sandbox)
    verify(tasks, sandbox, tmp_path / "c", limits=LIMITS)
    assert sandbox.n == 10  # what fails is run split and together


def test_a_cache_that_is_no_database(process_sandbox: Sandbox, tmp_path: Path) -> None:
    cache = tmp_path / "c"
    cache.write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="delete it"):
        verify([TASK], process_sandbox, cache)


@pytest.mark.parametrize(
    ("name", "n", "allowed"),
    [
        ("humaneval_kodcode", 164, ()),
        ("oj_kodcode", 5, ()),
        ("mbpp_kodcode", 974, ()),
        ("kodcode_demo_rows", 232, ("scipy", "'yield' keyword")),
    ],
)
def test_real_references_pass(
    process_sandbox: Sandbox, name: str, n: int, allowed: tuple[str, ...]
) -> None:
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"no {path.name} in ../shared/data")
    tasks = read_rows(path)
    found, dropped = verify(tasks, process_sandbox, None, limits=LIMITS)
    assert len(found) + len(dropped) == n
    assert [d for d in dropped if not any(words in d.reason for words in allowed)] == []
    assert len(dropped) <= 4
