"""The rule, on results with known differences."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import arm, protocol, review, run

from srs.compare.analysis import analyse
from srs.compare.page import table_md
from srs.compare.verdict import holm, judge
from srs.compare.words import reach_words, verdict_md

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
    return analyse(runs, arms, level=0.95, resamples=2000, lags=(1, 2, 4, 8), averaged=1)


def test_spacing_helps_when_one_arm_beats_both_controls() -> None:
    found = results(dict(zip(NAMES, (0.5, 0.5, 0.52, 0.6, 0.5), strict=True)))
    verdict = judge(found)
    assert verdict["helps"] is True
    assert verdict["winners"] == ["leitner"]
    assert verdict["arms"]["leitner"]["p"] < 0.05
    assert verdict["arms"]["leitner"]["p_holm"] == pytest.approx(
        2 * verdict["arms"]["leitner"]["p"]
    )
    words = verdict_md(found, verdict, protocol(NAMES, [0, 1, 2, 3, 4]))
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
    words = verdict_md(found, verdict, protocol(NAMES, [0, 1, 2, 3, 4]))
    assert "**Spacing was not shown to help here**" in words
    assert (
        "to either side: a true difference as large as that is found about every second time"
        in words
    )
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
    assert "## Against" not in verdict_md(bare, judge(bare), protocol(NAMES, [0, 1, 2, 3, 4]))
    few = results(finals, n_seeds=4)
    assert judge(few)["helps"] is None
    assert judge(few)["winners"] == ["leitner"]
    words = verdict_md(few, judge(few), protocol(NAMES, [0, 1, 2], [3]))
    assert "**No verdict**: 4 paired seeds, and the rule needs 5" in words
    assert "Seeds were added in 2 steps" in words


def test_an_unfinished_seed_and_unequal_budgets_are_said() -> None:
    found = results(dict(zip(NAMES, (0.5, 0.5, 0.5, 0.6, 0.5), strict=True)))
    found["notes"] = ["candidates: 800 (uniform, seed 0) to 900 (leitner, seed 0)"]
    words = verdict_md(found, judge(found), protocol(NAMES, [0, 1, 2, 3, 4, 5]))
    assert "left out: seed 5" in words
    assert "Budgets differ. candidates: 800" in words
    assert "Budgets are equal" not in words


def test_the_table_has_every_arm_and_says_what_was_not_reached() -> None:
    found = results(dict(zip(NAMES, (0.6, 0.5, 0.52, 0.7, 0.4), strict=True)), panel=6)
    page = table_md(found)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    order = [cells[0].strip("| ") for cells in rows]
    assert order[2:7] == [
        "leitner (spaced)", "uniform", "learnability", "random_review", "sm2 (spaced)"
    ]  # fmt: skip
    assert "not reached [not reached, not reached]" in page
    assert {len(cells) for cells in rows} == {9}
    assert "of the last alone" in page
    assert "Forgetting is not measured" in page, "the panel was never measured at every lag"


ROUNDS, BETWEEN = (0, 8, 16), (9, 10, 12)


def compared(
    lost: dict[str, float], gap: dict[str, tuple[int, int]], *, commit: str = "abc"
) -> dict[str, Any]:
    """Arms that lose so much of the panel 8 rounds after round 8.

    ``gap``: the rounds they wait after a success and after a failure.
    """

    def rate(name: str, seed: int, task: int, round: int) -> float:
        if round == 16:
            return 1 - lost[name] * (1 + 0.2 * ((task + seed) % 3 - 1))
        return 1.0 if round else 0.2

    runs = []
    for name in lost:
        good, bad = gap[name]
        log = [review("a", r, passed=4) for r in range(1, 17, good)]
        log += [review("b", r, passed=0) for r in range(1, 17, bad)]
        runs += [
            run(name, seed, rate, rounds=ROUNDS, panel_rounds=BETWEEN, n_panel=4, n=100, reviews=log,
                commit=commit if name == "leitner" else "abc")
            for seed in range(5)
        ]  # fmt: skip
    arms = [arm(name) for name in lost]
    return analyse(runs, arms, level=0.95, resamples=400, lags=(1, 2, 4, 8), averaged=1)


def test_goals_are_told_with_their_intervals_and_how_much_they_rest_on() -> None:
    lost = dict(zip(NAMES, (0.4, 0.4, 0.4, 0.2, 0.4), strict=True))
    found = compared(lost, dict.fromkeys(NAMES, (4, 4)))
    words = verdict_md(found, judge(found), protocol(NAMES, range(5)))
    goals = words.partition("## Against uniform")[2].partition("##")[0]
    leitner, sm2 = goals.split("- sm2\n")
    final, reach, *falls = [line.strip(" -") for line in leitner.splitlines() if line[:3] == "  -"]
    assert final.startswith("final pass@1: +20.0 points [+")
    assert final.endswith("n = 5 seeds x 20 tasks: higher.")
    assert "candidates to uniform's final pass@1, as a share of all its own: 25% [" in reach
    assert [line.partition(":")[0] for line in falls] == [f"forgetting at lag {n}" for n in (1, 2, 4, 8)]  # fmt: skip
    assert "+19.8 points [+" in falls[-1]
    assert "uniform +39.6 points [+" in falls[-1]
    assert "(n = 20)" in falls[-1]
    assert "difference -19.8 points [-" in falls[-1]
    assert falls[-1].endswith("]: less; 0.50 of uniform's: cannot tell whether less than half.")
    assert falls[0].endswith("difference +0.0 points [+0.0, +0.0]: cannot tell."), (
        "no share of no fall"
    )
    assert "final pass@1: +0.0 points [+0.0, +0.0], n = 5 seeds x 20 tasks: cannot tell." in sm2


@pytest.mark.parametrize(
    ("lost", "words"),
    [(0.1, "0.25 of uniform's: less than half."), (0.3, "0.75 of uniform's: more than half.")],
)
def test_half_the_forgetting_is_claimed_only_where_the_interval_says_so(
    lost: float, words: str
) -> None:
    found = compared(
        dict(zip(NAMES, (0.4, 0.4, 0.4, lost, 0.4), strict=True)), dict.fromkeys(NAMES, (4, 4))
    )
    page = verdict_md(found, judge(found), protocol(NAMES, range(5)))
    (line,) = [line for line in page.splitlines() if words in line]
    assert "forgetting at lag 8" in line
    ours, uniform = (found["arms"][name]["forgetting"]["8"] for name in ("leitner", "uniform"))
    assert ours["above_half"]["value"] == pytest.approx(ours["value"] - uniform["value"] / 2)
    assert uniform["above_half"] is None


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.3, 0.2, 0.5), "30% [20%, 50%], c; 80% of resamples reach it: half or less"),
        ((0.7, 0.51, None), "70% [51%, not reached], c; 80% of resamples reach it: more than half"),
        ((0.4, 0.2, 0.6), "cannot tell whether half is enough"),
        ((0.4, 0.2, None), "cannot tell whether half is enough"),
        ((None, None, None), "its own: not reached [not reached, not reached], c; 80% of resamples reach it: more than half"),
    ],
)  # fmt: skip
def test_half_the_candidates_is_claimed_only_where_the_interval_says_so(
    shares: tuple[float | None, ...], words: str
) -> None:
    reach = dict(zip(("share", "share_low", "share_high"), shares, strict=True))
    assert reach_words({**reach, "reached": 0.8}, "c").endswith(words)


def test_the_gaps_of_every_arm_are_printed_and_a_winner_that_spaced_nothing_is_named() -> None:
    lost = dict(zip(NAMES, (0.4, 0.4, 0.4, 0.2, 0.4), strict=True))
    alike = compared(lost, {**dict.fromkeys(NAMES, (5, 3)), "leitner": (5, 3)})
    words = verdict_md(alike, judge(alike), protocol(NAMES, range(5)))
    assert "**Spacing helped here**: leitner" in words
    assert "- leitner (spaced): mean 3.8, median 3, 0% of 8 or more, 40 gaps; after a success 5.0, after a failure 3.0." in words  # fmt: skip
    assert "leitner won, and its gaps did not grow with success more than the controls'" in words
    spaced = compared(lost, {**dict.fromkeys(NAMES, (5, 3)), "leitner": (8, 3)})
    words = verdict_md(spaced, judge(spaced), protocol(NAMES, range(5)))
    assert "- leitner (spaced): mean 3.8, median 3, 17% of 8 or more, 30 gaps; after a success 8.0, after a failure 3.0." in words  # fmt: skip
    assert "did not grow with success" not in words


def test_differences_outside_the_rule_are_told_too() -> None:
    finals = dict(zip((*NAMES, "hardest"), (0.5, 0.5, 0.52, 0.6, 0.5, 0.55), strict=True))
    found = results(finals)
    words = verdict_md(found, judge(found), protocol(tuple(finals), range(5)))
    (line,) = [line for line in words.splitlines() if line.startswith("- leitner beats both")]
    assert line.count("against") == 4
    assert "Outside the rule: +" in line
    assert "against hardest" in line


def test_the_code_that_made_the_runs_is_told_where_it_is_not_one_clean_commit() -> None:
    lost, gap = dict.fromkeys(NAMES, 0.1), dict.fromkeys(NAMES, (4, 4))
    one = compared(lost, gap)
    assert "code" not in verdict_md(one, judge(one), protocol(NAMES, range(5)))
    allowed = verdict_md(one, judge(one), protocol(NAMES, range(5), codes=("abc", "def+changes")))
    assert "Begun by the code of commit abc, and gone on with by that of def+changes." in allowed
    assert "changes that were not committed" in allowed
    other = compared(lost, gap, commit="xyz")
    words = verdict_md(other, judge(other), protocol(NAMES, range(5)))
    assert "Runs made by other code than this comparison's (abc): 5 by xyz." in words
    none = compared(lost, gap, commit="unknown")
    words = verdict_md(none, judge(none), protocol(NAMES, range(5), codes=("unknown",)))
    assert "It is not known what code made all of it" in words


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
