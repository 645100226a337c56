"""All candidates in one table: accuracy with intervals, speed, memory, size, build cost."""

from dataclasses import dataclass, field
from typing import Any

from reports.aggregate import Mean
from reports.board import BoardCell, Column, Standing, board_frame
from reports.load import Reading
from reports.report import Report
from reports.sections import Block


@dataclass
class Footnotes:
    """Reasons, each written once and numbered in the order of first use."""

    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


class Leaderboard:
    page = "index"
    order = 20
    title = "Leaderboard"
    template = "sections/leaderboard.html"

    def block(self, report: Report, subject: str) -> Block:
        notes = Footnotes()
        span = interval_span([row.mean for row in report.standings if row.mean])
        rows = [_row(report, row, notes, span) for row in report.standings]
        frame = board_frame(report.standings, report.columns)
        return Block(
            data={
                "columns": report.columns,
                "rows": rows,
                "footnotes": notes.texts,
                "span": span,
                "families": list(report.looks.values()),
                "left_out": report.scope.left_out,
                "num_tasks": len(report.scope.tasks),
                "inverted": [t.name for t in report.scope.tasks if not t.higher_is_better],
            },
            tables={"leaderboard": frame, "measurements": report.run.frame},
        )


def interval_span(means: list[Mean]) -> tuple[float, float]:
    """The bar's axis: all intervals, widened to whole steps of five points, inside [0, 1]."""
    if not means:
        return (0.0, 1.0)
    low = min(m.low for m in means) // 0.05 * 0.05
    high = -(-max(m.high for m in means) // 0.05) * 0.05
    return (max(0.0, low), min(1.0, max(high, low + 0.05)))


def _row(
    report: Report, row: Standing, notes: Footnotes, span: tuple[float, float]
) -> dict[str, Any]:
    cells = [_cell(column, column.cells[row.candidate], notes) for column in report.columns]
    return {
        "candidate": row.candidate,
        "look": report.look(row.candidate),
        "rank": row.rank,
        "cells": cells,
        "bar": _bar(row.mean, span),
        "complete": row.mean is not None and row.mean.complete,
    }


def _cell(column: Column, cell: BoardCell, notes: Footnotes) -> dict[str, Any]:
    note = cell.note or _gap_note(cell.reading)
    return {
        "column": column,
        "reading": cell.reading,
        "note": note,
        "footnote": notes.number(note) if note else None,
    }


def _gap_note(gap: Reading) -> str:
    if gap.value is not None:
        return ""
    recorded = gap.outcome in ("skipped", "failed")
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


SECTION = Leaderboard()
