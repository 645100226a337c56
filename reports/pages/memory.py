"""Parts of the memory that a candidate needs: weights, keys and values, activations."""

from collections.abc import Mapping, Sequence
from typing import Any

from melange.harness.metrics import FORMER, headline
from melange.reports.analysis.run import Reading
from melange.reports.page import Block, Column, Page, Section, Table
from melange.reports.tables.cost_columns import load_words
from melange.reports.tables.costs import CostRow, cost_table
from melange.reports.tables.files import shown_rows
from melange.reports.units import scale_for
from melange.reports.view import RunView

NEED = headline("memory")
NEEDED = ("weights_bytes", "kv_load_bytes", "peak_activation_bytes")
HELD = ("weights_bytes", "kv_pool_bytes", "activation_bytes")
"""What runs of earlier versions have instead."""
WHOLES = (FORMER["memory"], "device_memory_bytes")
BESIDE = ("kv_bytes_per_token", NEED, "kv_pool_bytes", *WHOLES)


def block(view: RunView, subject: str) -> Block | None:
    parts = NEEDED if view.run.headline("memory") == NEED else HELD
    table = cost_table(view.run, tuple(dict.fromkeys((*parts, *BESIDE))))
    columns = {column.name: column for column in table.columns}
    if not {"kv_pool_bytes", *parts[1:]} & set(columns):
        return None
    rows = [_row(row, columns, parts) for row in table.rows]
    end = max(row["total"] for row in rows)
    scale = scale_for("bytes", [row["total"] for row in rows])
    more = [Column("kv_tokens", lambda row: _row(row, columns, parts)["tokens"]), *_share(view)]
    return Block(
        data={
            "rows": [
                row | {"shown": shown, "bars": _bars(row["parts"], end)}
                for row, shown in zip(rows, shown_rows(table), strict=True)
            ],
            "parts": [columns[name] for name in parts if name in columns],
            "end": scale.write(end),
            "scale": scale,
            "columns": [column for column in table.columns if column.scale],
            "load": load_words(view.run) if parts is NEEDED and view.run.load else "",
            "device": _device(view),
        },
        tables={"memory-split": Table([*table.columns, *more], table.rows)},
    )


def _row(row: CostRow, columns: Mapping[str, Column], parts: Sequence[str]) -> dict[str, Any]:
    cells = {name: column.value(row) for name, column in columns.items() if column.scale}
    found = {name: cells[name].value for name in parts if name in cells}
    wholes = [] if parts is NEEDED else [cells[name].value for name in WHOLES if name in cells]
    return {
        "candidate": row.candidate,
        "parts": {name: value for name, value in found.items() if value is not None},
        "total": max([sum(value or 0.0 for value in found.values()), *(v or 0.0 for v in wholes)]),
        "tokens": _tokens(cells),
        "need": cells[NEED].value if NEED in cells else None,
    }


def _device(view: RunView) -> float | None:
    """Bytes of the GPU; None on a CPU, or if the run does not record them."""
    known = view.run.manifest.hardware.get("gpu_memory_bytes")
    return float(known) if view.run.manifest.device == "cuda" and known else None


def _share(view: RunView) -> list[Column]:
    """The least `gpu_memory_utilization`, without CUDA's own context and its graphs."""
    device = _device(view)
    if device is None:
        return []

    def share(row: CostRow) -> float | None:
        need = view.run.read(row.candidate, NEED).value
        return need / device if need is not None else None

    return [Column("share_of_gpu", share)]


def _tokens(cells: dict[str, Reading]) -> int | None:
    """The KV cache's capacity in tokens; None if either number is missing."""
    pool, token = (cells.get(name) for name in ("kv_pool_bytes", "kv_bytes_per_token"))
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
