"""Draws small multiples of curves with intervals, on shared axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from melange.reports.figures.svg import (
    FAMILY,
    FONT_PT,
    INK,
    MATPLOTLIB_MARKERS,
    MUTED,
    SURFACE,
    Frame,
    draw,
    quiet,
)
from melange.reports.styles import FamilyStyle

PANEL_IN = (3.6, 2.7)
MAX_COLUMNS = 3
LABELLED = 4
"""Labelled curves in a panel; more labels would overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points sorted by x, in the units of the axes' labels."""

    label: str
    style: FamilyStyle
    x: Sequence[float]
    y: Sequence[float]
    bounds: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A horizontal line: a value that does not depend on x."""

    label: str
    y: float
    bounds: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    title: str
    curves: Sequence[Curve]
    levels: Sequence[Level] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiples:
    name: str
    panels: Sequence[Panel]
    x_label: str
    y_label: str
    description: str
    log_x: bool = False
    """For x that doubles with each step; its values are the ticks."""


def draw_multiples(plot: Multiples) -> str:
    """An SVG element with a title per curve."""
    columns = min(MAX_COLUMNS, len(plot.panels))
    rows = -(-len(plot.panels) // columns)
    titles = {
        f"curve-{p}-{c}": curve.label
        for p, panel in enumerate(plot.panels)
        for c, curve in enumerate(panel.curves)
    }
    # A single panel is as wide as two.
    width = PANEL_IN[0] * (columns if columns > 1 else 1.7)
    frame = Frame(
        name=plot.name,
        width_in=width,
        height_in=(PANEL_IN[1] if columns > 1 else 3.6) * rows + 0.3,
        description=plot.description,
        titles=titles,
    )
    return draw(frame, lambda figure: _paint(figure, plot, rows, columns))


def _paint(figure: Any, plot: Multiples, rows: int, columns: int) -> None:
    height, width = figure.get_figheight(), figure.get_figwidth()
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.15 / width, top=1 - 0.35 / height, bottom=0.62 / height,
        wspace=0.12, hspace=0.34,
    )  # fmt: skip
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for at, axes in enumerate(grid.flat):
        if at >= len(plot.panels):
            axes.set_visible(False)
            continue
        _draw_panel(axes, plot, at)
        if at % columns == 0:
            axes.set_ylabel(plot.y_label, color=INK, fontsize=FONT_PT - 1)
        if at + columns >= len(plot.panels):
            axes.set_xlabel(plot.x_label, color=INK, fontsize=FONT_PT - 1)
            axes.tick_params(labelbottom=True)


def _draw_panel(axes: Any, plot: Multiples, at: int) -> None:
    panel = plot.panels[at]
    if plot.log_x:
        _double(axes, sorted({x for p in plot.panels for c in p.curves for x in c.x}))
    quiet(axes)
    axes.margins(x=0.08, y=0.12)
    axes.set_title(panel.title, color=INK, fontsize=FONT_PT, loc="left", pad=6)
    for level in panel.levels:
        _draw_level(axes, level)
    for number, curve in enumerate(panel.curves):
        _draw_curve(axes, curve, f"curve-{at}-{number}")
    if len(panel.curves) + len(panel.levels) <= LABELLED:
        _name_curves(axes, panel)


def _double(axes: Any, ticks: Sequence[float]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks)
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_level(axes: Any, level: Level) -> None:
    axes.axhspan(*level.bounds, color=MUTED, alpha=0.12, linewidth=0)
    axes.axhline(level.y, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))


def _draw_curve(axes: Any, curve: Curve, gid: str) -> None:
    colour = FAMILY[curve.style.colour]
    low, high = zip(*curve.bounds, strict=True)
    axes.vlines(curve.x, low, high, color=colour, linewidth=1.1, alpha=0.6)
    (line,) = axes.plot(
        curve.x,
        curve.y,
        color=colour,
        linewidth=1.5,
        marker=MATPLOTLIB_MARKERS[curve.style.marker],
        markersize=5.5,
        markeredgecolor=SURFACE,
        markeredgewidth=0.6,
    )
    line.set_gid(gid)


def _name_curves(axes: Any, panel: Panel) -> None:
    """Labels levels at alternating ends, and curves at their last points, without overlap."""
    sides = (("left", axes.get_xlim()[0], 3), ("right", axes.get_xlim()[1], -3))
    for level, (side, end, inwards) in zip(panel.levels, cycle(sides), strict=False):
        axes.annotate(
            level.label, (end, level.y), xytext=(inwards, 2.5), textcoords="offset points",
            ha=side, fontsize=FONT_PT - 2, color=MUTED,
        )  # fmt: skip
    if len(panel.curves) < 2:
        return
    to_points = 72.0 / axes.figure.dpi
    floor = 0.0
    for curve in sorted(panel.curves, key=lambda curve: curve.y[-1]):
        spot = (curve.x[-1], curve.y[-1])
        height = axes.transData.transform(spot)[1] * to_points
        rise = max(7.0, floor - height)
        floor = height + rise + FONT_PT - 1
        axes.annotate(
            curve.label, spot, xytext=(0, rise), textcoords="offset points",
            ha="right", fontsize=FONT_PT - 2, color=INK,
        )  # fmt: skip
