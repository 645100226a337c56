"""What a candidate's memory is made of: weights, keys and values, activations."""

from typing import Any

from melange.harness.metrics import headline
from melange.reports.analysis.run import Reading
from melange.reports.pages import Block
from melange.reports.tables.costs import CostRow, CostTable, cost_frame, cost_table
from melange.reports.units import scale_for
from melange.reports.view import Report

PARTS = ("weights_bytes", "kv_pool_bytes", "activation_bytes")
WHOLES = (headline("memory"), "device_memory_bytes")
PER_TOKEN = "kv_bytes_per_token"


class Memory:
    page = "memory"
    order = 10
    title = "What the memory is for"
    template = "sections/memory.html"

    def block(self, report: Report, subject: str) -> Block | None:
        table = cost_table(report, (*PARTS, PER_TOKEN, *WHOLES))
        if not {"kv_pool_bytes", "activation_bytes"} & set(table.metrics):
            return None
        rows = [_row(table, row) for row in table.rows]
        end = max(row["total"] for row in rows)
        scale = scale_for("bytes", [row["total"] for row in rows])
        frame = cost_frame(table)
        frame["kv_tokens"] = [row["tokens"] for row in rows]
        return Block(
            data={
                "rows": [row | {"bars": _bars(row["parts"], end)} for row in rows],
                "parts": [(m, label) for m, label in zip(table.metrics, table.labels, strict=True)
                          if m in PARTS],
                "end": scale.write(end),
                "scale": scale,
                "table": table,
            },
            tables={"memory-split": frame},
        )  # fmt: skip


def _row(table: CostTable, row: CostRow) -> dict[str, Any]:
    cells = dict(zip(table.metrics, row.cells, strict=True))
    parts = {name: cells[name].value for name in PARTS if name in cells}
    whole = [cells[name].value or 0.0 for name in WHOLES if name in cells]
    return {
        "row": row,
        "parts": {name: value for name, value in parts.items() if value is not None},
        "total": max([sum(value or 0.0 for value in parts.values()), *whole]),
        "tokens": _tokens(cells),
    }


def _tokens(cells: dict[str, Reading]) -> int | None:
    """How many tokens' keys and values the pool holds; None where either number is missing."""
    pool, token = (cells.get(name) for name in ("kv_pool_bytes", PER_TOKEN))
    if pool is None or token is None or pool.value is None or not token.value:
        return None
    return int(pool.value // token.value)


def _bars(parts: dict[str, float], end: float) -> list[dict[str, Any]]:
    """Shares of the axis in percent."""
    return [
        {"part": name, "width": round(value / end * 100, 3) if end else 0.0}
        for name, value in parts.items()
    ]


SECTION = Memory()
