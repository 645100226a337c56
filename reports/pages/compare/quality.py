"""Accuracy of both runs in cells where any example's score changed."""

from typing import Any

from melange.reports.analysis.comparison import Change, Kind
from melange.reports.page import Block, Section
from melange.reports.units import PERCENT, POINTS, scale_for
from melange.reports.view import RunView

ROWS = 200


def block(view: RunView, subject: str) -> Block | None:
    if view.comparison is None:
        return None
    compared = [one for one in view.comparison.of(Kind.QUALITY) if not one.reason]
    moved = sorted((one for one in compared if one.lost or one.won), key=_order)
    return Block(
        data={
            "rows": [_row(one) for one in moved[:ROWS]],
            "left_out": max(0, len(moved) - ROWS),
            "num_compared": len(compared),
            "num_same": len(compared) - len(moved),
        }
    )


def _order(change: Change) -> tuple[float, float]:
    """By p-value, then losses first."""
    return (change.p_value or 0.0, len(change.won) - len(change.lost))


def _row(change: Change) -> dict[str, Any]:
    is_share = change.unit == "fraction"
    return {
        "change": change,
        "scale": PERCENT if is_share else scale_for(change.unit, [change.old.value]),
        "steps": POINTS if is_share else scale_for(change.unit, [change.old.value]),
    }


SECTION = Section("Accuracy", "sections/compare_quality.html", block)
