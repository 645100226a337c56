"""What is measured about how mixtures route their tokens."""

from melange.reports.pages import Block
from melange.reports.tables.costs import cost_frame, cost_table
from melange.reports.view import Report

PREFIX = "routing_"


class Routing:
    page = "routing"
    order = 10
    title = "How tokens are routed"
    template = "sections/cost_tables.html"

    def block(self, report: Report, subject: str) -> Block | None:
        metrics = [m for m, task in report.run.units if m.startswith(PREFIX) and task is None]
        table = cost_table(report, metrics)
        if not table.metrics:
            return None
        return Block(
            data={"tables": [("Routing", table)], "note": ""},
            tables={"routing": cost_frame(table)},
        )


SECTION = Routing()
