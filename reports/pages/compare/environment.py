"""What else differs between the two runs."""

from melange.reports.pages import Block
from melange.reports.view import Report


class CompareEnvironment:
    page = "compare"
    order = 70
    title = "Environment"
    template = "sections/compare_environment.html"

    def block(self, report: Report, subject: str) -> Block | None:
        if report.comparison is None:
            return None
        return Block(data={"differences": report.comparison.differences})


SECTION = CompareEnvironment()
