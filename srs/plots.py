"""The report's plots: records in, a figure out; drawn without pyplot, so no global state changes.

Colours are Okabe and Ito's (readable with every common colour blindness), and every series differs in
marker, dash or place as well. `inline_svg` turns them into CSS variables that follow the page's theme.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from srs.types import Outcome, RoundRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1b2027",
    "muted": "#5a6472",
    "grid": "#e2e5ea",
    "surface": "#ffffff",
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "green": "#009e73",
    "orange": "#e69f00",
    "sky": "#56b4e9",
    "purple": "#cc79a7",
    "yellow": "#f0e442",
    "grey": "#8f98a3",
}
SERIES = ("blue", "orange", "sky", "green", "purple", "vermillion", "yellow", "grey")
OUTCOME_COLOURS: dict[Outcome, str] = {
    "passed": "blue",
    "failed": "vermillion",
    "error": "sky",
    "timeout": "purple",
    "memory": "yellow",
    "output_limit": "grey",
    "no_code": "orange",
    "tampered": "ink",
}
PHASES = ("plan", "generate", "grade", "train", "eval")
MAX_BARS = 60
"""More rounds than this are drawn as stepped areas: one shape a series, not one a round."""
MAX_INTERVALS = 14


def held_out(records: Sequence[RoundRecord]) -> Figure | None:
    """Pass@1 on the held-out tasks per round, with its 95% interval; None when nothing is measured."""
    points = [r for r in records if r.val_pass_at_1 is not None]
    if not points:
        return None
    figure, axes = _axes()
    rounds = [r.round for r in points]
    values = [100 * (r.val_pass_at_1 or 0) for r in points]
    band = [r for r in points if r.val_ci_low is not None and r.val_ci_high is not None]
    axes.fill_between(
        [r.round for r in band],
        [100 * (r.val_ci_low or 0) for r in band],
        [100 * (r.val_ci_high or 0) for r in band],
        color=COLOURS["blue"],
        alpha=0.16,
        linewidth=0,
    )
    if len(band) <= MAX_BARS:
        axes.vlines(
            [r.round for r in band],
            [100 * (r.val_ci_low or 0) for r in band],
            [100 * (r.val_ci_high or 0) for r in band],
            color=COLOURS["blue"],
            linewidth=1,
        )
    axes.plot(rounds, values, color=COLOURS["blue"], linewidth=2, **_marker("o", len(points)))
    for i in {0, len(points) - 1}:
        axes.annotate(
            f"{values[i]:.1f}%",
            (rounds[i], max(values[i], 100 * (points[i].val_ci_high or 0))),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
            color=COLOURS["ink"],
        )
    _per_cent(axes, values + [100 * (r.val_ci_high or 0) for r in band])
    _rounds(axes, rounds)
    return figure


def pass_rates(records: Sequence[RoundRecord]) -> Figure | None:
    """Share of candidates that passed, tasks never tried before against tasks that came back."""
    series = (
        ("new", "blue", "o", "-", [(r.round, r.pass_rate_new) for r in records]),
        ("review", "vermillion", "s", "--", [(r.round, r.pass_rate_review) for r in records]),
    )
    figure, axes = _axes()
    everything: list[float] = []
    rounds: list[int] = []
    for label, colour, marker, dash, points in series:
        known = [(x, 100 * y) for x, y in points if y is not None]
        if not known:
            continue
        xs, ys = [x for x, _ in known], [y for _, y in known]
        style: dict[str, Any] = _marker(marker, len(xs))
        axes.plot(
            xs, ys, dash, color=COLOURS[colour], linewidth=2, label=label, clip_on=False, **style
        )
        everything += ys
        rounds += xs
    if not rounds:
        return None
    _per_cent(axes, everything)
    _rounds(axes, rounds)
    _legend(axes)
    return figure


def outcomes(tallies: Mapping[int, Mapping[Outcome, int]]) -> Figure | None:
    """What became of each round's candidates, as shares of all."""
    rounds = [n for n in sorted(tallies) if sum(tallies[n].values())]
    names = [o for o in OUTCOME_COLOURS if any(tallies[n].get(o) for n in rounds)]
    layers = [
        (
            name.replace("_", " "),
            OUTCOME_COLOURS[name],
            [100 * tallies[n].get(name, 0) / sum(tallies[n].values()) for n in rounds],
        )
        for name in names
    ]
    figure = _stacked(rounds, layers)
    if figure:
        figure.axes[0].set_ylim(0, 100)
        figure.axes[0].yaxis.set_major_formatter("{x:.0f}%")
    return figure


def cards(records: Sequence[RoundRecord]) -> Figure | None:
    """How many cards are active, graduated and skipped after each round."""
    trained = [r for r in records if r.active + r.graduated + r.skipped]
    layers: list[tuple[str, str, list[float]]] = [
        ("graduated", "blue", [r.graduated for r in trained]),
        ("active", "sky", [r.active for r in trained]),
        ("skipped", "orange", [r.skipped for r in trained]),
    ]
    return _stacked([r.round for r in trained], layers)


