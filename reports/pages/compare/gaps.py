"""Cells that could not be compared because the baseline does not have them, by reason."""

from melange.reports.analysis.comparison.changes import Verdict
from melange.reports.analysis.comparison.missing import gaps
from melange.reports.page import Block, Section
from melange.reports.view import RunView

NAMED = 12


def block(view: RunView, subject: str) -> Block | None:
    if view.comparison is None:
        return None
    unjudged = [one for one in view.comparison.changes if one.verdict is Verdict.UNJUDGED]
    rows = gaps(one for one in unjudged if not one.is_missing)
    if not rows:
        return None
    number = sum(len(one.changes) for one in rows)
    return Block(data={"rows": rows, "number": number, "named": NAMED})


SECTION = Section("Not in the baseline", "sections/compare_gaps.html", block)
