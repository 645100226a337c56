"""What is measured about how mixtures route their tokens."""

from melange.reports.page import Block, Page, Section
from melange.reports.tables.costs import cost_table
from melange.reports.view import RunView

PREFIX = "routing_"


def block(view: RunView, subject: str) -> Block | None:
    metrics = [m for m, task in view.run.units if m.startswith(PREFIX) and task is None]
    table = cost_table(view.run, metrics)
    if len(table.columns) == 2:
        return None
    return Block(
        data={"shown": [("Routing", table)], "note": ""},
        tables={"routing": table},
    )


PAGE = Page(
    name="routing",
    title="Routing",
    order=50,
    sections=(Section("How tokens are routed", "sections/table.html", block),),
)
