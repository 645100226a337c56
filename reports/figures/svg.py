"""Draws inline SVG with matplotlib, in the colours of the page's stylesheet.

Matplotlib draws with placeholder colours, which become CSS variables, so one drawing fits the light
and the dark theme. Matplotlib is imported when the first figure is drawn.
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from melange.reports.styles import NUM_COLOURS
from melange.reports.units import significant

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
FONT_PT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A figure's name, texts and size."""

    name: str
    """Unique on the page: ids start with it, so that figures can share a page."""
    width_in: float
    height_in: float
    description: str
    """For screen readers."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Group id set by `paint` -> text shown when the pointer is on the group."""


def draw(frame: Frame, paint: Callable[[Any], None]) -> str:
    """An SVG element; `paint` draws on an empty matplotlib figure.

    The same figure gives the same text: ids are salted with the name, and no date is written.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Any: the stubs want one literal type per key.
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": frame.name,
        "font.size": FONT_PT,
        "font.family": "DejaVu Sans",
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(frame.width_in, frame.height_in))
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        paint(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), frame)


def quiet(axes: Any) -> None:
    """Style: a grid in the background, two thin axes, numbers formatted as in tables."""
    from matplotlib.ticker import FuncFormatter

    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y)))
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.patch.set_alpha(0)
    axes.tick_params(which="both", color=GRID, labelcolor=MUTED, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)


def _tick(value: float) -> str:
    text = significant(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _inline(svg: str, frame: Frame) -> str:
    """Turns an SVG file into an element of a page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{frame.name}-\1"', body)
    body = re.sub(r'(href="#|url\(#)', rf"\1{frame.name}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font(-family)?: ([^;\"]*)'DejaVu Sans'[^;\"]*", _font, body)
    group = re.compile(rf'<g id="{re.escape(frame.name)}-([^"]+)">')
    body = group.sub(lambda found: found[0] + _title(frame.titles.get(found[1])), body)
    label = escape(frame.description, quote=True)
    view_box = re.search(r'viewBox="([^"]+)"', body)
    assert view_box is not None
    inside = body[body.index(">") + 1 :]
    return f'<svg class="plot" role="img" aria-label="{label}" viewBox="{view_box[1]}">{inside}'


def _title(text: str | None) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _font(match: re.Match[str]) -> str:
    return f"font{match[1] or ''}: {match[2]}var(--sans)"
