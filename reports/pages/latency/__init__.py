"""How long requests take."""

from melange.reports.page import Page
from melange.reports.pages.latency import (
    latency,
    load,
)

PAGE = Page(
    name="latency",
    title="Latency",
    order=30,
    sections=(
        latency.SECTION,
        load.SECTION,
    ),
)
