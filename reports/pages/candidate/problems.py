"""A candidate's missing results, and why they are missing."""

from melange.reports.page import Block, Section
from melange.reports.pages.index.gaps import recorded_gaps, waiting_gaps
from melange.reports.units import plural
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block | None:
    rows = [*recorded_gaps(view, subject), *_waiting(view, subject)]
    return Block(data={"rows": rows}) if rows else None


def _waiting(view: RunView, candidate: str) -> list[dict[str, str]]:
    """In one row, because it may be all of the candidate's cells."""
    rows = waiting_gaps(view, candidate)
    if len(rows) < 2:
        return rows
    return [rows[0] | {"cell": plural(len(rows), "cell")}]


SECTION = Section("Skipped and failed", "sections/problems.html", block)
