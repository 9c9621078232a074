"""What a repair's report counts, by hand, and its laws."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.analyzers.finding import Finding
from evaluator.repairing.attempt import Arm, Attempt
from evaluator.repairing.loop import State
from evaluator.repairing.report import lines, report

FINDING = Finding(tool="t", rule="R", severity="low", line=1, message="m")
ITEM = Attempt(
    task="a", index=0, epoch=0, prompt="", completion="", code="x = 1", policy="base", seed=0, n_tokens=7,
    no_room=False, outcome="passed", n_passed=1, n_collected=1, detail="", findings=None, unanalysed=None,
)  # fmt: skip


def state(**items: str) -> State:
    """``a="p"``: the items of task a by letter: p passed, f failed; P and F with a finding."""
    found = {}
    for task, letters in items.items():
        for index, letter in enumerate(letters):
            found[task, index] = dataclasses.replace(
                ITEM,
                task=task,
                index=index,
                outcome="passed" if letter in "pP" else "failed",
                findings=(FINDING,) if letter in "PF" else (),
            )
    return found


def test_by_hand() -> None:
    start = state(a="P", b="f", c="f", d="p")
    feedback = state(a="f", b="p", c="p", d="p")
    control = state(a="p", b="F", c="p", d="p")
    spent: dict[Arm, list[Attempt]] = {
        "feedback": [ITEM] * 3,
        "control": [ITEM, dataclasses.replace(ITEM, n_tokens=0, no_room=True)],
    }
    result = report(start, {"feedback": feedback, "control": control}, spent)
    assert (result["n_tasks"], result["n_items"], result["n_to_repair"]) == (4, 4, 3)
    passed, clean, ok = (result["measures"][name] for name in ("passed", "clean", "ok"))
    assert passed["start"] == 0.5
    assert passed["feedback"] == {
        "share": 0.75, "fixed": 2, "broken": 1, "fixed_items": [("b", 0), ("c", 0)],
        "broken_items": [("a", 0)],
    }  # fmt: skip
    assert (passed["control"]["share"], passed["control"]["fixed"], passed["control"]["broken"]) == (0.75, 1, 0)  # fmt: skip
    assert passed["difference"]["value"] == 0
    assert passed["difference"]["low"] < 0 < passed["difference"]["high"]
    assert passed["difference"]["p"] == 1, "one item each way"
    assert (clean["start"], clean["feedback"]["fixed"], clean["control"]["broken"]) == (0.75, 1, 1)
    assert (ok["start"], ok["feedback"]["share"], ok["control"]["share"]) == (0.25, 0.75, 0.75)
    assert result["spent"] == {
        "feedback": {"answers": 3, "tokens": 21, "no_room": 0},
        "control": {"answers": 2, "tokens": 7, "no_room": 1},
    }
    text = "\n".join(lines(result))
    assert "3 of 4 items to repair, 4 tasks" in text
    assert "control: 2 answers, 7 tokens, 1 prompts too long" in text


def test_items_of_one_task_count_as_one_task() -> None:
    start = state(a="ff", b="f")
    feedback = state(a="pf", b="p")
    result = report(
        start, {"feedback": feedback, "control": start}, {"feedback": [], "control": []}
    )
    passed = result["measures"]["passed"]
    assert passed["feedback"]["share"] == (0.5 + 1) / 2
    assert passed["difference"]["value"] == 0.75
    assert "p" not in passed["difference"], "items of one task are not independent"


def test_what_was_not_measured_is_left_out() -> None:
    start = {key: dataclasses.replace(a, findings=None) for key, a in state(a="p", b="f").items()}
    result = report(start, {"feedback": start, "control": start}, {"feedback": [], "control": []})
    assert list(result["measures"]) == ["passed", "ok"]
    untested = {key: dataclasses.replace(a, outcome=None) for key, a in state(a="p", b="F").items()}
    result = report(untested, {"feedback": untested, "control": untested}, {"feedback": [], "control": []})  # fmt: skip
    assert list(result["measures"]) == ["clean", "ok"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("pfPF"), st.sampled_from("pfPF"), st.sampled_from("pfPF")), min_size=1, max_size=12)
)  # fmt: skip
def test_fixed_minus_broken_is_the_gain(letters: list[tuple[str, str, str]]) -> None:
    before, one, other = (
        state(**{f"t{i}": column for i, column in enumerate(columns)})
        for columns in zip(*letters, strict=True)
    )
    result = report(before, {"feedback": one, "control": other}, {"feedback": [], "control": []})
    for row in result["measures"].values():
        for arm in ("feedback", "control"):
            gain = (row[arm]["share"] - row["start"]) * len(letters)
            assert abs(gain - (row[arm]["fixed"] - row[arm]["broken"])) < 1e-9
        difference = row["difference"]
        assert difference["low"] <= difference["value"] + 1e-9
        assert difference["value"] <= difference["high"] + 1e-9
    same = report(before, {"feedback": one, "control": one}, {"feedback": [], "control": []})
    assert all(
        r["difference"]["value"] == 0 and r["difference"]["interval"] == "wilson"
        for r in same["measures"].values()
    )
