"""What a candidate has no result for, and why."""

from reports.report import Report
from reports.sections import Block
from reports.sections.gaps import gaps


class Problems:
    page = "candidate"
    order = 40
    title = "Skipped and failed"
    template = "sections/problems.html"

    def block(self, report: Report, subject: str) -> Block | None:
        rows = gaps(report, subject)
        return Block(data={"rows": rows}) if rows else None


SECTION = Problems()
