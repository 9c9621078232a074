import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.compare import compare, main
from evaluator.results import Row
from srs.types import UserError

SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "adapter": None,
    "benchmarks": {"h": {"sha256": "1", "schema": "humaneval", "tasks": 4}},
    "challenge_tests": False,
    "limits": {"timeout_s": 5.0},
    "sampling": {"engine": "vllm", "sets": {"greedy": {"n": 1}}},
    "answers": {},
}


def rows(passed: Sequence[int], n: int = 1) -> list[Row]:
    return [{"task": f"T/{i}", "n": n, "passed": c} for i, c in enumerate(passed)]


def test_by_hand() -> None:
    """6 tasks, 4 samples: two fixed, one broken, one better, one as before, one worse."""
    a, b = rows([0, 0, 3, 1, 4, 4], 4), rows([4, 1, 0, 2, 4, 3], 4)
    found = compare(a, b)
    assert (found["wins"], found["losses"], found["ties"]) == (3, 2, 1)
    assert found["fixed"] == ["T/0", "T/1"]
    assert found["broken"] == ["T/2"]
    assert found["a"] == pytest.approx(12 / 24)
    assert found["b"] == pytest.approx(14 / 24)
    assert found["difference"]["value"] == pytest.approx(2 / 24)
    assert found["p"] == 1.0, "two against one: 2 · (1 + 3) / 8, at most 1"
    assert (found["tasks"], found["n"]) == (6, 4)


def test_mcnemars_p() -> None:
    assert compare(rows([0] * 6), rows([1] * 6))["p"] == pytest.approx(2 / 2**6)


passes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8)


@settings(deadline=None)
@given(passes)
def test_the_other_way_round(pairs: list[tuple[int, int]]) -> None:
    a, b = (rows([pair[i] for pair in pairs], 3) for i in (0, 1))
    there, back = compare(a, b), compare(b, a)
    assert (there["wins"], there["fixed"], there["p"]) == (back["losses"], back["broken"], back["p"])  # fmt: skip
    assert there["difference"]["value"] == pytest.approx(-back["difference"]["value"])
    assert there["wins"] + there["losses"] + there["ties"] == len(pairs)
    same = compare(a, a)["difference"]
    assert (same["value"], same["interval"]) == (0.0, "wilson")
    assert same["low"] == -same["high"] < 0


@settings(deadline=None)
@given(passes, st.randoms())
def test_the_order_of_the_rows_is_free(pairs: list[tuple[int, int]], random: Any) -> None:
    a, b = (rows([pair[i] for pair in pairs], 3) for i in (0, 1))
    shuffled = list(b)
    random.shuffle(shuffled)
    assert compare(a, shuffled) == compare(a, b)


def test_other_tasks_or_counts_are_refused() -> None:
    with pytest.raises(UserError, match="only A has these tasks: T/2, T/3"):
        compare(rows([1] * 4), rows([1] * 2))
    with pytest.raises(UserError, match="only B has these tasks: T/1"):
        compare(rows([1]), rows([1] * 2))
    with pytest.raises(UserError, match="another number of answers in A and B: T/0"):
        compare(rows([1], 2), rows([1], 3))


def folder(path: Path, passed: Sequence[int], **changes: Any) -> Path:
    settings = {**copy.deepcopy(SETTINGS), **changes}
    for name in settings["benchmarks"]:
        place = path / name / "greedy"
        place.mkdir(parents=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows(passed))
        (place / "tasks.jsonl").write_text(lines)
    sets: dict[str, Any] = {"sets": {"greedy": {}}}
    summary = {"benchmarks": dict.fromkeys(settings["benchmarks"], sets)}
    (path / "settings.json").write_text(json.dumps(settings))
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "environment.json").write_text(json.dumps({"sandbox": {"identity": path.name}}))
    return path


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = folder(tmp_path / "base", [0, 0, 1, 1])
    b = folder(tmp_path / "dpo", [1, 1, 0, 1], model="other", adapter={"sha256": "2"})
    assert main([str(a), str(b)]) == 0
    output = capsys.readouterr().out
    assert "note: graded in another sandbox: base and dpo" in output
    assert "h greedy, 4 tasks, n=1: A 50.0%, B 75.0%, B - A +25.0 points [" in output
    assert "2 wins, 1 losses, 1 ties; 2 fixed and 1 broken, McNemar p = 1" in output
    assert "  fixed:  T/0, T/1\n  broken: T/2\n" in output
    assert main([str(a), str(b), "--json"]) == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (comparison["benchmark"], comparison["broken"]) == ("h", ["T/2"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limits": {"timeout_s": 9.0}}, "limits.timeout_s = 5.0 (in B 9.0)"),
        ({"sampling": {"engine": "vllm", "sets": {"greedy": {"n": 2}}}}, "sampling.sets.greedy.n = 1 (in B 2)"),
        ({"sampling": {}, "answers": {"h": {"n": 3}}}, 'sampling.n of given answers.h = null (in B 3)'),
        ({"benchmarks": {"h": {"sha256": "2", "schema": "humaneval", "tasks": 4}}}, 'benchmarks.h.sha256 = "1" (in B "2")'),
        ({"benchmarks": {"m": {}}}, "benchmarks.h = "),
    ],
)  # fmt: skip
def test_other_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    a, b = folder(tmp_path / "a", [0] * 4), folder(tmp_path / "b", [1] * 4, **changes)
    assert main([str(a), str(b)]) == 2
    assert message in capsys.readouterr().err


def test_one_benchmark_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks = {**SETTINGS["benchmarks"], "m": {"sha256": "3"}}
    a = folder(tmp_path / "a", [0, 1], benchmarks=benchmarks)
    b = folder(tmp_path / "b", [1, 1])
    assert main([str(a), str(b)]) == 2
    assert main([str(a), str(b), "--benchmark", "h"]) == 0
    assert main([str(a), str(b), "--benchmark", "m"]) == 2
    assert f"{b}: has no benchmark m; it has h" in capsys.readouterr().err


def test_an_unfinished_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    a = folder(tmp_path / "a", [0])
    assert main([str(a), str(tmp_path / "gone")]) == 2
    assert "no finished results there" in capsys.readouterr().err
