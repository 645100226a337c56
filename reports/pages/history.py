"""The first page of a folder of runs: its series, and what could not be read."""

from melange.harness.metrics import FORMER, headline
from melange.harness.runs.history import ACCURACY
from melange.reports.figures.charts import Charts
from melange.reports.page import Block, Page, PageFile, Section
from melange.reports.pages.trends import NEWEST_CHANGES
from melange.reports.series_view import HistoryView
from melange.reports.tables.trends import step_table

RECENT = 14
"""Number of runs that the first sentence covers."""
OVERVIEW = (ACCURACY, "total_tokens_per_sec", "relative_throughput", headline("memory"),
            FORMER["memory"], "build_sec")  # fmt: skip


def series(view: HistoryView, subject: str) -> Block:
    here = PageFile(path="index.html", title=view.title)
    return Block(
        data={
            "all_charts": [Charts(one, here) for one in view.series],
            "newest_changes": NEWEST_CHANGES,
            "recent": RECENT,
            "overview_metrics": OVERVIEW,
        },
        tables={f"{one.folder}steps": step_table(one.events) for one in view.series},
    )


def not_read(view: HistoryView, subject: str) -> Block | None:
    return Block() if view.history.unread else None


PAGE = Page(
    name="index",
    title="Trends",
    order=10,
    of="history",
    template="trends/index.html",
    sections=(
        Section("Series", "trends/series.html", series),
        Section("Not read", "trends/not_read.html", not_read),
    ),
)
