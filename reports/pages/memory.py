"""Parts of a candidate's memory: weights, KV cache, activations."""

from collections.abc import Mapping
from typing import Any

from melange.harness.metrics import headline
from melange.reports.analysis.run import Reading
from melange.reports.page import Block, Column, Page, Section, Table
from melange.reports.tables.costs import CostRow, cost_table
from melange.reports.tables.files import shown_rows
from melange.reports.units import scale_for
from melange.reports.view import RunView

PARTS = ("weights_bytes", "kv_pool_bytes", "activation_bytes")
WHOLES = (headline("memory"), "device_memory_bytes")
PER_TOKEN = "kv_bytes_per_token"


def block(view: RunView, subject: str) -> Block | None:
    table = cost_table(view.run, (*PARTS, PER_TOKEN, *WHOLES))
    columns = {column.name: column for column in table.columns}
    if not {"kv_pool_bytes", "activation_bytes"} & set(columns):
        return None
    rows = [_row(row, columns) for row in table.rows]
    end = max(row["total"] for row in rows)
    scale = scale_for("bytes", [row["total"] for row in rows])
    tokens = Column("kv_tokens", lambda row: _row(row, columns)["tokens"])
    return Block(
        data={
            "rows": [
                row | {"shown": shown, "bars": _bars(row["parts"], end)}
                for row, shown in zip(rows, shown_rows(table), strict=True)
            ],
            "parts": [columns[name] for name in PARTS if name in columns],
            "end": scale.write(end),
            "scale": scale,
            "columns": [column for column in table.columns if column.scale],
        },
        tables={"memory-split": Table([*table.columns, tokens], table.rows)},
    )


def _row(row: CostRow, columns: Mapping[str, Column]) -> dict[str, Any]:
    cells = {name: columns[name].value(row) for name in (*PARTS, PER_TOKEN, *WHOLES)
             if name in columns}  # fmt: skip
    parts = {name: cells[name].value for name in PARTS if name in cells}
    whole = [cells[name].value or 0.0 for name in WHOLES if name in cells]
    return {
        "candidate": row.candidate,
        "parts": {name: value for name, value in parts.items() if value is not None},
        "total": max([sum(value or 0.0 for value in parts.values()), *whole]),
        "tokens": _tokens(cells),
    }


def _tokens(cells: dict[str, Reading]) -> int | None:
    """The KV cache's capacity in tokens; None if either number is missing."""
    pool, token = (cells.get(name) for name in ("kv_pool_bytes", PER_TOKEN))
    if pool is None or token is None or pool.value is None or not token.value:
        return None
    return int(pool.value // token.value)


def _bars(parts: dict[str, float], end: float) -> list[dict[str, Any]]:
    """Percentages of the axis."""
    return [
        {"part": name, "width": round(value / end * 100, 3) if end else 0.0}
        for name, value in parts.items()
    ]


PAGE = Page(
    name="memory",
    title="Memory",
    order=40,
    sections=(Section("What the memory is for", "sections/memory.html", block),),
)
