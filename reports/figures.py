"""Scatter plots as inline SVG that takes its colours from the page's stylesheet.

Matplotlib draws with stand-in colours, which become CSS variables: one drawing suits light and
dark. Matplotlib is imported when the first plot is drawn.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from reports.report import NUM_COLOURS, Look
from reports.units import significant

INK, MUTED, GRID, SURFACE = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
FAMILY = tuple(f"#0b0c{i:02d}" for i in range(NUM_COLOURS))
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--plot-grid", SURFACE: "--surface"} | {
    colour: f"--family-{i}" for i, colour in enumerate(FAMILY)
}
MATPLOTLIB_MARKERS = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "down": "v",
    "plus": "P",
    "cross": "X",
}
WIDTH_IN, HEIGHT_IN, FONT_PT = 6.2, 4.5, 10.0
LOG_RATIO = 8.0
"""An axis whose values span a larger ratio than this is logarithmic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    label: str
    look: Look
    x: float
    x_bounds: tuple[float, float]
    y: float
    y_bounds: tuple[float, float]
    hollow: bool
    """Mean over only some tasks: drawn hollow and never on the front."""
    href: str
    tooltip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """What to draw; the points are in the units that the axes' labels name."""

    name: str
    points: Sequence[Point]
    front: Sequence[int]
    x_label: str
    y_label: str
    more_is_better: bool
    """Of x: decides which way the front's stairs run."""
    description: str


def draw_scatter(plot: Scatter) -> str:
    """An SVG element with a title per point; ids carry the plot's name, so plots can share a page.

    The same plot gives the same text: ids are salted with the name, and no date is written.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Any: the stubs want one literal type per key.
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": plot.name,
        "font.size": FONT_PT,
        "font.family": "DejaVu Sans",
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN))
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        figure.subplots_adjust(left=0.11, right=0.97, bottom=0.13, top=0.97)
        axes = figure.add_subplot()
        _draw_axes(axes, plot)
        _draw_front(axes, plot)
        _draw_points(axes, plot)
        _draw_labels(figure, axes, plot)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), plot)


def _draw_axes(axes: Any, plot: Scatter) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    values = [p.x for p in plot.points]
    if min(values) > 0 and max(values) / min(values) > LOG_RATIO:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(min(values) / 1.5, max(values) * 1.6)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
        room = (max(values) - min(values)) * 0.14 or abs(max(values)) * 0.1 or 1.0
        axes.set_xlim(max(min(values) - room, 0) if min(values) >= 0 else None, max(values) + room)
    _limit_y(axes, plot)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: significant(x)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: significant(y)))
    axes.set_xlabel(plot.x_label, color=INK, labelpad=8)
    axes.set_ylabel(plot.y_label, color=INK, labelpad=8)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.patch.set_alpha(0)
    axes.tick_params(which="both", color=GRID, labelcolor=MUTED, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)


def _limit_y(axes: Any, plot: Scatter) -> None:
    low = min(p.y_bounds[0] for p in plot.points)
    high = max(p.y_bounds[1] for p in plot.points)
    room = (high - low) * 0.1 or 5.0
    axes.set_ylim(max(low - room, -2.0), min(high + room, 103.0))


def _draw_front(axes: Any, plot: Scatter) -> None:
    corners = sorted((plot.points[i].x, plot.points[i].y) for i in plot.front)
    if not corners:
        return
    # Stairs, because nothing between two points has been measured.
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
    front = set(plot.front)
    for i, point in enumerate(plot.points):
        colour = FAMILY[point.look.colour]
        bars = {"color": colour, "linewidth": 1.1, "alpha": 0.55, "zorder": 3}
        axes.plot([point.x, point.x], point.y_bounds, **bars)
        axes.plot(point.x_bounds, [point.y, point.y], **bars)
        (mark,) = axes.plot(
            [point.x],
            [point.y],
            MATPLOTLIB_MARKERS[point.look.marker],
            markersize=9 if i in front else 7.5,
            markerfacecolor=SURFACE if point.hollow else colour,
            markeredgecolor=INK if i in front else colour if point.hollow else SURFACE,
            markeredgewidth=1.4 if i in front or point.hollow else 0.7,
            zorder=5 if i in front else 4,
        )
        mark.set_gid(f"point-{i}")
        mark.set_url(point.href)


def _draw_labels(figure: Any, axes: Any, plot: Scatter) -> None:
    """Name the front's points where the name covers least."""
    to_points = 72.0 / figure.dpi
    spots = [axes.transData.transform((p.x, p.y)) * to_points for p in plot.points]
    box = axes.get_window_extent()
    frame = (box.x0 * to_points, box.y0 * to_points, box.x1 * to_points, box.y1 * to_points)
    taken = [(x - 5.5, y - 5.5, x + 5.5, y + 5.5) for x, y in spots]
    taken += [_bar_rectangle(axes, point, to_points) for point in plot.points]
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
    """What the horizontal error bar covers."""
    left, right = (axes.transData.transform((x, point.y)) * to_points for x in point.x_bounds)
    return (left[0], left[1] - 1.5, right[0], left[1] + 1.5)


Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top, in points."""


def place_label(
    spot: tuple[float, float], letters: int, taken: Sequence[Rectangle], frame: Rectangle
) -> tuple[tuple[float, float], Rectangle]:
    """The offset from `spot` at which a label of so many letters covers least, and its rectangle.

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


def _inline(svg: str, plot: Scatter) -> str:
    """From a file of its own to an element of a page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{plot.name}-\1"', body)
    body = re.sub(r'(href="#|url\(#)', rf"\1{plot.name}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font(-family)?: ([^;\"]*)'DejaVu Sans'[^;\"]*", _font, body)
    for i, point in enumerate(plot.points):
        group = f'<g id="{plot.name}-point-{i}">'
        body = body.replace(group, f"{group}<title>{escape(point.tooltip)}</title>")
    label = escape(plot.description, quote=True)
    view_box = re.search(r'viewBox="([^"]+)"', body)
    assert view_box is not None
    inside = body[body.index(">") + 1 :]
    return f'<svg class="plot" role="img" aria-label="{label}" viewBox="{view_box[1]}">{inside}'


def _font(match: re.Match[str]) -> str:
    return f"font{match[1] or ''}: {match[2]}var(--sans)"
