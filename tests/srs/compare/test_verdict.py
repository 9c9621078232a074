"""The rule, on results with known differences."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import arm, run

from srs.compare.analysis import analyse
from srs.compare.page import table_md
from srs.compare.verdict import holm, judge, verdict_md

NAMES = ("uniform", "random_review", "learnability", "leitner", "sm2")


def results(finals: dict[str, float], *, n_seeds: int = 5, panel: int = 0) -> dict[str, Any]:
    """Straight curves to these pass rates, with noise of tasks and seeds but none shared by arms."""

    def rate(name: str, seed: int, task: int, round: int) -> float:
        wobble = 0.01 * ((task * 7 + seed * 3 + len(name)) % 5 - 2)
        return 0.2 + (finals[name] - 0.2 + wobble) * round / 8

    runs = [
        run(name, seed, rate, n=100, n_panel=panel) for name in finals for seed in range(n_seeds)
    ]
    arms = [arm(name) for name in finals]
    return analyse(runs, arms, level=0.95, resamples=2000, lags=(1, 2, 4, 8))


def test_spacing_helps_when_one_arm_beats_both_controls() -> None:
    found = results(dict(zip(NAMES, (0.5, 0.5, 0.52, 0.6, 0.5), strict=True)))
    verdict = judge(found)
    assert verdict["helps"] is True
    assert verdict["winners"] == ["leitner"]
    assert verdict["arms"]["leitner"]["p"] < 0.05
    assert verdict["arms"]["leitner"]["p_holm"] == pytest.approx(
        2 * verdict["arms"]["leitner"]["p"]
    )
    words = verdict_md(found, verdict, [[0, 1, 2, 3, 4]])
    assert "**Spacing helped here**: leitner beat both" in words
    assert "2 spaced arms were tried" in words
    assert "leitner would still beat both controls" in words
    assert "Budgets are equal" in words


@pytest.mark.parametrize("finals", [(0.5, 0.5, 0.7, 0.6, 0.5), (0.5, 0.7, 0.5, 0.6, 0.5)])
def test_beating_one_control_is_not_enough(finals: tuple[float, ...]) -> None:
    found = results(dict(zip(NAMES, finals, strict=True)))
    verdict = judge(found)
    assert verdict["helps"] is False
    assert verdict["winners"] == []
    assert verdict["arms"]["leitner"]["p"] == 1.0, "far behind is no evidence for it"
    words = verdict_md(found, verdict, [[0, 1, 2, 3, 4]])
    assert "**Spacing did not help here**" in words
    assert "none would beat both" in words


def test_beating_uniform_alone_is_not_enough() -> None:
    assert (
        judge(results(dict(zip(NAMES, (0.3, 0.6, 0.6, 0.6, 0.6), strict=True))))["helps"] is False
    )


def test_no_verdict_without_controls_spaced_arms_or_seeds() -> None:
    finals = dict(zip(NAMES, (0.5, 0.5, 0.5, 0.9, 0.5), strict=True))
    alone = judge(results({n: f for n, f in finals.items() if n != "learnability"}))
    assert alone["helps"] is None
    assert "learnability" in alone["why"]
    unspaced = judge(results({n: f for n, f in finals.items() if n not in ("leitner", "sm2")}))
    assert unspaced["why"] == "no arm is spaced"
    bare = results({n: f for n, f in finals.items() if n in ("uniform", "random_review")})
    assert "## Against" not in verdict_md(bare, judge(bare), [[0, 1, 2, 3, 4]])
    few = results(finals, n_seeds=4)
    assert judge(few)["helps"] is None
    assert judge(few)["winners"] == ["leitner"]
    words = verdict_md(few, judge(few), [[0, 1, 2], [3]])
    assert "**No verdict**: 4 paired seeds, and the rule needs 5" in words
    assert "Seeds were added in 2 steps" in words


def test_an_unfinished_seed_and_unequal_budgets_are_said() -> None:
    found = results(dict(zip(NAMES, (0.5, 0.5, 0.5, 0.6, 0.5), strict=True)))
    found["notes"] = ["candidates: 800 (uniform, seed 0) to 900 (leitner, seed 0)"]
    words = verdict_md(found, judge(found), [[0, 1, 2, 3, 4, 5]])
    assert "left out: seed 5" in words
    assert "Budgets differ. candidates: 800" in words
    assert "Budgets are equal" not in words


def test_the_table_has_every_arm_and_says_what_was_not_reached() -> None:
    found = results(dict(zip(NAMES, (0.6, 0.5, 0.52, 0.7, 0.4), strict=True)), panel=6)
    page = table_md(found)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    order = [cells[0].strip("| ") for cells in rows if len(cells) == 8]
    assert order[2:] == [
        "leitner (spaced)", "uniform", "learnability", "random_review", "sm2 (spaced)"
    ]  # fmt: skip
    assert "not reached [not reached, not reached]" in page
    assert all(len({len(c) for c in rows if len(c) == n}) <= 1 for n in (8, 9))


@settings(deadline=None)  # a busy machine is not a broken law
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= a <= 1 for p, a in zip(ps, adjusted, strict=True))
    assert max(adjusted) >= min(1.0, len(ps) * min(ps))
    order = sorted(range(len(ps)), key=ps.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
