"""A comparison in Markdown for a CI job's page: verdict, changes, and what else differs."""

from collections.abc import Sequence

from melange.reports.analysis.comparison.changes import Change
from melange.reports.analysis.comparison.verdict import Comparison, amount
from melange.reports.page import Column, Table
from melange.reports.tables.files import markdown_text, to_markdown
from melange.reports.units import plural

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
        _table("Improvements", comparison.improvements),
        _differences(comparison),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


COLUMNS = (
    Column("Cell", lambda change: change.title),
    Column("Change", lambda change: amount(change) or change.reason),
    Column("Adjusted p", lambda one: "" if one.adjusted_p is None else f"{one.adjusted_p:.1g}"),
    Column("Examples lost, won", lambda change: _moved(change)),
)


def _table(title: str, changes: Sequence[Change]) -> str:
    if not changes:
        return ""
    left_out = len(changes) - ROWS
    more = f"\n{left_out} more on the page." if left_out > 0 else ""
    return f"**{title}**\n\n{to_markdown(Table(COLUMNS, changes[:ROWS]))}{more}".rstrip("\n")


def _moved(change: Change) -> str:
    return f"{change.num_lost}, {change.num_won}" if change.num_lost or change.num_won else ""


def _differences(comparison: Comparison) -> str:
    if not comparison.differences:
        return ""
    shown = [f"{markdown_text(one.what)}: {markdown_text(one.old)} → {markdown_text(one.new)}"
             for one in comparison.differences]  # fmt: skip
    summary = f"{plural(len(shown), 'difference')} of environment"
    return f"<details><summary>{summary}</summary>\n\n- " + "\n- ".join(shown) + "\n\n</details>"
