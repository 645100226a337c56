"""A comparison in Markdown for a CI job's page: verdict, changes, and what else differs."""

from collections.abc import Sequence

from melange.reports.analysis.comparison.changes import Change
from melange.reports.analysis.comparison.conclusion import Comparison, amount
from melange.reports.analysis.comparison.missing import Gap
from melange.reports.page import Column, Table
from melange.reports.tables.files import markdown_text, to_markdown
from melange.reports.units import plural

NAMED = 6
"""Number of candidates that a reason names; the others are counted."""
ROWS = 20
"""Longest table; a longer one is cut, with the number of rows left out."""


def comparison_markdown(comparison: Comparison) -> str:
    """Text from a run or a model is escaped."""
    baseline = markdown_text(comparison.old.folder.name)
    parts = [
        f"### Against {baseline}",
        markdown_text(comparison.sentence),
        markdown_text(comparison.sight),
        _table("Regressions", comparison.regressions),
        _table("Failed here, measured before", comparison.lost),
        _gaps("Not judged, though the baseline has them", comparison.unjudged),
        _gaps("Waived", comparison.waived),
        _gaps("Judged, with a note", comparison.noted),
        _table("Improvements", comparison.improvements),
        _differences(comparison),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


COLUMNS = (
    Column("Cell", lambda change: change.title),
    Column("Change", lambda one: f"{amount(one) or one.reason}{one.note and '; ' + one.note}"),
    Column("Adjusted p", lambda one: "" if one.adjusted_p is None else f"{one.adjusted_p:.1g}"),
    Column("Examples lost, won", lambda change: _moved(change)),
)


def _table(title: str, changes: Sequence[Change]) -> str:
    if not changes:
        return ""
    left_out = len(changes) - ROWS
    more = f"\n{left_out} more on the page." if left_out > 0 else ""
    return f"**{title}**\n\n{to_markdown(Table(COLUMNS, changes[:ROWS]))}{more}".rstrip("\n")


GAP_COLUMNS = (
    Column("Cells", lambda gap: len(gap.changes)),
    Column("Reason", lambda gap: gap.reason),
    Column("Which", lambda gap: gap.where(NAMED)),
)
WAIVED_COLUMNS = (*GAP_COLUMNS, Column("Waived by", lambda gap: gap.waived_by))


def _gaps(title: str, gaps: Sequence[Gap]) -> str:
    if not gaps:
        return ""
    left_out = len(gaps) - ROWS
    more = f"\n{plural(left_out, 'more reason')} on the page." if left_out > 0 else ""
    columns = WAIVED_COLUMNS if gaps[0].waived_by else GAP_COLUMNS
    return f"**{title}**\n\n{to_markdown(Table(columns, gaps[:ROWS]))}{more}".rstrip("\n")


def _moved(change: Change) -> str:
    return f"{change.num_lost}, {change.num_won}" if change.num_lost or change.num_won else ""


def _differences(comparison: Comparison) -> str:
    if not comparison.differences:
        return ""
    shown = [f"{markdown_text(one.what)}: {markdown_text(one.old)} → {markdown_text(one.new)}"
             for one in comparison.differences]  # fmt: skip
    summary = f"{plural(len(shown), 'difference')} of environment"
    return f"<details><summary>{summary}</summary>\n\n- " + "\n- ".join(shown) + "\n\n</details>"
