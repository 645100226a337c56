"""Accuracy against speed, memory and size, with the Pareto fronts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from melange.harness.metrics import METRICS
from melange.reports.analysis.aggregate import Offer, pareto_front, unbeaten
from melange.reports.analysis.board import Standing
from melange.reports.figures.scatter import Point, Scatter, draw_scatter
from melange.reports.page import Block, Column, Section, Table
from melange.reports.tables.board_column import BoardColumn
from melange.reports.units import PERCENT, Scale
from melange.reports.view import RunView

COSTS = {one.name: one.axis for one in METRICS if one.axis}


def block(view: RunView, subject: str) -> Block | None:
    if not view.run.tasks:
        return None
    columns = [column for key in COSTS if (column := view.column(key)) is not None]
    plots = [_plot(view, column) for column in columns]
    return Block(
        data={"plots": plots, "families": list(view.styles.values())},
        tables={plot["stem"]: plot["table"] for plot in plots},
    )


def _plot(view: RunView, column: BoardColumn) -> dict[str, Any]:
    drawn = [row for row in view.standings if row.mean and _x(column, row) is not None]
    scatter = _scatter(view, column, drawn)
    stem = "accuracy-by-" + column.key.replace("_", "-")
    return {
        "stem": stem,
        "title": COSTS[column.key],
        "svg": draw_scatter(scatter) if drawn else "",
        "front": [drawn[i].candidate for i in scatter.unbeaten],
        "hollow": [p.label for p in scatter.points if p.hollow],
        "left_out": _left_out(view, column, drawn),
        "table": _table(column, drawn, {drawn[i].candidate for i in scatter.unbeaten}),
        "hint": column.hint,
    }


def _x(column: BoardColumn, row: Standing) -> float | None:
    """A candidate's x; 0 for the build time of a checkpoint that is served as it is."""
    reading = column.cells[row.candidate].reading
    return 0.0 if reading.outcome == "unneeded" else reading.value


def _scatter(view: RunView, column: BoardColumn, drawn: list[Standing]) -> Scatter:
    points = [_point(view, column, row) for row in drawn]
    complete = [i for i, point in enumerate(points) if not point.hollow]
    sign = -1.0 if column.higher_is_better else 1.0
    front = pareto_front([sign * points[i].x for i in complete], [points[i].y for i in complete])
    unit = f" ({column.scale.label})" if column.scale.label else ""
    best = "more is better" if column.higher_is_better else "less is better"
    return Scatter(
        name=f"plot-{column.key.replace('_', '-')}",
        points=points,
        front=[complete[i] for i in front],
        unbeaten=_unbeaten(view, column, [drawn[i] for i in complete], complete),
        x_label=f"{column.label}{unit}, {best}",
        y_label="Mean accuracy (%)",
        more_is_better=bool(column.higher_is_better),
        description=f"Scatter plot of mean accuracy against {column.label}; "
        f"the points' values are in the linked CSV file and in the leaderboard.",
    )


def _unbeaten(
    view: RunView, column: BoardColumn, rows: Sequence[Standing], positions: Sequence[int]
) -> list[int]:
    """Positions of the rows that none is shown to beat, by the intervals of both axes."""
    offers = {}
    for row in rows:
        reading, x = column.cells[row.candidate].reading, _x(column, row)
        low, high = reading.bounds if reading.value is not None else (x, x)
        assert low is not None
        assert high is not None
        offers[row.candidate] = Offer(
            cost=(-high, -low) if column.higher_is_better else (low, high),
            better_than=frozenset(view.evidence.better_than(row.candidate)),
        )
    names = set(unbeaten(offers))
    return [at for at, row in zip(positions, rows, strict=True) if row.candidate in names]


def _point(view: RunView, column: BoardColumn, row: Standing) -> Point:
    reading, x = column.cells[row.candidate].reading, _x(column, row)
    assert row.mean is not None
    assert x is not None
    unit = f" {column.scale.label}" if column.scale.label else ""
    partial = "" if row.mean.complete else f" (over {row.mean.tasks} of {row.mean.of_tasks} tasks)"
    return Point(
        label=row.candidate,
        style=view.style(row.candidate),
        x=x / column.scale.factor,
        x_bounds=_scaled(reading.bounds if reading.value is not None else (x, x), column.scale),
        y=row.mean.value / PERCENT.factor,
        y_bounds=_scaled((row.mean.low, row.mean.high), PERCENT),
        hollow=not row.mean.complete or row.stop is not None,
        href=f"candidates/{view.candidate_slugs[row.candidate]}.html",
        tooltip=f"{row.candidate} ({row.family}): {PERCENT.write(row.mean.value)} %{partial}, "
        f"{column.label} {column.scale.write(x)}{unit}",
    )


def _scaled(bounds: tuple[float, float], scale: Scale) -> tuple[float, float]:
    return bounds[0] / scale.factor, bounds[1] / scale.factor


def _left_out(view: RunView, column: BoardColumn, drawn: list[Standing]) -> list[tuple[str, str]]:
    names = {row.candidate for row in drawn}
    return [
        (row.candidate, column.cells[row.candidate].reading.reason or "it has no accuracy")
        for row in view.standings
        if row.candidate not in names
    ]


def _table(column: BoardColumn, drawn: list[Standing], front: set[str]) -> Table:
    return Table(
        columns=[
            Column("candidate", lambda row: row.candidate),
            Column("family", lambda row: row.family),
            Column("mean_accuracy", lambda row: row.mean.reading),
            Column("tasks", lambda row: row.mean.tasks),
            Column("of_tasks", lambda row: row.mean.of_tasks),
            Column(
                column.key,
                lambda row: replace(column.cells[row.candidate].reading, value=_x(column, row)),
            ),
            Column("on_front", lambda row: row.candidate in front),
        ],
        rows=drawn,
    )


SECTION = Section("What accuracy costs", "sections/tradeoffs.html", block)
