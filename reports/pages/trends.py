"""A metric's page for a series of runs: its steps, and a chart per trend."""

from melange.reports.figures.charts import Charts
from melange.reports.page import Block, Page, Section
from melange.reports.series_view import SeriesView
from melange.reports.tables.trends import trend_table

NEWEST_CHANGES = 20
"""Runs with steps in a page's table; steps.csv has the others."""


def steps(view: SeriesView, subject: str) -> Block:
    charts = Charts(view, view.pages[subject])
    return Block(
        data={"charts": charts, "newest_changes": NEWEST_CHANGES},
        tables={subject: trend_table(view.nights, view.of(subject))},
    )


def charts(view: SeriesView, subject: str) -> Block:
    return Block(data={"charts": Charts(view, view.pages[subject])})


PAGE = Page(
    name="trends",
    title="Trends",
    order=10,
    of="series",
    subjects=lambda view: list(view.pages.values()),
    template="trends/metric.html",
    sections=(
        Section("Steps", "trends/steps.html", steps),
        Section("Trends", "trends/charts.html", charts),
    ),
)
