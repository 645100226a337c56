"""What accuracy costs: accuracy against speed, memory and size, with the Pareto front."""

from typing import Any

import pandas as pd

from melange.harness.metrics import METRICS
from melange.reports.analysis.aggregate import pareto_front
from melange.reports.analysis.board import Standing
from melange.reports.figures.scatter import Point, Scatter, draw_scatter
from melange.reports.pages import Block
from melange.reports.tables.board_column import Column
from melange.reports.units import PERCENT, Scale
from melange.reports.view import Report

COSTS = {one.name: one.axis for one in METRICS if one.axis}


class Tradeoffs:
    page = "index"
    order = 30
    title = "What accuracy costs"
    template = "sections/tradeoffs.html"

    def block(self, report: Report, subject: str) -> Block | None:
        if not report.run.tasks:
            return None
        columns = [column for key in COSTS if (column := report.column(key)) is not None]
        plots = [_plot(report, column) for column in columns]
        return Block(
            data={"plots": plots, "families": list(report.looks.values())},
            tables={plot["stem"]: plot["frame"] for plot in plots},
        )


def _plot(report: Report, column: Column) -> dict[str, Any]:
    drawn = [row for row in report.standings if row.mean and _x(column, row) is not None]
    scatter = _scatter(report, column, drawn)
    stem = "accuracy-by-" + column.key.replace("_", "-")
    return {
        "stem": stem,
        "title": COSTS[column.key],
        "svg": draw_scatter(scatter) if drawn else "",
        "front": [drawn[i].candidate for i in scatter.front],
        "hollow": [p.label for p in scatter.points if p.hollow],
        "left_out": _left_out(report, column, drawn),
        "frame": _frame(column, drawn, set(scatter.front)),
        "hint": column.hint,
    }


def _x(column: Column, row: Standing) -> float | None:
    """A checkpoint that is served as it is costs nothing to build."""
    reading = column.cells[row.candidate].reading
    return 0.0 if reading.outcome == "unneeded" else reading.value


def _scatter(report: Report, column: Column, drawn: list[Standing]) -> Scatter:
    points = [_point(report, column, row) for row in drawn]
    complete = [i for i, point in enumerate(points) if not point.hollow]
    sign = -1.0 if column.higher_is_better else 1.0
    front = pareto_front([sign * points[i].x for i in complete], [points[i].y for i in complete])
    unit = f" ({column.scale.label})" if column.scale.label else ""
    best = "more is better" if column.higher_is_better else "less is better"
    return Scatter(
        name=f"plot-{column.key.replace('_', '-')}",
        points=points,
        front=[complete[i] for i in front],
        x_label=f"{column.label}{unit}, {best}",
        y_label="Mean accuracy (%)",
        more_is_better=bool(column.higher_is_better),
        description=f"Scatter plot of mean accuracy against {column.label}; "
        f"the points' values are in the linked CSV file and in the leaderboard.",
    )


def _point(report: Report, column: Column, row: Standing) -> Point:
    reading, x = column.cells[row.candidate].reading, _x(column, row)
    assert row.mean is not None
    assert x is not None
    unit = f" {column.scale.label}" if column.scale.label else ""
    partial = "" if row.mean.complete else f" (over {row.mean.tasks} of {row.mean.of_tasks} tasks)"
    return Point(
        label=row.candidate,
        look=report.look(row.candidate),
        x=x / column.scale.factor,
        x_bounds=_scaled(reading.bounds if reading.value is not None else (x, x), column.scale),
        y=row.mean.value / PERCENT.factor,
        y_bounds=_scaled((row.mean.low, row.mean.high), PERCENT),
        hollow=not row.mean.complete,
        href=f"candidates/{report.candidate_slugs[row.candidate]}.html",
        tooltip=f"{row.candidate} ({row.family}): {PERCENT.write(row.mean.value)} %{partial}, "
        f"{column.label} {column.scale.write(x)}{unit}",
    )


def _scaled(bounds: tuple[float, float], scale: Scale) -> tuple[float, float]:
    return bounds[0] / scale.factor, bounds[1] / scale.factor


def _left_out(report: Report, column: Column, drawn: list[Standing]) -> list[tuple[str, str]]:
    names = {row.candidate for row in drawn}
    return [
        (row.candidate, column.cells[row.candidate].reading.reason or "it has no accuracy")
        for row in report.standings
        if row.candidate not in names
    ]


def _frame(column: Column, drawn: list[Standing], front: set[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "candidate": row.candidate,
            "family": row.family,
            "mean_accuracy": row.mean.value,
            "mean_accuracy_ci_low": row.mean.low,
            "mean_accuracy_ci_high": row.mean.high,
            "tasks": row.mean.tasks,
            "of_tasks": row.mean.of_tasks,
            column.key: _x(column, row),
            f"{column.key}_ci_low": reading.low,
            f"{column.key}_ci_high": reading.high,
            "on_front": i in front,
        }
        for i, row in enumerate(drawn)
        for reading in [column.cells[row.candidate].reading]
        if row.mean
    )


SECTION = Tradeoffs()
