"""A candidate's accuracy by domain, against the base it started from and the leader."""

from itertools import product
from typing import Any

from melange.reports.analysis.run import Reading
from melange.reports.page import Block, Column, Section, Table
from melange.reports.tables.board_column import BoardColumn
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block | None:
    columns = [c for c in view.columns if c.key == "mean" or c.group == "domain"]
    if all(column.cells[subject].reading.value is None for column in columns):
        return None
    others = _others(view, subject)
    return Block(
        data={
            "rows": [_row(column, subject, others) for column in columns],
            "style": view.style(subject),
            "others": others,
        },
        tables={f"profile-{view.candidate_slugs[subject]}": _table(columns, subject, others)},
    )


def _others(view: RunView, subject: str) -> dict[str, str]:
    """Label -> candidate to compare with, without the candidate itself."""
    leader = view.standings[0]
    found = {
        "base": view.bases.get(subject),
        "leader": leader.candidate if leader.mean else None,
    }
    return {role: name for role, name in found.items() if name and name != subject}


def _row(column: BoardColumn, subject: str, others: dict[str, str]) -> dict[str, Any]:
    own = column.cells[subject]
    low, high = own.reading.bounds if own.reading.value is not None else (0.0, 0.0)
    bar = {"low": _at(low), "at": _at(own.reading.value or 0.0), "high": _at(high)}
    compared = {role: column.cells[name].reading for role, name in others.items()}
    return {
        "label": column.label,
        "hint": column.hint,
        "scale": column.scale,
        "cell": own,
        "bar": bar if own.reading.value is not None else None,
        "others": [
            {"role": role, "reading": reading, "at": _place(reading)}
            for role, reading in compared.items()
        ],
    }


def _at(share: float) -> float:
    return round(share * 100, 2)


def _place(reading: Reading) -> float | None:
    return None if reading.value is None else _at(reading.value)


def _table(columns: list[BoardColumn], subject: str, others: dict[str, str]) -> Table:
    """One row per mean and candidate."""
    named = {"candidate": subject, **others}
    return Table(
        columns=[
            Column("tasks", lambda row: row[0].label),
            Column("compared", lambda row: row[1]),
            Column("candidate", lambda row: named[row[1]]),
            Column("accuracy", lambda row: row[0].cells[named[row[1]]].reading),
        ],
        rows=list(product(columns, named)),
    )


SECTION = Section("Profile", "sections/profile.html", block)
