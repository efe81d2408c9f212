"""Results as a picture: horizontal bars, one panel below the other."""

from __future__ import annotations

from pathlib import Path

import matplotlib

from .results import Panel, Result

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Patch

__all__ = ["draw"]

# Okabe and Ito's palette, told apart by the colour-blind too; by series, (ours, others)
_COLOURS = [("#0072B2", "#A6C8DD"), ("#D55E00", "#EBC3A4"), ("#009E73", "#A6D5C7")]
_NO_LOOP = "-"
_NEUTRAL = "#555555"  # for what runs on no event loop
_CLEAR = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
_HEIGHT = 0.38  # of a bar; a label has room for two


def draw(result: Result, path: Path) -> None:
    """Write the panels of `result` to `path`, as PNG or SVG by its name."""
    panels = [panel for panel in result.panels if panel.bars]
    labels = [len(dict.fromkeys(bar.label for bar in panel.bars)) for panel in panels] or [1]
    pyplot.rcParams.update({"svg.hashsalt": "aiomcast", "font.size": 10})
    figure, axes = pyplot.subplots(
        len(labels),
        figsize=(10, sum(1.4 + 0.48 * count for count in labels)),
        gridspec_kw={"height_ratios": labels},
        squeeze=False,
        layout="constrained",
    )
    for panel, (axis,) in zip(panels, axes, strict=False):
        _draw(panel, axis)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, dpi=130, metadata=metadata)
    pyplot.close(figure)


def _draw(panel: Panel, axis: Axes) -> None:
    labels = list(dict.fromkeys(bar.label for bar in panel.bars))
    series = list(dict.fromkeys(bar.series for bar in panel.bars if bar.series != _NO_LOOP))
    drawn = {(bar.label, bar.series) for bar in panel.bars}
    longest = max(bar.value for bar in panel.bars)
    for bar in panel.bars:
        number = series.index(bar.series) if bar.series in series else 0
        ours, others = _COLOURS[number % len(_COLOURS)] if bar.series in series else (_NEUTRAL, _NEUTRAL)
        among = [name for name in [*series, _NO_LOOP] if (bar.label, name) in drawn]
        at = labels.index(bar.label) + (among.index(bar.series) - (len(among) - 1) / 2) * _HEIGHT
        axis.barh(at, bar.value, height=_HEIGHT * 0.92, color=ours if bar.ours else others)
        axis.annotate(
            _text(bar.value), (bar.value, at), (4, 0), textcoords="offset points", va="center", bbox=_CLEAR
        )
    axis.set_yticks(range(len(labels)), labels)
    for tick, label in zip(axis.get_yticklabels(), labels, strict=True):
        if any(bar.ours and bar.label == label for bar in panel.bars):
            tick.set_fontweight("bold")
    axis.invert_yaxis()
    if panel.log:
        axis.set_xscale("log")
        axis.set_xlim(min(bar.value for bar in panel.bars) / 2, longest * 2)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    else:
        axis.set_xlim(0, longest * 1.15)
    if panel.reference is not None:
        axis.axvline(panel.reference, color="black", linewidth=1, linestyle="--")
    axis.set_title(panel.title, loc="left", fontweight="bold", pad=24)
    axis.set_xlabel(panel.axis)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", which="major", alpha=0.3)
    axis.set_axisbelow(True)
    keys = [Patch(color=_COLOURS[n % len(_COLOURS)][0], label=name) for n, name in enumerate(series)]
    axis.legend(handles=keys, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(keys), frameon=False)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
