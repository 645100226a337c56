"""Data for the script that draws a trend page's charts."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from melange.harness.runs.history import Night
from melange.reports.analysis.run import Reading
from melange.reports.analysis.trends.trends import Trend
from melange.reports.page import PageFile
from melange.reports.units import Scale

if TYPE_CHECKING:
    from melange.reports.series_view import SeriesView


class Charts:
    """The charts of one series of runs on one page, numbered for the page's script."""

    def __init__(self, course: "SeriesView", page: PageFile) -> None:
        self.course = course
        self.page = page
        self._drawn: list[dict[str, Any]] = []

    def add(self, trend: Trend) -> int:
        """The chart's number in `data`."""
        scale = self.course.scales[trend.key.metric]
        self._drawn.append(_chart(trend, scale))
        return len(self._drawn) - 1

    @property
    def data(self) -> Mapping[str, Any]:
        """The script's data; to be read after every chart has been added."""
        nights = self.course.nights
        return {
            "runs": [
                {
                    "time": round(night.started.timestamp()),
                    "name": night.started.strftime("%Y-%m-%d %H:%M"),
                    "href": self.href(night) if night.has_report else None,
                }
                for night in nights
            ],
            "charts": self._drawn,
        }

    def newest(self, trend: Trend) -> Reading:
        """The last value, with a reason if it is not the newest run's."""
        at = int(trend.known[-1])
        seen = self.course.nights[at].started.strftime("%Y-%m-%d")
        low, high, n = (
            None if math.isnan(row[at]) else float(row[at])
            for row in (trend.low_N, trend.high_N, trend.counts_N)
        )
        return Reading(
            value=float(trend.values_N[at]),
            low=low,
            high=high,
            n=None if n is None else int(n),
            reason="" if at == len(self.course.nights) - 1 else f"last measured on {seen}",
        )

    def href(self, night: Night) -> str:
        return f"{self.page.root}{quote(night.name)}/report/index.html"

    def place(self, trend: Trend) -> str:
        """Address of the trend's chart."""
        page = self.course.pages[trend.key.metric]
        return f"{self.page.root}{page.path}#{self.course.anchors[tuple(trend.key)]}"


def _chart(trend: Trend, scale: Scale) -> dict[str, Any]:
    """One number per run, None for a run without it."""
    counts = [None if math.isnan(n) else int(n) for n in trend.counts_N.tolist()]
    known = {counts[at] for at in trend.known}
    return {
        "value": _short(trend.values_N, scale),
        "low": _short(trend.low_N, scale),
        "high": _short(trend.high_N, scale),
        "n": counts if len(known) > 1 else known.pop(),
        "breaks": list(trend.breaks),
        "steps": [[step.at, trend.verdict(step), step.change > 0] for step in trend.steps],
        "levels": [[first, last, _digits(level / scale.factor)]
                   for first, last, level in trend.levels],
        "unit": scale.label,
    }  # fmt: skip


def _short(values_N: Any, scale: Scale) -> list[float | None]:
    return [
        None if math.isnan(value) else _digits(value)
        for value in (values_N / scale.factor).tolist()
    ]


def _digits(value: float) -> float:
    """Four significant digits are enough: a chart is about a hundred pixels high."""
    return float(f"{value:.4g}")
