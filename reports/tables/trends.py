"""Tables with the numbers of trend pages."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from melange.harness.runs.history import Night
from melange.reports.analysis.run import Reading
from melange.reports.analysis.trends.trends import Event, Trend
from melange.reports.page import Column, Table


class Point(NamedTuple):
    run: str
    trend: Trend
    value: Reading


def trend_table(nights: Sequence[Night], found: Sequence[Trend]) -> Table:
    """One row per trend and run that has the number."""
    return Table(
        columns=[
            Column("run", lambda point: point.run),
            Column("candidate", lambda point: point.trend.key.candidate),
            Column("subject", lambda point: point.trend.key.subject or "all"),
            Column("value", lambda point: point.value),
        ],
        rows=[
            Point(nights[at].name, trend, reading_at(trend, at))
            for trend in found
            for at in trend.known.tolist()
        ],
    )


def reading_at(trend: Trend, run: int) -> Reading:
    """The number at a run that has it."""
    low, high, n = (
        None if math.isnan(row[run]) else float(row[run])
        for row in (trend.low_N, trend.high_N, trend.counts_N)
    )
    value = float(trend.values_N[run])
    return Reading(value=value, low=low, high=high, n=None if n is None else int(n), reason="")


def step_table(found: Sequence[Event]) -> Table:
    return Table(
        columns=[
            Column("run", lambda event: event.night.name),
            Column("metric", lambda event: event.trend.key.metric),
            Column("candidate", lambda event: event.trend.key.candidate),
            Column("subject", lambda event: event.trend.key.subject or "all"),
            Column("verdict", lambda event: event.trend.verdict(event.step)),
            Column("before", lambda event: event.step.before),
            Column("after", lambda event: event.step.after),
            Column("change", _change),
            Column("runs_before", lambda event: event.step.runs_before),
            Column("runs_after", lambda event: event.step.runs_after),
            Column("came_with", lambda event: "; ".join(event.came_with)),
        ],
        rows=found,
    )


def _change(event: Event) -> Reading:
    step = event.step
    return Reading(value=step.change, low=step.low, high=step.high, reason="")
