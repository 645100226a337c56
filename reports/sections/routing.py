"""What is measured about how mixtures route their tokens."""

from melange.reports.cost_tables import cost_frame, cost_table
from melange.reports.report import Report
from melange.reports.sections import Block

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
