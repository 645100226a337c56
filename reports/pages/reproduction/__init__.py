"""How the run was made, and how to reproduce it."""

from melange.reports.page import Page
from melange.reports.pages.reproduction import (
    provenance,
    reproduction,
)

PAGE = Page(
    name="reproduction",
    title="Reproduction",
    order=80,
    sections=(
        reproduction.SECTION,
        provenance.SECTION,
    ),
)
