"""Tables of what candidates cost: one row a candidate, one column a metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from melange.reports.analysis.run import Reading
from melange.reports.metrics import Metric, describe
from melange.reports.units import Scale, scale_for, unit_kind
from melange.reports.view import Look, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    candidate: str
    look: Look
    cells: tuple[Reading, ...]

    @property
    def gap(self) -> Reading | None:
        """Why the whole row is empty, where there is one reason for all of it."""
        alike = all(cell.value is None for cell in self.cells) and len(set(self.cells)) == 1
        return self.cells[0] if alike else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    metrics: tuple[str, ...]
    labels: tuple[Metric, ...]
    scales: tuple[Scale, ...]
    rows: tuple[CostRow, ...]


def cost_table(report: Report, metrics: Sequence[str], workload: str | None = None) -> CostTable:
    """Every candidate in the plan's order, and those of the metrics that any of them has."""
    run = report.run
    cells = {m: [run.read(c, m, workload=workload) for c in run.families] for m in metrics}
    shown = [m for m in metrics if any(cell.value is not None for cell in cells[m])]
    rows = [
        CostRow(
            candidate=candidate,
            look=report.look(candidate),
            cells=tuple(cells[metric][at] for metric in shown),
        )
        for at, candidate in enumerate(run.families)
    ]
    return CostTable(
        metrics=tuple(shown),
        labels=tuple(describe(metric) for metric in shown),
        scales=tuple(_scale(metric, cells[metric]) for metric in shown),
        rows=tuple(rows),
    )


def cost_frame(table: CostTable, **fixed: Any) -> pd.DataFrame:
    """Plain numbers in storage units, for CSV; `fixed` columns say what the table is about."""
    return pd.DataFrame([_plain_row(table, row) | fixed for row in table.rows])


def _plain_row(table: CostTable, row: CostRow) -> dict[str, Any]:
    plain: dict[str, Any] = {"candidate": row.candidate, "family": row.look.family}
    for metric, cell in zip(table.metrics, row.cells, strict=True):
        plain |= {
            metric: cell.value,
            f"{metric}_ci_low": cell.low,
            f"{metric}_ci_high": cell.high,
            f"{metric}_n": cell.n,
            f"{metric}_gap": cell.reason,
        }
    return plain


def _scale(metric: str, cells: Sequence[Reading]) -> Scale:
    return scale_for(unit_kind(metric, ""), [cell.value for cell in cells])
