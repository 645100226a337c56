"""Scatter plots: accuracy against a cost, with the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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

WIDTH_IN, HEIGHT_IN = 6.2, 4.5
LOG_RATIO = 8.0
"""An axis is logarithmic if the ratio of its extreme values is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    label: str
    style: FamilyStyle
    x: float
    x_bounds: tuple[float, float]
    y: float
    y_bounds: tuple[float, float]
    hollow: bool
    """A mean over only some tasks: drawn hollow, never on the front."""
    href: str
    tooltip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """What to draw; points are in the units of the axes' labels."""

    name: str
    points: Sequence[Point]
    front: Sequence[int]
    """Where the stairs go: no other point is better on both axes."""
    unbeaten: Sequence[int]
    """Points that none beats by more than the intervals; they have a dark edge."""
    x_label: str
    y_label: str
    more_is_better: bool
    """Direction of x, and so of the front's steps."""
    description: str


def draw_scatter(plot: Scatter) -> str:
    """An SVG element with a title per point."""
    titles = {f"point-{i}": point.tooltip for i, point in enumerate(plot.points)}
    frame = Frame(
        name=plot.name,
        width_in=WIDTH_IN,
        height_in=HEIGHT_IN,
        description=plot.description,
        titles=titles,
    )
    return draw(frame, lambda figure: _paint(figure, plot))


def _paint(figure: Any, plot: Scatter) -> None:
    figure.subplots_adjust(left=0.11, right=0.97, bottom=0.13, top=0.97)
    axes = figure.add_subplot()
    _draw_axes(axes, plot)
    _draw_front(axes, plot)
    _draw_points(axes, plot)
    _draw_labels(figure, axes, plot)


def _draw_axes(axes: Any, plot: Scatter) -> None:
    from matplotlib.ticker import (
        LogLocator,
        MaxNLocator,
        NullFormatter,
        SymmetricalLogLocator,
    )

    values = [p.x for p in plot.points]
    positive = [x for x in values if x > 0]
    ratio = max(positive) / min(positive) if positive else 1.0
    if ratio > LOG_RATIO and min(values) >= 0:
        least = min(positive)
        # Linear below the least positive value, so that 0 can be shown.
        zeros = {"linthresh": least, "linscale": 0.5} if min(values) == 0 else {}
        axes.set_xscale("symlog" if zeros else "log", **zeros)
        subs = (1.0, 2.0, 5.0) if ratio < 1000 else (1.0,)
        locator = (
            SymmetricalLogLocator(base=10, linthresh=least) if zeros else LogLocator(subs=subs)
        )
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(-least / 4 if zeros else least / 1.5, max(values) * 1.6)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
        room = (max(values) - min(values)) * 0.14 or abs(max(values)) * 0.1 or 1.0
        axes.set_xlim(max(min(values) - room, 0) if min(values) >= 0 else None, max(values) + room)
    _limit_y(axes, plot)
    axes.set_xlabel(plot.x_label, color=INK, labelpad=8)
    axes.set_ylabel(plot.y_label, color=INK, labelpad=8)
    quiet(axes)


def _limit_y(axes: Any, plot: Scatter) -> None:
    low = min(p.y_bounds[0] for p in plot.points)
    high = max(p.y_bounds[1] for p in plot.points)
    room = (high - low) * 0.1 or 5.0
    axes.set_ylim(max(low - room, -2.0), min(high + room, 103.0))


def _draw_front(axes: Any, plot: Scatter) -> None:
    corners = sorted((plot.points[i].x, plot.points[i].y) for i in plot.front)
    if not corners:
        return
    # Steps, because nothing was measured between two points.
    axes.step(
        [x for x, _ in corners],
        [y for _, y in corners],
        where="pre" if plot.more_is_better else "post",
        color=MUTED,
        linewidth=1.3,
        linestyle=(0, (4, 3)),
        zorder=2,
    )


