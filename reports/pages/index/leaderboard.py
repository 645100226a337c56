"""All candidates in one table: accuracy with intervals, speed, memory, size, build cost."""

from dataclasses import dataclass, field
from typing import Any

from melange.reports.analysis.aggregate import Mean
from melange.reports.analysis.board import Standing
from melange.reports.analysis.checks import candidate_sentence
from melange.reports.analysis.racing import race_sentence
from melange.reports.analysis.run import Reading
from melange.reports.page import Block, Section
from melange.reports.tables.board import board_table
from melange.reports.tables.board_column import BoardCell, BoardColumn
from melange.reports.tables.measurements import measurement_table
from melange.reports.view import RunView

GROUPS = {
    "split": "Held out and shifted",
    "difference": "Differences",
    "domain": "Domains",
    "task": "Tasks",
    "speed": "Speed",
    "memory": "Memory",
    "size": "Size and build",
}
SHOWN = ("split", "difference", "speed", "memory")


@dataclass
class Footnotes:
    """Reasons, each listed once and numbered by first use."""

    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def block(view: RunView, subject: str) -> Block:
    notes = Footnotes()
    span = interval_span([row.mean for row in view.standings if row.mean])
    rows = [
        _row(view, place, row, notes, span) for place, row in enumerate(view.standings, start=1)
    ]
    return Block(
        data={
            "columns": view.columns,
            "rows": rows,
            "footnotes": notes.texts,
            "span": span,
            "families": list(view.styles.values()),
            "left_out": view.scope.left_out,
            "num_tasks": len(view.scope.tasks),
            "groups": _groups(view.columns),
            "effect": view.evidence.smallest_effect,
            "notes": [*filter(None, [race_sentence(view.run)]), *view.evidence.notes],
            "inverted": [t.name for t in view.scope.tasks if not t.higher_is_better],
        },
        tables={
            "leaderboard": board_table(view.standings, view.columns),
            "measurements": measurement_table(view.run.measurements),
        },
    )


def _groups(columns: list[BoardColumn]) -> list[dict[str, Any]]:
    """Groups of columns that the reader can hide; `mean` is always shown."""
    present = {column.group for column in columns}
    return [
        {"key": key, "label": label, "shown": key in SHOWN}
        for key, label in GROUPS.items()
        if key in present
    ]


def interval_span(means: list[Mean]) -> tuple[float, float]:
    """The bars' axis: covers all intervals, in whole steps of five points, within [0, 1]."""
    if not means:
        return (0.0, 1.0)
    low = min(m.low for m in means) // 0.05 * 0.05
    high = -(-max(m.high for m in means) // 0.05) * 0.05
    return (max(0.0, low), min(1.0, max(high, low + 0.05)))


def _row(
    view: RunView, place: int, row: Standing, notes: Footnotes, span: tuple[float, float]
) -> dict[str, Any]:
    cells = [_cell(column, column.cells[row.candidate], notes) for column in view.columns]
    return {
        "candidate": row.candidate,
        "style": view.style(row.candidate),
        "place": place if row.mean else "",
        "rank": row.ranks if row.rank else "",
        "stopped": row.stop,
        "rank_hint": _rank_hint(view, row),
        "cells": cells,
        "bar": _bar(row.mean, span),
        "complete": row.mean is not None and row.mean.complete,
        "checked": candidate_sentence(view.run, row.candidate),
    }


def _rank_hint(view: RunView, row: Standing) -> str:
    """Which candidates do not differ significantly from it, in words."""
    if row.rank is None:
        return row.unranked
    alike = view.evidence.alike(row.candidate)
    if not alike:
        return "told apart from every other candidate"
    return f"cannot be told apart from {', '.join(alike)}"


def _cell(column: BoardColumn, cell: BoardCell, notes: Footnotes) -> dict[str, Any]:
    note = cell.note or _gap_note(cell.reading)
    return {
        "verdict": cell.verdict,
        "p_value": cell.p_value,
        "column": column,
        "reading": cell.reading,
        "note": note,
        "footnote": notes.number(note) if note else None,
    }


def _gap_note(gap: Reading) -> str:
    if gap.value is not None:
        return gap.reason
    # Pending cells have no note: there are many, all with the same reason.
    if gap.outcome in ("itself", "pending"):
        return ""
    recorded = gap.outcome in ("skipped", "failed", "disputed")
    return f"{gap.outcome}: {gap.reason}" if recorded else gap.reason


def _bar(mean: Mean | None, span: tuple[float, float]) -> dict[str, float] | None:
    """Positions on an axis from 0 to 100."""
    if mean is None:
        return None
    left, right = span
    return {
        "low": round(max(0.0, (mean.low - left) / (right - left)) * 100, 2),
        "at": round((mean.value - left) / (right - left) * 100, 2),
        "high": round(min(1.0, (mean.high - left) / (right - left)) * 100, 2),
    }


SECTION = Section("Leaderboard", "sections/leaderboard.html", block)
