"""Results in words, for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evaluator.judging.rubric import RUBRICS

OFFLINE = ("logic", "accuracy", "format", "coverage", "overall")


def lines(results: Mapping[str, Any]) -> Iterator[str]:
    """The numbers of a results.json."""
    fields = RUBRICS[results["kind"]]
    without = results["without_answer"]
    yield f"{results['tasks']} answers" + (f", {without} tasks without one" if without else "")
    if offline := results.get("offline"):
        yield "offline scores, mean and 95% interval"
        for name in OFFLINE:
            yield f"  {name:<10}{_share(offline[name])}"
        yield "  code compared by " + ", ".join(f"{how}: {n}" for how, n in offline["compared_by"].items())  # fmt: skip
    for name, rater in results.get("judged", {}).get("raters", {}).items():
        yield from _rater(name, rater, fields)
    if "majority" in results:
        yield from _rater(f"people, majority ({results['majority']['ties']} ties)", results["majority"], fields)  # fmt: skip
    for field, found in results.get("judged", {}).get("agreement", {}).items():
        weights = "" if found["weights"] == "none" else f", {found['weights']} weights"
        for pair in found["pairs"]:
            a, b = pair["raters"]
            yield f"agreement on {field}: {a} and {b}: Cohen's kappa {_plain(pair['cohen_kappa'])}{weights}, the same on {_percent(pair['same'])} of {pair['n']}"  # fmt: skip
        if "fleiss" in found:
            fleiss = found["fleiss"]
            yield f"agreement on {field}: all: Fleiss' kappa {_plain(fleiss['fleiss_kappa'])} on {fleiss['n']}"  # fmt: skip


def _rater(name: str, rater: Mapping[str, Any], fields: Any) -> Iterator[str]:
    unreadable = f", {rater['unreadable']} unreadable count as failures" if rater["unreadable"] else ""  # fmt: skip
    yield f"{name}: verdict on {_percent(rater['coverage'])} of the answers{unreadable}"
    for field in fields:
        shown = _share if field.is_binary else _scale
        label = "accuracy" if field.name == "correct" else field.name
        yield f"  {label:<10}{shown(rater[field.name])}"


def _share(number: Mapping[str, Any]) -> str:
    if number["value"] is None:
        return f"{'-':>7}"
    value, low, high = (100 * number[key] for key in ("value", "low", "high"))
    return f"{value:>6.1f}%  [{low:.1f}, {high:.1f}]  n = {number['n']}"


def _scale(number: Mapping[str, Any]) -> str:
    if number["value"] is None:
        return f"{'-':>7}"
    return f"{number['value']:>7.2f}  [{number['low']:.2f}, {number['high']:.2f}]  of 10, n = {number['n']}"  # fmt: skip


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _plain(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
