"""A candidate's accuracy by domain, against the base it started from and the leader."""

from typing import Any

import pandas as pd

from melange.reports.analysis.run import Reading
from melange.reports.pages import Block
from melange.reports.tables.board_column import Column
from melange.reports.view import Report


class Profile:
    page = "candidate"
    order = 15
    title = "Profile"
    template = "sections/profile.html"

    def block(self, report: Report, subject: str) -> Block | None:
        columns = [c for c in report.columns if c.key == "mean" or c.group == "domain"]
        if all(column.cells[subject].reading.value is None for column in columns):
            return None
        others = _others(report, subject)
        return Block(
            data={
                "rows": [_row(column, subject, others) for column in columns],
                "look": report.look(subject),
                "others": others,
            },
            tables={f"profile-{report.candidate_slugs[subject]}": _frame(columns, subject, others)},
        )


def _others(report: Report, subject: str) -> dict[str, str]:
    """What to compare with -> candidate; whatever is the candidate itself is left out."""
    leader = report.standings[0]
    found = {
        "base": report.references.get(subject),
        "leader": leader.candidate if leader.mean else None,
    }
    return {role: name for role, name in found.items() if name and name != subject}


def _row(column: Column, subject: str, others: dict[str, str]) -> dict[str, Any]:
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


def _frame(columns: list[Column], subject: str, others: dict[str, str]) -> pd.DataFrame:
    named = {"candidate": subject, **others}
    return pd.DataFrame(
        {
            "tasks": column.label,
            "compared": role,
            "candidate": name,
            "accuracy": reading.value,
            "accuracy_ci_low": reading.low,
            "accuracy_ci_high": reading.high,
            "accuracy_n": reading.n,
            "accuracy_gap": reading.reason,
        }
        for column in columns
        for role, name in named.items()
        for reading in [column.cells[name].reading]
    )


SECTION = Profile()
