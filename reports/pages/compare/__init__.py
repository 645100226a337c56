"""A run against an earlier one."""

from melange.reports.page import Page
from melange.reports.pages.compare import (
    costs,
    environment,
    examples,
    gaps,
    metrics,
    quality,
    speed,
    verdict,
)

PAGE = Page(
    name="compare",
    title="Compare",
    order=10,
    sections=(
        verdict.SECTION,
        quality.SECTION,
        examples.SECTION,
        speed.SECTION,
        costs.SECTION,
        gaps.SECTION,
        metrics.SECTION,
        environment.SECTION,
    ),
)
