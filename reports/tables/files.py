"""A table as files: CSV with every digit for programs, Markdown with few for people."""

from collections.abc import Hashable, Mapping

import pandas as pd

from melange.reports.units import significant

PARTS = ("ci_low", "ci_high", "n", "gap")
"""Columns `<name>_<part>` belong to the column `<name>`."""


def to_csv(table: pd.DataFrame) -> str:
    """Full precision; a cell that a spreadsheet would run as a formula gets a leading quote."""
    return table.map(_inert).to_csv(index=False, lineterminator="\n")


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def to_markdown(table: pd.DataFrame) -> str:
    """One cell a number: `0.71 (0.65–0.77)`, or the reason why there is none."""
    names = [str(name) for name in table.columns]
    shown = [name for name in names if _whole(name) not in names]
    rows = table.to_dict("records")
    lines = [shown, ["---"] * len(shown), *([_cell(row, name) for name in shown] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _whole(name: str) -> str | None:
    """The column that this one is a part of."""
    return next((name[: -len(part) - 1] for part in PARTS if name.endswith(f"_{part}")), None)


def _cell(row: Mapping[Hashable, object], name: str) -> str:
    text = _written(row[name])
    low, high, gap = (_written(row.get(f"{name}_{part}")) for part in ("ci_low", "ci_high", "gap"))
    interval = f" ({low}–{high})" if text and low and high else ""
    return markdown_text(f"{text}{interval}" or gap)


def _written(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
        return ""
    # A whole number may be a float only because the column has gaps.
    return significant(value) if isinstance(value, float) else str(value)


def markdown_text(text: str) -> str:
    """The text on one line of a table, shown as it is: neither markup nor a further column."""
    for sign, safe in (("\\", "\\\\"), ("|", "\\|"), ("`", "\\`"), ("*", "\\*"), ("_", "\\_"),
                       ("[", "\\["), ("<", "&lt;")):  # fmt: skip
        text = text.replace(sign, safe)
    return " ".join(text.split())
