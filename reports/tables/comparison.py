"""A comparison as a table."""

from melange.reports.analysis.comparison.changes import Change
from melange.reports.analysis.comparison.conclusion import Comparison
from melange.reports.analysis.run import Reading
from melange.reports.page import Column, Table


def comparison_table(comparison: Comparison) -> Table:
    """One row per change with its verdict; examples are counted."""
    return Table(
        columns=[
            Column("kind", lambda one: str(one.kind)),
            Column("candidate", lambda one: one.candidate),
            Column("subject", lambda one: one.subject),
            Column("old", lambda one: one.old),
            Column("new", lambda one: one.new),
            Column("change", _change),
            Column("p_value", lambda one: one.p_value),
            Column("adjusted_p", lambda one: one.adjusted_p),
            Column("verdict", lambda one: str(one.verdict)),
            Column("note", lambda one: one.note),
            Column("waived_by", lambda one: one.waived_by),
            Column("examples_lost", lambda one: one.num_lost),
            Column("examples_won", lambda one: one.num_won),
        ],
        rows=comparison.changes,
    )


def _change(change: Change) -> Reading:
    return Reading(value=change.value, low=change.low, high=change.high, reason=change.reason)
