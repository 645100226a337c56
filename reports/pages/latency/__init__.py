"""How long requests take."""

from melange.reports.page import Page
from melange.reports.pages.latency import (
    latency,
    load,
    serving,
)

PAGE = Page(
    name="latency",
    title="Latency",
    order=30,
    sections=(
        serving.CURVES,
        serving.TABLES,
        latency.SECTION,
        load.SECTION,
    ),
)
