"""A run directory, written by the run's own code, and what the comparison reads from it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from srs import config as configs
from srs.compare.results import is_complete, read
from srs.rollout import Rollout
from srs.rundir import RunDir
from srs.types import Candidate, RoundPlan, RoundRecord, UserError, Verdict

EVALUATION: dict[str, Any] = {
    "pass_at_1": {"value": 0.5, "low": 0.4, "high": 0.6},
    "per_task": {"h": [1, 1]},
    "sampled_per_task": {"h": [3, 10]},
    "panel": {"p": [[5, 5], [4, 5]]},
}


def rollout(plan: RoundPlan) -> Rollout:
    """Two candidates a task, equal in text; the first of them ran for a second. The first task passes."""
    graded = []
    for task in plan.task_ids:
        for index in range(2):
            candidate = Candidate(
                task=task, round=plan.round, index=index, prompt="p", completion="c", code="x = 1",
                policy="base", seed=0, n_tokens=1, truncated=False,
            )  # fmt: skip
            verdict = Verdict(
                task=task, round=plan.round, index=index, outcome="passed" if task == "a" else "failed",
                n_passed=0, n_collected=1, wall_s=1.0,
            )  # fmt: skip
            graded.append((candidate, verdict))
    return Rollout(graded=tuple(graded))


def line(round: int, **changes: Any) -> RoundRecord:
    record = RoundRecord(
        round=round, n_new=0, n_review=0, n_candidates=0, pass_rate=None, pass_rate_new=None,
        pass_rate_review=None, pass_at_k=None, val_pass_at_1=None, val_ci_low=None, val_ci_high=None,
        graduated=0, skipped=0, active=0, lapses=0, format_error_rate=None, sft_examples=0, sft_tokens=0,
        sft_loss=None, seconds={"eval": 2.0},
    )  # fmt: skip
    return dataclasses.replace(record, **changes)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    plans = [
        RoundPlan(round=1, new=("a", "b"), review=()),
        RoundPlan(round=3, new=("c",), review=("a",), audit=("b",), probe=("d",)),
    ]
    with RunDir.create(path, configs.override(configs.Config(), ["scheduler.policy=seed"])) as run:
        run.write_json("rounds/0000/evaluation.json", {**EVALUATION, "sampled_per_task": {"h": [1, 10]}})  # fmt: skip
        run.add_metrics(line(0))
        for plan in plans:
            run.write_records(f"{run.round(plan.round)}/plan.json", [plan])
            run.write_rollout(plan.round, rollout(plan))
        result = {"loss": 0.1, "n_tokens": 90, "n_steps": 3}
        run.write_json("rounds/0001/train.json", {"n_examples": 2, "result": result})
        run.write_json("rounds/0003/train.json", {"n_examples": 0, "result": None})
        run.write_json("rounds/0001/panel.json", {"panel": {"p": [[2, 5], [1, 5]]}})
        run.write_json("rounds/0003/evaluation.json", EVALUATION)
        run.write_json("environment.json", {"commit": "abc"})
        run.add_metrics(line(1, n_candidates=4, sft_examples=2))
        run.add_metrics(line(3, n_candidates=4, n_measured=4))
        run.write_json("evaluation/comparison.json", {})
    return path


def test_what_a_run_measured_and_used(written: Path) -> None:
    assert is_complete(written)
    found = read(written, arm="slow", seed=7)
    assert (found.arm, found.seed, found.scheduler.policy) == ("slow", 7, "seed")
    assert [(m.round, m.candidates) for m in found.measurements] == [(0, 0), (3, 8)]
    assert found.final.held_out == {"h": (3, 10)}
    panel = {"p": ((5, 5), (4, 5))}
    assert found.panels == {0: panel, 1: {"p": ((2, 5), (1, 5))}, 3: panel}
    assert found.commit == "abc"
    assert found.measurements[0].held_out == {"h": (1, 10)}
    assert found.after_dpo is None
    spent = found.spent
    assert (spent.rounds, spent.candidates, spent.least, spent.most) == (2, 8, 4, 4)
    assert (spent.sft_tokens, spent.sft_steps, spent.sft_examples) == (90, 3, 2)
    assert spent.measured == 4
    assert (spent.sandbox_s, spent.measured_sandbox_s) == (4.0, 2.0), "equal programs ran once"
    assert spent.eval_s == 6.0


def test_reviews_say_why_they_were_made(written: Path) -> None:
    reviews = read(written, arm="x", seed=0).reviews
    assert [(r.task, r.round, r.n_passed, r.n_graded, r.kind) for r in reviews] == [
        ("a", 1, 2, 2, "practice"),
        ("b", 1, 0, 2, "practice"),
        ("c", 3, 0, 2, "practice"),
        ("a", 3, 2, 2, "practice"),
        ("b", 3, 0, 2, "audit"),
        ("d", 3, 0, 2, "probe"),
    ]


def test_greedy_answers_serve_where_nothing_was_sampled(written: Path) -> None:
    (written / "evaluation").mkdir(exist_ok=True)
    text = '{"pass_at_1": {"value": 1}, "per_task": {"h": [1, 1]}, "sampled_per_task": {}}'
    (written / "rounds/0003/evaluation.json").write_text(text)
    found = read(written, arm="x", seed=0)
    assert found.final.held_out == {"h": (1, 1)}
    assert 3 not in found.panels


def test_the_last_evaluations_are_those_after_training(written: Path) -> None:
    found = read(written, arm="x", seed=0)
    assert [m.round for m in found.last(3)] == [3]
    untrained = dataclasses.replace(found, measurements=found.measurements[:1])
    assert [m.round for m in untrained.last(3)] == [0]


@pytest.mark.parametrize("name", ["rounds/0003/evaluation.json", "rounds/0001/panel.json", "environment.json", "rounds/0001/plan.json", "metrics.jsonl", "config.json"])  # fmt: skip
def test_a_damaged_file_is_named(written: Path, name: str) -> None:
    (written / name).write_text('{"half": ')
    with pytest.raises(UserError, match=name.rpartition("/")[2].replace(".", r"\.")):
        read(written, arm="x", seed=0)


@pytest.mark.parametrize(
    "panel", ["[]", '{"panel": {"p": [[1, 2]]}}', '{"panel": {"p": [[1], [2]]}}']
)
def test_a_panel_that_is_none_is_named(written: Path, panel: str) -> None:
    (written / "rounds/0001/panel.json").write_text(panel)
    with pytest.raises(UserError, match=r"rounds/0001/panel\.json: damaged"):
        read(written, arm="x", seed=0)


def test_a_run_without_an_environment_has_unknown_code(written: Path) -> None:
    (written / "environment.json").unlink()
    assert read(written, arm="x", seed=0).commit == "unknown"


def test_an_unfinished_run_is_not_complete(tmp_path: Path) -> None:
    assert not is_complete(tmp_path)
