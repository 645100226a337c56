"""Formats tables: CSV in full precision, Markdown and page rows with few digits."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from melange.reports.analysis.run import Reading
from melange.reports.page import Column, Table
from melange.reports.units import significant


def to_csv(table: Table) -> str:
    """Full precision, in the units of storage; a reading takes five columns.

    A cell that a spreadsheet would run as a formula gets a leading quote.
    """
    cells = [[column.value(row) for row in table.rows] for column in table.columns]
    columns = [
        part
        for column, values in zip(table.columns, cells, strict=True)
        for part in _parts(column.name, values)
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows(zip(*(map(_plain, values) for _, values in columns), strict=True))
    return text.getvalue()


def _parts(name: str, values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    if not any(isinstance(value, Reading) for value in values):
        yield name, values
        return
    # A cell without a reading in a column of readings: nothing is known about it.
    readings = [value if isinstance(value, Reading) else Reading(reason="") for value in values]
    yield name, [one.value for one in readings]
    yield f"{name}_ci_low", [one.low for one in readings]
    yield f"{name}_ci_high", [one.high for one in readings]
    yield f"{name}_n", [one.n for one in readings]
    yield f"{name}_gap", [one.reason for one in readings]


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def to_markdown(table: Table) -> str:
    """One cell per number: `0.71 (0.65–0.77)`, or why there is none."""
    heads = [column.name for column in table.columns]
    rows = ([_text(column.value(row)) for column in table.columns] for row in table.rows)
    return markdown_table(heads, rows)


def _text(value: Any) -> str:
    if isinstance(value, Reading):
        if value.value is None:
            return value.reason
        interval = f" ({_text(value.low)}–{_text(value.high)})" if value.has_interval else ""
        return f"{_text(value.value)}{interval}"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return significant(value) if isinstance(value, float) else str(value)


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = [[markdown_text(cell) for cell in line] for line in (heads, *rows)]
    lines = [escaped[0], ["---"] * len(heads), *escaped[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown_text(text: str) -> str:
    """The text escaped for a table cell: on one line, without markup or column breaks."""
    for sign, safe in (("\\", "\\\\"), ("|", "\\|"), ("`", "\\`"), ("*", "\\*"), ("_", "\\_"),
                       ("[", "\\["), ("<", "&lt;")):  # fmt: skip
        text = text.replace(sign, safe)
    return " ".join(text.split())


class ShownRow(NamedTuple):
    """A row on a page."""

    cells: Sequence[tuple[Column, Any]]
    gap: Reading | None
    """Why all of its numbers are missing, if they share one reason."""


def shown_columns(table: Table) -> list[Column]:
    return [column for column in table.columns if column.label]


def shown_rows(table: Table) -> Iterator[ShownRow]:
    columns = shown_columns(table)
    for row in table.rows:
        cells = [(column, column.value(row)) for column in columns]
        yield ShownRow(cells, _gap([cell for column, cell in cells if column.scale]))


def _gap(numbers: Sequence[Any]) -> Reading | None:
    missing = [one for one in numbers if isinstance(one, Reading) and one.value is None]
    alike = len(missing) == len(numbers) and len(set(missing)) == 1
    return missing[0] if alike else None
