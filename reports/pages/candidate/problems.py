"""What a candidate has no result for, and why."""

from melange.reports.pages import Block
from melange.reports.pages.index.gaps import recorded_gaps, waiting_gaps
from melange.reports.units import plural
from melange.reports.view import Report


class Problems:
    page = "candidate"
    order = 40
    title = "Skipped and failed"
    template = "sections/problems.html"

    def block(self, report: Report, subject: str) -> Block | None:
        rows = [*recorded_gaps(report, subject), *_waiting(report, subject)]
        return Block(data={"rows": rows}) if rows else None


def _waiting(report: Report, candidate: str) -> list[dict[str, str]]:
    """In one row: it may be all that the candidate has to do."""
    rows = waiting_gaps(report, candidate)
    if len(rows) < 2:
        return rows
    return [rows[0] | {"cell": plural(len(rows), "cell")}]


SECTION = Problems()
