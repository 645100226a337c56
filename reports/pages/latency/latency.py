"""How long requests take that are sent at once: median, 90th and 99th percentile where they can
be claimed, workload by workload."""

from dataclasses import dataclass
from typing import Any

from melange.reports.analysis.run import Reading
from melange.reports.analysis.tails import SHARES, UNCLAIMED
from melange.reports.page import Block, Column, Section, Table
from melange.reports.styles import FamilyStyle
from melange.reports.tables.cost_columns import workload_words
from melange.reports.units import Scale, scale_for
from melange.reports.view import RunView

METRICS = {
    "ttft_sec": "To the first token",
    "tpot_sec": "Per further token",
    "latency_sec": "From end to end",
}
LOCKSTEP = "Its requests run in lockstep: percentiles above the median need an open-loop workload."
FEW = "It has too few requests for the percentiles that are left out: p90 needs 10, p99 100."


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A candidate's percentiles of one metric."""

    p50: Reading
    p90: Reading
    p99: Reading
    bar: dict[str, float] | None
    """Positions on an axis from 0 to 100; None without a median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    candidate: str
    style: FamilyStyle
    count: str
    """Requests and rounds."""
    spreads: tuple[Spread, ...]

    @property
    def gap(self) -> Reading | None:
        """Why all percentiles are missing."""
        medians = [spread.p50 for spread in self.spreads]
        return medians[0] if all(one.value is None for one in medians) else None


def block(view: RunView, subject: str) -> Block | None:
    timed = {w for metric in METRICS for w in view.run.timed.get(metric, [])}
    loads = [w for w in view.run.batches if w in timed]
    if not loads:
        return None
    tables = [_table(view, workload) for workload in loads]
    return Block(
        data={"tables": tables, "metrics": METRICS},
        tables={"latency": _file_table(tables)},
    )


def _table(view: RunView, workload: str) -> dict[str, Any]:
    found = {
        metric: {c: _percentiles(view, c, metric, workload) for c in view.run.families}
        for metric in METRICS
    }
    scales = {metric: _scale(cells) for metric, cells in found.items()}
    ends = {metric: _longest(cells) for metric, cells in found.items()}
    rows = [
        Row(
            candidate=candidate,
            style=view.style(candidate),
            count=view.tails.count(candidate, workload),
            spreads=tuple(_spread(found[m][candidate], ends[m]) for m in METRICS),
        )
        for candidate in view.run.families
    ]
    return {
        "workload": workload,
        "words": workload_words(view.run, workload),
        "rows": sorted(rows, key=_order),
        "notes": _notes(found),
        "scales": scales,
        "ends": ends,
    }


def _percentiles(view: RunView, candidate: str, metric: str, workload: str) -> list[Reading]:
    return [view.tails.read(candidate, metric, tail, workload) for tail in SHARES]


def _notes(found: dict[str, dict[str, list[Reading]]]) -> list[str]:
    """Why percentiles are left out of a table."""
    unclaimed = [
        one.reason
        for cells in found.values()
        for readings in cells.values()
        for one in readings
        if one.outcome == UNCLAIMED
    ]
    lockstep = [reason for reason in unclaimed if "lockstep" in reason]
    return [LOCKSTEP] * bool(lockstep) + [FEW] * (len(unclaimed) > len(lockstep))


def _scale(cells: dict[str, list[Reading]]) -> Scale:
    return scale_for("sec", [readings[0].value for readings in cells.values()])


def _longest(cells: dict[str, list[Reading]]) -> float:
    """Where the axis ends, in seconds."""
    return max((r.value for rs in cells.values() for r in rs if r.value is not None), default=0.0)


def _spread(readings: list[Reading], end: float) -> Spread:
    p50, p90, p99 = readings
    bar = None
    if p50.value is not None and end > 0:
        at, tick, stop = (_at(r.value, p50.value, end) for r in readings)
        bar = {"at": at, "tick": tick, "stop": max(at, tick, stop)}
    return Spread(p50=p50, p90=p90, p99=p99, bar=bar)


def _at(value: float | None, otherwise: float, end: float) -> float:
    return round((otherwise if value is None else value) / end * 100, 2)


def _order(row: Row) -> tuple[bool, float]:
    """By end-to-end latency, then those without it."""
    value = row.spreads[-1].p50.value
    return (value is None, value or 0.0)


def _file_table(tables: list[dict[str, Any]]) -> Table:
    """One row per workload, candidate and metric."""
    return Table(
        columns=[
            Column("workload", lambda line: line[0]),
            Column("candidate", lambda line: line[1].candidate),
            Column("family", lambda line: line[1].style.family),
            Column("metric", lambda line: line[2]),
            Column("requests", lambda line: line[1].count),
            Column("p50", lambda line: line[3].p50),
            Column("p90", lambda line: line[3].p90),
            Column("p99", lambda line: line[3].p99),
        ],
        rows=[
            (table["workload"], row, metric, spread)
            for table in tables
            for row in table["rows"]
            for metric, spread in zip(METRICS, row.spreads, strict=True)
        ],
    )


SECTION = Section("Latency of batches", "sections/latency.html", block)
