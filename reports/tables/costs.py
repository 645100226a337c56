"""Tables of candidates' costs: one row per candidate, one column per metric."""

from collections.abc import Sequence
from typing import NamedTuple

from melange.reports.analysis.run import Reading, Run
from melange.reports.metrics import describe
from melange.reports.page import Column, Table
from melange.reports.units import scale_for, unit_kind


class CostRow(NamedTuple):
    candidate: str
    workload: str | None


def cost_table(
    run: Run, metrics: Sequence[str], workloads: Sequence[str | None] = (None,)
) -> Table:
    """All candidates in the plan's order, and the metrics that any of them has."""
    rows = [CostRow(candidate, workload) for workload in workloads for candidate in run.families]
    found = [_metric_column(run, metric, rows) for metric in metrics]
    timed = [] if workloads == (None,) else [Column("workload", lambda row: row.workload)]
    return Table(
        columns=[
            Column("candidate", lambda row: row.candidate, "Candidate"),
            Column("family", lambda row: run.families[row.candidate], "Family"),
            *(column for column in found if column is not None),
            *timed,
        ],
        rows=rows,
    )


def _metric_column(run: Run, metric: str, rows: Sequence[CostRow]) -> Column | None:
    """None if no row has the metric."""

    def read(row: CostRow) -> Reading:
        return run.read(row.candidate, metric, workload=row.workload)

    values = [read(row).value for row in rows]
    if all(value is None for value in values):
        return None
    known = describe(metric)
    scale = scale_for(unit_kind(metric, ""), values)
    return Column(metric, read, known.label, scale, known.meaning)
