"""The first page of a run: its findings."""

from melange.reports.page import Page
from melange.reports.pages.index import (
    checked,
    chooser,
    gaps,
    heatmap,
    leaderboard,
    overview,
    tradeoffs,
)

PAGE = Page(
    name="index",
    title="Report",
    order=200,
    template="index.html",
    sections=(
        overview.SECTION,
        leaderboard.SECTION,
        chooser.SECTION,
        tradeoffs.SECTION,
        heatmap.SECTION,
        checked.SECTION,
        gaps.SECTION,
    ),
)
