"""Figures that papers report for the zoo's checkpoints, beside those measured here."""

from melange.reports.analysis.references import compared
from melange.reports.page import Block, Column, Page, Section, Table
from melange.reports.units import PERCENT
from melange.reports.view import RunView

CAPTION = "As papers report them, and as this run measured them"
NOTE = (
    "A paper may prompt, filter and score otherwise than the task of the same name here: "
    "the two are shown beside each other, and no difference between them is tested."
)
COLUMNS = (
    Column("candidate", lambda row: row.reference.candidate, "Candidate"),
    Column("task", lambda row: row.reference.task, "Task"),
    Column("metric", lambda row: row.reference.metric, "Metric"),
    Column("published", lambda row: row.reference.value, "Published", PERCENT),
    Column("measured", lambda row: row.measured, "Measured", PERCENT),
    Column("measured_as", lambda row: row.candidate, "Measured as"),
    Column("note", lambda row: row.reference.note, "Note"),
    Column("source", lambda row: row.reference.source, "Source"),
)


def references(view: RunView, subject: str) -> Block | None:
    rows = compared(view.run)
    if not rows:
        return None
    table = Table(COLUMNS, rows)
    return Block(
        data={"shown": [(CAPTION, table)], "note": NOTE}, tables={"published-figures": table}
    )


PAGE = Page(
    name="references",
    title="Published figures",
    order=70,
    sections=(Section("Beside what was measured", "sections/table.html", references),),
)
