"""The panel: training tasks that a run practises early and measures again and again."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memory.store import Store
from scheduler.frozen import is_marked
from scheduler.policies import policy
from srs import config as configs
from srs.config import Config
from srs.lab import Lab
from srs.planning import Planner
from srs.rundir import RunDir
from srs.types import Review, Task

N_PANEL = 20


def config(name: str, seed: int, *more: str) -> Config:
    return configs.load(
        None,
        [f"scheduler.policy={name}", f"run.seed={seed}", f"eval.panel={N_PANEL}",
         "scheduler.tasks_per_round=8", "scheduler.new_share=0.5", "scheduler.frozen_tasks=4", *more],
    )  # fmt: skip


def task(number: int) -> Task:
    return Task(
        id=f"t{number}", group=f"g{number // 2}", kind="pytest", style="instruct", subset="s", question="",
        declaration=None, entry_point=None, test="", reference=None,
    )  # fmt: skip


TASKS = {f"t{i}": task(i) for i in range(100)}


@contextlib.contextmanager
def lab(path: Path, wanted: Config, tasks: dict[str, Task] = TASKS) -> Iterator[Lab]:
    """A lab with a memory and a planner, and nothing that generates, grades or trains."""
    begun = path.exists()
    opened = RunDir.resume(path, lambda _: wanted) if begun else RunDir.create(path, wanted)
    with opened as run, Store.open(path / "memory.sqlite", seed=wanted.run.seed) as memory:
        memory.add_tasks(tasks)
        scheduling = policy(wanted.scheduler)
        planner = Planner.over(
            tasks.values(),
            memory=memory,
            policy=scheduling,
            config=wanted.scheduler,
            seed=wanted.run.seed,
        )
        none: Any = None
        yield Lab(
            run=run, tasks=tasks, held_out=[], memory=memory, planner=planner, roller=none,
            generator=none, tuner=none, ahead=none, progress=none, extra_pairs=(), notice=None,
        )  # fmt: skip


def practise(lab: Lab, rounds: int) -> set[str]:
    """Rounds in which every candidate passes, so that marked groups freeze; what was practised."""
    practised: set[str] = set()
    for number in range(1, rounds + 1):
        plan = lab.planner.plan(number)
        kinds = dict.fromkeys(plan.audit, "audit") | dict.fromkeys(plan.probe, "probe")
        reviews = [
            Review(task=name, round=number, n_passed=4, n_graded=4, kind=kinds.get(name, "practice"))  # type: ignore[arg-type]
            for name in plan.task_ids
        ]  # fmt: skip
        lab.memory.record(number, reviews, lab.planner.policy.update)
        practised |= {*plan.practised}
    return practised


def names(lab: Lab) -> list[str]:
    return [task.id for task in lab.panel]


def test_the_panel_is_what_the_first_rounds_practise_and_the_same_under_every_policy(
    tmp_path: Path,
) -> None:
    panels, seed = [], 1
    # Every new task of those rounds, at half a round each, and those of marked groups beside them.
    rounds = math.ceil(N_PANEL / 4) + 3
    for name in ("sm2", "random_review", "onepass", "uniform"):
        with lab(tmp_path / name, config(name, seed)) as opened:
            panels.append(names(opened))
            assert len(panels[-1]) == N_PANEL
            assert not any(is_marked(one.group, seed) for one in opened.panel), "may be frozen"
            if name != "uniform":
                assert set(panels[-1]) <= practise(opened, rounds)
    assert all(panel == panels[0] for panel in panels)


def test_seeds_have_panels_of_their_own(tmp_path: Path) -> None:
    with lab(tmp_path / "1", config("sm2", 1)) as one, lab(tmp_path / "2", config("sm2", 2)) as two:
        assert set(names(one)) != set(names(two))


def test_a_resumed_run_keeps_the_panel_that_it_began_with(tmp_path: Path) -> None:
    with lab(tmp_path / "run", config("sm2", 1)) as opened:
        panel = names(opened)
        evaluation = {"panel": {name: [[2, 2], [1, 3]] for name in reversed(panel)}}
        opened.run.write_json("rounds/0000/evaluation.json", evaluation)
        practise(opened, 4)
    with lab(tmp_path / "run", config("sm2", 1)) as resumed:
        assert names(resumed) == panel, "although its tasks are no longer new"


def test_a_run_from_when_panels_were_drawn_otherwise_keeps_its_own(tmp_path: Path) -> None:
    with lab(tmp_path / "run", config("sm2", 1)) as opened:
        old = ["t3", "t50", "t99"]
        evaluation = {"panel": {name: [[2, 2], [1, 3]] for name in old}}
        opened.run.write_json("rounds/0000/evaluation.json", evaluation)
        assert names(opened) == old


def test_a_panel_that_came_out_empty_stays_empty(tmp_path: Path) -> None:
    """Where every task may be frozen; its evaluations have no panel then."""
    with lab(tmp_path / "run", config("sm2", 1)) as opened:
        opened.run.write_json("rounds/0000/evaluation.json", {"pass_at_1": {}})
        assert names(opened) == []


def test_no_panel_unless_it_is_asked_for(tmp_path: Path) -> None:
    with lab(tmp_path / "run", config("sm2", 1, "eval.panel=0")) as opened:
        opened.run.write_json("rounds/0000/evaluation.json", {"pass_at_1": {}})
        assert names(opened) == []
