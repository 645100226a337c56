"""Accuracy over a coefficient."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from melange.reports.analysis.run import Reading
from melange.reports.analysis.sweeps import Series, sweeps
from melange.reports.figures.curves import Curve, Level, Multiples, Panel, draw_multiples
from melange.reports.pages import Block
from melange.reports.tables.board_column import Column
from melange.reports.units import PERCENT
from melange.reports.view import Report, slugs


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """A section of figures, one for each series that `find` returns."""

    order: int
    title: str
    words: str
    find: Any
    page: str = "sweeps"
    template: str = "sections/figures.html"

    def block(self, report: Report, subject: str) -> Block | None:
        series = self.find(report.run)
        stems = slugs([f"sweep {one.title}" for one in series]).values()
        figures = [
            figure
            for one, stem in zip(series, stems, strict=True)
            if (figure := _figure(report, one, stem)) is not None
        ]
        if not figures:
            return None
        return Block(
            data={"figures": figures, "words": self.words},
            tables={figure["stem"]: figure["frame"] for figure in figures},
        )


def _figure(report: Report, series: Series, stem: str) -> dict[str, Any] | None:
    """None where fewer than two of the series' points have an accuracy."""
    wanted = [c for c in report.columns if c.key == "mean" or c.group == "domain"]
    panels = [panel for column in wanted if (panel := _panel(report, series, column)) is not None]
    if not panels:
        return None
    plot = Multiples(
        name=stem,
        panels=panels,
        x_label=series.x_label,
        y_label="Accuracy (%)",
        description=f"{series.title}: accuracy over {series.x_label}, for all tasks and by domain; "
        "the values are in the linked CSV file.",
    )
    levels = f"Dashed, with their intervals: {', '.join(series.levels)}." if series.levels else ""
    return {
        "stem": stem,
        "title": series.title,
        "svg": draw_multiples(plot),
        "frame": _frame(report, series, wanted),
        "gaps": [levels, *_gaps(series, wanted)],
    }


def _panel(report: Report, series: Series, column: Column) -> Panel | None:
    found = [(x, name, column.cells[name]) for x, name in series.points]
    # A mean over only some of the tasks is no point of this curve.
    known = [(x, name, c.reading) for x, name, c in found if c.reading.value is not None
             and not c.note]  # fmt: skip
    if len(known) < 2:
        return None
    curve = Curve(
        label=series.title,
        look=report.look(known[0][1]),
        x=[x for x, _, _ in known],
        y=[reading.known / PERCENT.factor for _, _, reading in known],
        bounds=[_bounds(reading) for _, _, reading in known],
    )
    return Panel(title=column.label, curves=[curve], levels=_levels(series, column))


def _levels(series: Series, column: Column) -> list[Level]:
    found = {name: column.cells[name] for name in series.levels}
    return [
        Level(label=name, y=cell.reading.known / PERCENT.factor, bounds=_bounds(cell.reading))
        for name, cell in found.items()
        if cell.reading.value is not None and not cell.note
    ]


def _bounds(reading: Reading) -> tuple[float, float]:
    low, high = reading.bounds
    return low / PERCENT.factor, high / PERCENT.factor


def _gaps(series: Series, wanted: list[Column]) -> list[str]:
    mean = wanted[0].cells
    lacking = [(name, mean[name]) for _, name in series.points]
    return [
        f"Not drawn: {name} ({cell.note or cell.reading.reason})."
        for name, cell in lacking
        if cell.note or cell.reading.value is None
    ]


def _frame(report: Report, series: Series, wanted: list[Column]) -> pd.DataFrame:
    points = [(x, name) for x, name in series.points]
    return pd.DataFrame(
        {
            "candidate": name,
            "family": report.run.families[name],
            series.x_label: x,
            "tasks": column.label,
            "accuracy": cell.reading.value,
            "accuracy_ci_low": cell.reading.low,
            "accuracy_ci_high": cell.reading.high,
            "accuracy_n": cell.reading.n,
            "accuracy_gap": cell.note or cell.reading.reason,
        }
        for column in wanted
        for x, name in [*points, *((None, level) for level in series.levels)]
        for cell in [column.cells[name]]
    )


SECTION = Curves(
    order=10,
    title="Over a coefficient",
    words="Candidates whose recipes differ only in their coefficients, as one curve. "
    "Bars and bands are 95 % intervals.",
    find=sweeps,
)