def intervals(counts: Mapping[int, int]) -> Figure | None:
    """How many cards return after how many rounds."""
    from matplotlib.ticker import MaxNLocator

    groups = _interval_groups({k: n for k, n in counts.items() if n})
    if not groups:
        return None
    figure, axes = _axes()
    bars = axes.bar(
        [label for label, _ in groups], [n for _, n in groups], width=0.8, color=COLOURS["blue"]
    )
    axes.bar_label(bars, color=COLOURS["ink"], padding=2, fontsize=8)
    axes.margins(y=0.12)
    axes.set_xlim(-0.6, max(len(groups), 5) - 0.4)
    axes.set_xlabel("interval, rounds")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    axes.grid(False, axis="x")
    return figure


def seconds(records: Sequence[RoundRecord]) -> Figure | None:
    """Where each round's time went."""
    timed = [r for r in records if r.seconds]
    longest = max((sum(r.seconds.values()) for r in timed), default=0.0)
    unit, size = ("hours", 3600) if longest > 7200 else ("minutes", 60) if longest > 300 else ("seconds", 1)  # fmt: skip
    names = sorted({p for r in timed for p in r.seconds}, key=_phase_order)
    layers = [
        (name, SERIES[i % len(SERIES)], [r.seconds.get(name, 0.0) / size for r in timed])
        for i, name in enumerate(names)
    ]
    figure = _stacked([r.round for r in timed], layers)
    if figure:
        figure.axes[0].set_ylabel(unit)
    return figure


def inline_svg(figure: Figure, prefix: str) -> str:
    """The figure as an ``<svg>`` element: themed by CSS variables, ids unique through ``prefix``.

    Holds nothing that a browser would load. Hidden from assistive technology: the page says in words
    what the plot shows.
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box, "matplotlib's svg has a viewBox"
    svg = re.sub(r"<svg[^>]*>", f'<svg {view_box[0]} aria-hidden="true">', svg, count=1)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = re.sub(r"(font: [^;\"]*?\d(?:px)?) [^;\"]*", r"\1 var(--font)", svg)
    for name, value in COLOURS.items():
        svg = svg.replace(value, f"var(--{name})")
    return svg


def save(figure: Figure, file: Any, kind: str) -> None:
    """Write the figure as ``kind``, svg or png, in the light theme on an opaque background."""
    with style():
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(file, format=kind, facecolor=COLOURS["surface"], dpi=200, metadata=metadata)


def style() -> Any:
    """The look of every figure, as a context: it holds where a figure is made and where it is saved."""
    import matplotlib

    return matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "srs",
            "font.family": "sans-serif",
            "font.size": 9,
            "axes.edgecolor": COLOURS["grid"],
            "axes.labelcolor": COLOURS["muted"],
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.spines.left": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": COLOURS["grid"],
            "grid.linewidth": 0.8,
            "text.color": COLOURS["ink"],
            "xtick.color": COLOURS["muted"],
            "ytick.color": COLOURS["muted"],
            "xtick.major.size": 0,
            "ytick.major.size": 0,
        }
    )


def _axes() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(5.0, 2.7), layout="constrained")
        return figure, figure.add_subplot()


def _stacked(rounds: list[int], layers: Sequence[tuple[str, str, list[float]]]) -> Figure | None:
    if not rounds:
        return None
    figure, axes = _axes()
    bottom = [0.0] * len(rounds)
    for label, colour, heights in layers:
        top = [low + height for low, height in zip(bottom, heights, strict=True)]
        style: dict[str, Any] = {"label": label, "color": COLOURS[colour]}
        if len(rounds) <= MAX_BARS:
            axes.bar(
                rounds, heights, 0.86, bottom, edgecolor=COLOURS["surface"], linewidth=0.6, **style
            )
        else:
            axes.fill_between(rounds, bottom, top, step="mid", linewidth=0, **style)
        bottom = top
    axes.set_ylim(0, max(max(bottom), 1e-9) * 1.02)
    _rounds(axes, rounds)
    _legend(axes)
    return figure


def _rounds(axes: Axes, rounds: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    axes.set_xlim(min(rounds) - 0.6, max(rounds) + 0.6)
    axes.grid(False, axis="x")


def _per_cent(axes: Axes, values: Sequence[float]) -> None:
    axes.set_ylim(0, min(104, max(10.0, 1.15 * max(values))))
    axes.yaxis.set_major_formatter("{x:.0f}%")


def _marker(marker: str, n: int) -> dict[str, Any]:
    if n > MAX_BARS:
        return {}
    return {"marker": marker, "markersize": 5, "markeredgecolor": COLOURS["surface"]}


def _legend(axes: Axes) -> None:
    n = len(axes.get_legend_handles_labels()[1])
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.99),
        ncols=n if n <= 6 else 4,
        fontsize=8,
        columnspacing=1.0,
        handlelength=1.2 if n > 2 else 2.2,
        handletextpad=0.5,
        frameon=False,
        labelcolor=COLOURS["ink"],
    )


def _phase_order(name: str) -> tuple[int, str]:
    return (PHASES.index(name) if name in PHASES else len(PHASES), name)


def _interval_groups(counts: Mapping[int, int]) -> list[tuple[str, int]]:
    """Labelled bars: one for each interval, or for each doubling when there are many."""
    if len(counts) <= MAX_INTERVALS:
        return [(str(k), counts[k]) for k in sorted(counts)]
    groups: dict[int, int] = {}
    for interval, n in sorted(counts.items()):
        groups[interval.bit_length()] = groups.get(interval.bit_length(), 0) + n
    return [(f"{1 << (b - 1)}-{(1 << b) - 1}" if b > 1 else str(b), n) for b, n in groups.items()]
