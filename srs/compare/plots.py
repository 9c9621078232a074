"""Two figures, one small panel for each arm: learning curves, and forgetting by lag.

Every panel repeats the target arm in grey, so that each arm is read against the same line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srs.compare.arms import TARGET
from srs.plots import COLOURS, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
SPACED, OTHER, REFERENCE = "blue", "vermillion", "grey"
Draw = Callable[["Axes", Mapping[str, Any], str, bool], None]


def write(results: Mapping[str, Any], out: Path) -> list[Path]:
    """``curves.svg`` and, with a panel, ``forgetting.svg``; the files written."""
    figures = {"curves.svg": curves(results)}
    if any(f for arm in results["arms"].values() for f in arm["forgetting"].values()):
        figures["forgetting.svg"] = forgetting(results)
    for name, figure in figures.items():
        save(figure, out / name, "svg")
    return [out / name for name in figures]


def curves(results: Mapping[str, Any]) -> Figure:
    """Held-out pass@1 over practised candidates, with interval bands."""

    def draw(axes: Axes, arm: Mapping[str, Any], colour: str, is_reference: bool) -> None:
        x = [point["candidates"] for point in arm["curve"]]
        low, value, high = (
            [100 * p[key] for p in arm["curve"]] for key in ("low", "value", "high")
        )
        axes.fill_between(
            x, low, high, color=colour, alpha=0.12 if is_reference else 0.2, linewidth=0
        )
        axes.plot(x, value, "--" if is_reference else "-", color=colour, linewidth=1.6)

    return _panels(results, draw, x="candidates", y="held-out pass@1, %")


def forgetting(results: Mapping[str, Any]) -> Figure:
    """Mean fall of the pass rate of panel tasks by lag; above 0 = forgotten."""
    lags = list(next(iter(results["arms"].values()))["forgetting"])

    def draw(axes: Axes, arm: Mapping[str, Any], colour: str, is_reference: bool) -> None:
        found = [
            (i, arm["forgetting"][lag]) for i, lag in enumerate(lags) if arm["forgetting"][lag]
        ]
        x = [i + (-0.12 if is_reference else 0.12) for i, _ in found]
        value = [100 * f["value"] for _, f in found]
        spread = [[100 * (f["value"] - f["low"]) for _, f in found], [100 * (f["high"] - f["value"]) for _, f in found]]  # fmt: skip
        axes.axhline(0, color=COLOURS["muted"], linewidth=0.6)
        axes.errorbar(
            x, value, yerr=spread, fmt="s" if is_reference else "o", color=colour, markersize=4, linewidth=1.2
        )  # fmt: skip
        axes.set_xticks(range(len(lags)), lags)
        axes.set_xlim(-0.6, len(lags) - 0.4)

    return _panels(results, draw, x="rounds later", y="pass rate lost, points")


def _panels(results: Mapping[str, Any], draw: Draw, *, x: str, y: str) -> Figure:
    """One panel an arm, best final pass@1 first, all on the same scale."""
    from matplotlib.figure import Figure

    arms: Mapping[str, Any] = results["arms"]
    names: Sequence[str] = sorted(arms, key=lambda name: -arms[name]["final"]["value"])
    columns = min(COLUMNS, len(names))
    n_rows = math.ceil(len(names) / columns)
    with style():
        figure = Figure(figsize=(2.4 * columns + 0.5, 1.9 * n_rows + 0.4), layout="constrained")
        grid = figure.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False)
        for name, axes in zip(names, grid.flat, strict=False):
            if name != TARGET and TARGET in arms:
                draw(axes, arms[TARGET], COLOURS[REFERENCE], True)
            colour = REFERENCE if name == TARGET else SPACED if arms[name]["spaced"] else OTHER
            draw(axes, arms[name], COLOURS[colour], False)
            final = 100 * arms[name]["final"]["value"]
            kind = " · spaced" if arms[name]["spaced"] else ""
            axes.set_title(
                f"{name} {final:.1f}%{kind}", fontsize=9, loc="left", color=COLOURS["ink"]
            )
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel(x, fontsize=9, color=COLOURS["muted"])
        figure.supylabel(y, fontsize=9, color=COLOURS["muted"])
    return figure
