"""Transfer measures against values computed by hand, and the matrix of a run's rounds."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.lifelong import (
    Observation,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    measured,
    report,
)
from evaluator.round_results import lifelong_results
from srs.types import UserError

# Rows: base, after 1, 2, 3 experiences. Columns: experiences 1, 2, 3.
R = [
    [0.1, 0.2, 0.3],
    [0.8, 0.4, 0.3],
    [0.9, 0.7, 0.5],
    [0.6, 0.5, 0.9],
]


def test_measures_of_a_matrix_computed_by_hand() -> None:
    assert average_accuracy(R) == pytest.approx((0.6 + 0.5 + 0.9) / 3)
    assert backward_transfer(R) == pytest.approx(((0.6 - 0.8) + (0.5 - 0.7)) / 2)
    assert forward_transfer(R) == pytest.approx(((0.4 - 0.2) + (0.5 - 0.3)) / 2)
    assert forgetting(R) == pytest.approx(((0.9 - 0.6) + (0.7 - 0.5)) / 2)


@pytest.mark.parametrize(
    ("row", "column", "lost"),
    [
        (3, 0, {"average_accuracy", "backward_transfer", "forgetting"}),
        (1, 0, {"backward_transfer", "forgetting"}),
        (2, 0, {"forgetting"}),
        (0, 1, {"forward_transfer"}),
        (0, 0, set()),
    ],
)
def test_a_cell_that_was_not_measured_blanks_what_needs_it(
    row: int, column: int, lost: set[str]
) -> None:
    matrix: list[list[float | None]] = [list(line) for line in R]
    matrix[row][column] = None
    measures = {
        "average_accuracy": average_accuracy(matrix),
        "backward_transfer": backward_transfer(matrix),
        "forward_transfer": forward_transfer(matrix),
        "forgetting": forgetting(matrix),
    }
    assert {name for name, value in measures.items() if value is None} == lost


def test_one_experience_transfers_nothing() -> None:
    assert average_accuracy([[0.1], [0.5]]) == 0.5
    assert backward_transfer([[0.1], [0.5]]) is None
    assert forward_transfer([[0.1], [0.5]]) is None
    assert forgetting([[0.1], [0.5]]) is None


@pytest.mark.parametrize("matrix", [[], [[0.1], [0.2], [0.3]], [[0.1, 0.2], [0.3]]])
def test_a_matrix_of_another_shape_is_refused(matrix: list[list[float | None]]) -> None:
    with pytest.raises(ValueError, match="one row more"):
        backward_transfer(matrix)


@st.composite
def matrices(draw: st.DrawFn) -> list[list[float | None]]:
    t = draw(st.integers(2, 5))
    rates = st.floats(0, 1, allow_nan=False)
    return [[draw(rates) for _ in range(t)] for _ in range(t + 1)]


@given(matrices())
def test_forgetting_is_at_least_the_loss_that_backward_transfer_sees(
    matrix: list[list[float | None]],
) -> None:
    lost, transfer = forgetting(matrix), backward_transfer(matrix)
    assert lost is not None
    assert transfer is not None
    assert lost >= -transfer - 1e-12
    assert -1 <= transfer <= 1


@given(st.integers(2, 6), st.floats(0, 1, allow_nan=False))
def test_a_model_that_never_changes_shows_no_transfer(t: int, rate: float) -> None:
    matrix = [[rate] * t for _ in range(t + 1)]
    for measure in (backward_transfer, forward_transfer, forgetting):
        assert measure(matrix) == pytest.approx(0)


def observed(*cells: tuple[int, str, int, int]) -> list[Observation]:
    return [Observation(after=a, task=t, passed=p, graded=n) for a, t, p, n in cells]


def test_experiences_lie_between_the_rows_and_partial_cells_stay_empty() -> None:
    first = {"a": 1, "b": 2, "c": 3, "late": 9}
    seen = observed(
        (0, "a", 0, 2), (0, "a", 1, 2), (0, "b", 1, 1), (2, "a", 1, 1), (4, "a", 1, 1), (4, "b", 0, 1),
        (4, "c", 2, 4),
    )  # fmt: skip
    found = measured(first, [0, 2, 4], seen)
    assert found.columns == (("a", "b"), ("c",))
    assert found.rates == (((1 / 4 + 1) / 2, None), (None, None), (0.5, 0.5))
    assert found.n_tasks == ((2, 0), (1, 0), (2, 1))


def test_a_row_without_new_tasks_is_no_experience() -> None:
    found = measured({"a": 1, "b": 3}, [0, 1, 2, 3], observed((2, "a", 1, 1), (3, "a", 0, 1)))
    assert found.rows == (0, 1, 3)
    assert found.rates[2] == (0.0, None)


def test_the_last_experience_ends_at_the_last_row() -> None:
    found = measured({"a": 1, "b": 2}, [0, 1, 2, 5], observed((5, "a", 1, 1), (5, "b", 0, 1)))
    assert found.rows == (0, 1, 5)
    assert found.rates[2] == (1.0, 0.0)


@pytest.mark.parametrize("rows", [[], [1, 2], [0, 2, 2], [0, 3, 1]])
def test_rows_must_ascend_from_the_base(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        measured({}, rows, [])


def test_ianvs_gets_the_matrix_when_it_is_whole() -> None:
    """It would take a missing cell for no change."""
    cells = [(0, "a", 0, 1), (0, "b", 1, 2), (1, "a", 1, 1), (1, "b", 1, 1), (2, "a", 1, 2)]
    assert report(measured({"a": 1, "b": 2}, [0, 1, 2], observed(*cells)))["ianvs"] is None
    whole = report(measured({"a": 1, "b": 2}, [0, 1, 2], observed(*cells, (2, "b", 1, 1))))
    assert whole["ianvs"] == {
        "all": [
            [{"accuracy": 0.0}, {"accuracy": 0.5}],
            [{"accuracy": 1.0}, {"accuracy": 1.0}],
            [{"accuracy": 0.5}, {"accuracy": 1.0}],
        ]
    }
    assert json.loads(json.dumps(whole)) == whole


def make_run(path: Path, *, panel: bool) -> Path:
    """Base, then three rounds: a and b are new in 1, c in 2; round 3 reviews all of them."""
    plans = {1: (["a", "b"], []), 2: (["c"], ["a"]), 3: ([], ["a", "b", "c"])}
    verdicts: dict[int, list[tuple[str, bool]]] = {
        1: [("a", False), ("a", True), ("b", False), ("b", False)],
        2: [("c", False), ("c", False), ("a", True), ("a", True)],
        3: [("a", True), ("a", False), ("b", True), ("b", True), ("c", True), ("c", True)],
    }
    panels: dict[int, dict[str, Any]] = {
        0: {"a": [[0, 1], [1, 1]], "c": [[0, 1], [0, 1]], "never": [[1, 1], [1, 1]]},
        1: {"a": [[1, 1], [1, 1]], "c": [[0, 1], [1, 1]], "never": [[1, 1], [1, 1]]},
        3: {"a": [[0, 1], [1, 1]], "c": [[1, 1], [1, 1]], "never": [[1, 1], [1, 1]]},
    }
    rounds = [{"round": number} for number in range(4)]
    path.mkdir()
    (path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rounds))
    for number in range(4):
        folder = path / "rounds" / f"{number:04d}"
        folder.mkdir(parents=True)
        if number in panels and panel:
            name = "panel.json" if number == 1 else "evaluation.json"
            (folder / name).write_text(json.dumps({"panel": panels[number]}))
        if number:
            new, review = plans[number]
            (folder / "plan.json").write_text(json.dumps({"new": new, "review": review}))
            (folder / "verdicts.jsonl").write_text(
                "".join(
                    json.dumps({"task": task, "outcome": "passed" if ok else "failed"}) + "\n"
                    for task, ok in verdicts[number]
                )
            )
    return path


def test_practice_measures_what_the_next_round_drew(tmp_path: Path) -> None:
    found = lifelong_results(make_run(tmp_path / "run", panel=False))
    assert found["panel"] is None
    practice = found["practice"]
    assert practice["rows_after_round"] == [0, 1, 2]
    assert practice["tasks"] == [["a", "b"], ["c"]]
    # Round 2 drew a alone of the first column; round 3 all of both; nothing was drawn after it.
    assert practice["pass_rate"] == [[0.25, None], [None, 0.0], [0.75, 1.0]]
    assert practice["n_tasks_measured"] == [[2, 0], [1, 1], [2, 1]]
    assert practice["average_accuracy"] == 0.875
    assert practice["backward_transfer"] is None


def test_the_panel_is_measured_at_each_evaluation(tmp_path: Path) -> None:
    panel = lifelong_results(make_run(tmp_path / "run", panel=True))["panel"]
    assert panel["rows_after_round"] == [0, 1, 3]
    assert panel["tasks"] == [["a"], ["c"]]
    assert panel["pass_rate"] == [[0.5, 0.0], [1.0, 0.5], [0.5, 1.0]]
    assert panel["backward_transfer"] == -0.5
    assert panel["forward_transfer"] == 0.5
    assert panel["forgetting"] == 0.5


def test_a_run_that_has_not_begun_has_no_matrix(tmp_path: Path) -> None:
    assert lifelong_results(tmp_path) == {"practice": None, "panel": None}


def test_a_damaged_round_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", panel=False)
    (run / "rounds/0002/verdicts.jsonl").write_text('{"task": ')
    with pytest.raises(UserError, match=r"0002/verdicts\.jsonl"):
        lifelong_results(run)