def _draw_points(axes: Any, plot: Scatter) -> None:
    front = set(plot.unbeaten)
    for i, point in enumerate(plot.points):
        colour = FAMILY[point.style.colour]
        bars = {"color": colour, "linewidth": 1.1, "alpha": 0.55, "zorder": 3}
        axes.plot([point.x, point.x], point.y_bounds, **bars)
        axes.plot(point.x_bounds, [point.y, point.y], **bars)
        (mark,) = axes.plot(
            [point.x],
            [point.y],
            MATPLOTLIB_MARKERS[point.style.marker],
            markersize=9 if i in front else 7.5,
            markerfacecolor=SURFACE if point.hollow else colour,
            markeredgecolor=INK if i in front else colour if point.hollow else SURFACE,
            markeredgewidth=1.4 if i in front or point.hollow else 0.7,
            zorder=5 if i in front else 4,
        )
        mark.set_gid(f"point-{i}")
        mark.set_url(point.href)


def _draw_labels(figure: Any, axes: Any, plot: Scatter) -> None:
    """Labels the front's points where the label covers least."""
    to_points = 72.0 / figure.dpi
    spots = [axes.transData.transform((p.x, p.y)) * to_points for p in plot.points]
    box = axes.get_window_extent()
    frame = (box.x0 * to_points, box.y0 * to_points, box.x1 * to_points, box.y1 * to_points)
    taken = [(x - 5.5, y - 5.5, x + 5.5, y + 5.5) for x, y in spots]
    taken += [_bar_rectangle(axes, point, to_points) for point in plot.points]
    taken += _stairs(axes, plot, to_points)
    for i in sorted(plot.front, key=lambda i: -plot.points[i].y):
        label = _shortened(plot.points[i].label)
        offset, rectangle = place_label(tuple(spots[i]), len(label), taken, frame)
        taken.append(rectangle)
        axes.annotate(
            label,
            (plot.points[i].x, plot.points[i].y),
            xytext=offset,
            textcoords="offset points",
            fontsize=FONT_PT - 1,
            color=INK,
            zorder=6,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkB": 5}
            if abs(offset[1]) > 12
            else None,
        )


def _bar_rectangle(axes: Any, point: Point, to_points: float) -> "Rectangle":
    """The area of the horizontal error bar."""
    left, right = (axes.transData.transform((x, point.y)) * to_points for x in point.x_bounds)
    return (left[0], left[1] - 1.5, right[0], left[1] + 1.5)


def _stairs(axes: Any, plot: Scatter, to_points: float) -> "list[Rectangle]":
    """The area of the front's steps: a horizontal and a vertical piece between each two points."""
    corners = sorted((plot.points[i].x, plot.points[i].y) for i in plot.front)
    found: list[Rectangle] = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        flat, upright = (y1, x0) if plot.more_is_better else (y0, x1)
        for ends in (((x0, flat), (x1, flat)), ((upright, y0), (upright, y1))):
            a, b = (axes.transData.transform(end) * to_points for end in ends)
            left, right = sorted((float(a[0]), float(b[0])))
            bottom, top = sorted((float(a[1]), float(b[1])))
            found.append((left - 1.5, bottom - 1.5, right + 1.5, top + 1.5))
    return found


Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top, in points."""


def place_label(
    spot: tuple[float, float], letters: int, taken: Sequence[Rectangle], frame: Rectangle
) -> tuple[tuple[float, float], Rectangle]:
    """The offset from `spot` at which a label of this length covers least, and its rectangle.

    Leaving the frame counts as covering. Ties go to the nearest offset, right of the point first.
    """
    width, height = letters * (FONT_PT - 1) * 0.6, FONT_PT
    best: tuple[float, tuple[float, float], Rectangle] | None = None
    for distance in (8.0, 18.0, 30.0, 44.0):
        for dx, dy in (
            (distance, -3), (distance, distance), (-distance - width, -3),
            (-distance - width, distance), (-width / 2, distance), (-width / 2, -distance - height),
            (distance, -distance - height), (-distance - width, -distance - height),
        ):  # fmt: skip
            left, bottom = spot[0] + dx, spot[1] + dy
            rectangle = (left, bottom, left + width, bottom + height)
            outside = width * height - _overlap(rectangle, frame)
            cost = sum(_overlap(rectangle, other) for other in taken) + 3 * outside + distance / 4
            if best is None or cost < best[0]:
                best = (cost, (dx, dy), rectangle)
    assert best is not None
    return best[1], best[2]


def _overlap(a: Rectangle, b: Rectangle) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _shortened(label: str, letters: int = 30) -> str:
    return label if len(label) <= letters else label[: letters - 1] + "…"
