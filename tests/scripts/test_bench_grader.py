import json
from pathlib import Path
from typing import Any

import pytest

from scripts import bench_grader
from scripts.bench_grader import main, programs
from srs.types import Task

BASELINES = [("fork and exec", "plain", 1), ("pytest subprocess", "plain", 1), ("pytest subprocess", "pytest", 1)]  # fmt: skip


def test_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--rounds", "1", "--candidates", "4", "--only", "process", "--json", str(out)]
    assert main(arguments) == 0
    found = json.loads(out.read_text())
    assert (found["rounds"], found["candidates"]) == (1, 4)
    assert found["machine"]["cores"] >= 1
    ours = [("process", t, w) for w in (1, 2) for t in ("plain", "pytest")]
    cases = {(c["grader"], c["task"], c["workers"]): c for c in found["cases"]}
    assert sorted(cases) == sorted(ours + BASELINES)
    for case in cases.values():
        assert case["rounds_ms"] == [case["ms"]]
        assert case["candidates_per_s"] == pytest.approx(1000 / case["ms"])
    for scaling in found["scaling"]:
        one, two = (cases["process", scaling["task"], w]["ms"] for w in (1, 2))
        assert scaling["ratio"] == pytest.approx(one / two)
    assert [s["task"] for s in found["scaling"]] == ["plain", "pytest"]
    assert [s["workers"] for s in found["start_up"]] == [1, 2]
    assert all(s["seconds"] > 0 for s in found["start_up"])
    assert {(r["baseline"], r["task"], 1) for r in found["ratios"]} == set(BASELINES)
    for r in found["ratios"]:
        baseline, mine = cases[r["baseline"], r["task"], 1], cases[r["ours"], r["task"], 1]
        assert r["ratio"] == pytest.approx(baseline["ms"] / mine["ms"])
    printed = capsys.readouterr().out
    assert all(f"{c['ms']:.2f}" in printed for c in cases.values())


def test_candidates_never_repeat_and_half_are_wrong() -> None:
    serials = iter(range(100))
    batch = programs(serials, 10) + programs(serials, 10)
    assert len({code for code, _ in batch}) == 20
    assert sum(right for _, right in batch) == 10


@pytest.mark.parametrize("answer", [True, False])
def test_a_baseline_that_is_wrong_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: bool
) -> None:
    def constant(_: Task, __: str) -> bool:
        return answer

    monkeypatch.setattr(bench_grader, "fork_and_exec", constant)
    monkeypatch.setattr(bench_grader, "time_ours", lambda *_: None)
    assert main(["--rounds", "1", "--only", "process"]) == 1
    assert "wrong verdict: fork and exec" in capsys.readouterr().err


def test_our_own_wrong_verdicts_end_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped: Any = {True: bench_grader.VALUES[False], False: bench_grader.VALUES[True]}
    monkeypatch.setattr(bench_grader, "VALUES", swapped)
    assert main(["--rounds", "1", "--candidates", "2", "--only", "process"]) == 1
    assert "wrong verdict: process" in capsys.readouterr().err
