import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.results import Results, differences
from evaluator.scoring import score, task_rows
from srs.types import Outcome, UserError, Verdict

SETTINGS = {"model": "tiny", "sampling": {"n": 2}}


def test_a_folder_is_continued_with_the_same_settings_only(tmp_path: Path) -> None:
    with Results.open(tmp_path / "r", {"model": "mistyped"}):
        pass  # and no result: the folder is free
    with Results.open(tmp_path / "r", SETTINGS) as results:
        results.append("h/greedy/answers.jsonl", [{"task": "T/0"}])
    with Results.open(tmp_path / "r", SETTINGS) as results:
        assert results.read_json("settings.json") == SETTINGS
    changed = {"model": "tiny", "sampling": {"n": 3}}
    with pytest.raises(UserError, match=r"begun with sampling\.n = 2 \(now 3\)"):
        Results.open(tmp_path / "r", changed)


def test_only_one_process_writes(tmp_path: Path) -> None:
    with (
        Results.open(tmp_path / "r", SETTINGS),
        pytest.raises(UserError, match="another process is writing it"),
    ):
        Results.open(tmp_path / "r", SETTINGS)
    with Results.open(tmp_path / "r", SETTINGS):
        pass


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files; choose another --out"):
        Results.open(tmp_path, SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="cannot be used for results"):
        Results.open(tmp_path / "thesis.txt", SETTINGS)


def test_a_begin_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".settings.json.partial").write_text("{")
    with Results.open(tmp_path, SETTINGS) as results:
        assert results.read_json("settings.json") == SETTINGS


@settings(deadline=None)
@given(st.lists(st.text(), max_size=5), st.integers(0, 300))
def test_a_log_survives_a_kill_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cut: int
) -> None:
    """What is read are whole rows from the start; more can be appended after it."""
    with Results.open(tmp_path_factory.mktemp("r"), SETTINGS) as results:
        rows = [{"text": text} for text in texts]
        results.append("a/log.jsonl", rows)
        path = results.path / "a/log.jsonl"
        path.write_bytes(path.read_bytes()[:cut])
        kept = results.read_log("a/log.jsonl")
        assert kept == rows[: len(kept)]
        results.append("a/log.jsonl", [{"text": "more"}])
        assert results.read_log("a/log.jsonl") == [*kept, {"text": "more"}]
        assert results.read_log("none.jsonl") == []


def test_damage_is_named(tmp_path: Path) -> None:
    with Results.open(tmp_path, SETTINGS) as results:
        (tmp_path / "log.jsonl").write_text('{"a": 1}\n{"a"\n')
        with pytest.raises(UserError, match=r"log\.jsonl:2: damaged"):
            results.read_log("log.jsonl")
        (tmp_path / "x.json").write_text("{")
        with pytest.raises(UserError, match=r"x\.json: damaged"):
            results.read_json("x.json")
        with pytest.raises(UserError, match=r"gone\.jsonl: cannot be read"):
            results.read_lines("gone.jsonl")


def test_differences_name_the_keys() -> None:
    a = {"n": 1, "s": {"x": 1, "y": 2}, "old": True}
    b = {"n": 1, "s": {"x": 1, "y": 3}, "new": [1]}
    assert differences(a, b) == {"s.y": (2, 3), "old": (True, None), "new": (None, [1])}
    assert differences(a, a) == {}


def verdict(task: str, index: int, outcome: Outcome, detail: str = "") -> Verdict:
    return Verdict(
        task=task, round=0, index=index, outcome=outcome, n_passed=0, n_collected=1, wall_s=0.1,
        detail=detail,
    )  # fmt: skip


def test_per_task_rows() -> None:
    verdicts = [
        verdict("a", 1, "failed", "assert 1 == 2"),
        verdict("b", 0, "no_code", "no Python code that parses"),
        verdict("a", 0, "passed"),
        verdict("b", 1, "timeout", "the time limit passed"),
    ]
    assert task_rows(["a", "b"], verdicts, {"b": 1}) == [
        {"task": "a", "n": 2, "passed": 1, "outcomes": {"passed": 1, "failed": 1}, "truncated": 0, "detail": "[1] failed: assert 1 == 2"},
        {"task": "b", "n": 2, "passed": 0, "outcomes": {"no_code": 1, "timeout": 1}, "truncated": 1, "detail": "[0] no_code: no Python code that parses"},
    ]  # fmt: skip


def test_the_numbers_by_hand() -> None:
    """4 samples with 1, 4 and 0 passes: pass@1 = (1/4 + 1 + 0) / 3; pass@2 = (1 - C(3,2)/C(4,2) + 1) / 3."""
    outcomes: list[tuple[str, list[Outcome]]] = [
        ("a", ["passed", "failed", "failed", "no_code"]),
        ("b", ["passed"] * 4),
        ("c", ["error", "no_code", "no_code", "timeout"]),
    ]
    verdicts = [verdict(t, i, o) for t, found in outcomes for i, o in enumerate(found)]
    scores = score(task_rows(["a", "b", "c"], verdicts, {"c": 2}), [1, 2, 5])
    assert list(scores["pass_at_k"]) == ["1", "2"], "5 of 4 samples can't be estimated"
    assert scores["pass_at_k"]["1"]["value"] == pytest.approx(1.25 / 3)
    assert scores["pass_at_k"]["2"]["value"] == pytest.approx(1.5 / 3)
    assert scores["format_error_rate"] == 3 / 12
    assert scores["parse_rate"] == 9 / 12
    assert (scores["tasks"], scores["n"], scores["answers"], scores["truncated"]) == (3, 4, 12, 2)
    assert scores["outcomes"] == {"passed": 5, "no_code": 3, "failed": 2, "error": 1, "timeout": 1}
    json.dumps(scores)
    assert score(task_rows(["a"], verdicts[:4], None), [1])["truncated"] is None


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["passed", "failed", "no_code"]), min_size=3, max_size=3), min_size=1, max_size=6))  # fmt: skip
def test_more_samples_pass_no_less_often(found: list[list[Outcome]]) -> None:
    verdicts = [verdict(str(t), i, o) for t, row in enumerate(found) for i, o in enumerate(row)]
    at_k = score(task_rows([str(t) for t in range(len(found))], verdicts, {}), [1, 2, 3])["pass_at_k"]  # fmt: skip
    values = [at_k[k]["value"] for k in ("1", "2", "3")]
    assert values == sorted(values)
    assert math.isclose(values[2], sum("passed" in row for row in found) / len(found))
    assert all(e["low"] - 1e-9 <= e["value"] <= e["high"] + 1e-9 for e in at_k.values())
