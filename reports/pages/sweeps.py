"""Accuracy by coefficient, and along a training run."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from melange.reports.analysis.run import Reading, Run
from melange.reports.analysis.sweeps import Series, sweeps, trajectories
from melange.reports.figures.curves import Curve, Level, Multiples, Panel, draw_multiples
from melange.reports.page import Block, Column, Page, Section, Table, slugs
from melange.reports.tables.board_column import BoardCell, BoardColumn
from melange.reports.units import PERCENT
from melange.reports.view import RunView


def curves(
    find: Callable[[Run], list[Series]], words: str, view: RunView, subject: str
) -> Block | None:
    """A figure for each series that `find` returns."""
    series = find(view.run)
    stems = slugs([f"sweep {one.title}" for one in series]).values()
    figures = [
        figure
        for one, stem in zip(series, stems, strict=True)
        if (figure := _figure(view, one, stem)) is not None
    ]
    if not figures:
        return None
    return Block(
        data={"figures": figures, "words": words},
        tables={figure["stem"]: figure["table"] for figure in figures},
    )


def _figure(view: RunView, series: Series, stem: str) -> dict[str, Any] | None:
    """None if fewer than two points have an accuracy."""
    wanted = [c for c in view.columns if c.key == "mean" or c.group == "domain"]
    panels = [panel for column in wanted if (panel := _panel(view, series, column)) is not None]
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
        "table": _table(view, series, wanted),
        "gaps": [levels, *_gaps(series, wanted)],
    }


def _panel(view: RunView, series: Series, column: BoardColumn) -> Panel | None:
    found = [(x, name, column.cells[name]) for x, name in series.points]
    # A mean over only some of the tasks does not belong on this curve.
    known = [(x, name, c.reading) for x, name, c in found if c.reading.value is not None
             and not c.note]  # fmt: skip
    if len(known) < 2:
        return None
    curve = Curve(
        label=series.title,
        style=view.style(known[0][1]),
        x=[x for x, _, _ in known],
        y=[reading.known / PERCENT.factor for _, _, reading in known],
        bounds=[_bounds(reading) for _, _, reading in known],
    )
    return Panel(title=column.label, curves=[curve], levels=_levels(series, column))


def _levels(series: Series, column: BoardColumn) -> list[Level]:
    found = {name: column.cells[name] for name in series.levels}
    return [
        Level(label=name, y=cell.reading.known / PERCENT.factor, bounds=_bounds(cell.reading))
        for name, cell in found.items()
        if cell.reading.value is not None and not cell.note
    ]


def _bounds(reading: Reading) -> tuple[float, float]:
    low, high = reading.bounds
    return low / PERCENT.factor, high / PERCENT.factor


def _gaps(series: Series, wanted: list[BoardColumn]) -> list[str]:
    mean = wanted[0].cells
    lacking = [(name, mean[name]) for _, name in series.points]
    return [
        f"Not drawn: {name} ({cell.note or cell.reading.reason})."
        for name, cell in lacking
        if cell.note or cell.reading.value is None
    ]


def _table(view: RunView, series: Series, wanted: list[BoardColumn]) -> Table:
    """One row per mean and point; levels have no x."""
    points = [*series.points, *((None, level) for level in series.levels)]
    return Table(
        columns=[
            Column("candidate", lambda row: row[2]),
            Column("family", lambda row: view.run.families[row[2]]),
            Column(series.x_label, lambda row: row[1]),
            Column("tasks", lambda row: row[0].label),
            Column("accuracy", lambda row: _noted(row[0].cells[row[2]])),
        ],
        rows=[(column, x, name) for column in wanted for x, name in points],
    )


def _noted(cell: BoardCell) -> Reading:
    return replace(cell.reading, reason=cell.note or cell.reading.reason)


OVER_COEFFICIENTS = (
    "Candidates whose recipes differ only in their coefficients, as one curve. "
    "Bars and bands are 95 % intervals."
)
ALONG_TRAINING = (
    "Averages over the checkpoints of one training run, by the last step that they include. "
    "Bars and bands are 95 % intervals."
)
FIGURES = "sections/figures.html"
PAGE = Page(
    name="sweeps",
    title="Sweeps",
    order=60,
    sections=(
        Section("Over a coefficient", FIGURES, partial(curves, sweeps, OVER_COEFFICIENTS)),
        Section("Along training", FIGURES, partial(curves, trajectories, ALONG_TRAINING)),
    ),
)
