"""Accuracy, coverage and agreement of small hand-made tables."""

from __future__ import annotations

import pytest

from evaluator.judging.rubric import RUBRICS, Judgement
from evaluator.judging.summary import majority, summarize

IDS = [f"i{n}" for n in range(10)]


def said(rater: str, votes: str) -> dict[str, Judgement]:
    """One character per item: 1, 0, ? unreadable, - not judged."""
    return {
        id: Judgement(id=id, rater=rater, values=None if v == "?" else {"correct": int(v)})
        for id, v in zip(IDS, votes, strict=True)
        if v != "-"
    }


def test_unreadable_is_a_failure_and_coverage_says_how_many() -> None:
    found = summarize(IDS, {"judge": said("judge", "1111110??-")}, "issues")["raters"]["judge"]
    assert (found["asked"], found["unreadable"], found["coverage"]) == (9, 2, 0.7)
    assert found["correct"]["value"] == pytest.approx(6 / 9)
    assert found["correct"]["n"] == 9
    assert found["correct"]["of_readable"]["value"] == pytest.approx(6 / 7)
    assert found["correct"]["low"] < 6 / 9 < found["correct"]["high"]


def test_agreement_is_over_what_both_judged() -> None:
    raters = {"a": said("a", "1111100000"), "b": said("b", "111110000?"), "c": said("c", "0000011111")}  # fmt: skip
    found = summarize(IDS, raters, "issues")["agreement"]["correct"]
    ab, ac, bc = found["pairs"]
    assert (ab["raters"], ab["n"], ab["same"], ab["cohen_kappa"]) == (["a", "b"], 9, 1.0, 1.0)
    assert (ac["n"], ac["same"], ac["cohen_kappa"]) == (10, 0.0, -1.0)
    assert bc["n"] == 9
    assert found["fleiss"]["n"] == 9
    assert found["weights"] == "none"


def test_one_rater_has_no_agreement() -> None:
    assert "agreement" not in summarize(IDS, {"a": said("a", "1" * 10)}, "issues")


def test_the_majority_and_its_ties() -> None:
    raters = {"a": said("a", "11100-----"), "b": said("b", "11000-----"), "c": said("c", "1-110-----")}  # fmt: skip
    voted, ties = majority(IDS, raters, RUBRICS["issues"][0])
    assert {id: j.values for id, j in voted.items()} == {
        "i0": {"correct": 1},
        "i1": {"correct": 1},
        "i2": {"correct": 1},
        "i3": {"correct": 0},
        "i4": {"correct": 0},
    }
    assert ties == 0
    tied, ties = majority(IDS, {"a": raters["a"], "b": raters["b"]}, RUBRICS["issues"][0])
    assert (tied["i2"].values, ties) == ({"correct": 0}, 1)


def test_scales_have_means_and_weighted_kappa() -> None:
    def scores(rater: str, numbers: list[int]) -> dict[str, Judgement]:
        return {
            id: Judgement(id=id, rater=rater, values={"logic": n, "accuracy": n, "format": n})
            for id, n in zip(IDS, numbers, strict=False)
        }

    raters = {"a": scores("a", [1, 2, 3]), "b": scores("b", [1, 3, 3])}
    found = summarize(IDS[:3], raters, "comments")
    assert found["raters"]["a"]["logic"]["value"] == 2
    agreement = found["agreement"]["logic"]
    assert agreement["weights"] == "quadratic"
    assert agreement["pairs"][0]["cohen_kappa"] == pytest.approx(0.8)
