"""The rounds of a run as arrays, and which quantities are judged from them.

Shape letters: C units (candidates that are timed as one), W workloads, R rounds. NaN: not timed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from melange.harness.measure.energy import JOULES_PER_TOKEN
from melange.harness.measure.metric import Metric
from melange.harness.measure.summaries import TAILS
from melange.harness.measure.throughput import TOTAL
from melange.harness.metrics import METRICS
from melange.harness.round_line import RoundLine
from melange.reports.analysis.comparison.noise import LogRounds
from melange.reports.analysis.comparison.units import Cell, Rounds

JUDGED_TAILS = TAILS[:2]
"""Median and 90th percentile: of a round's few requests, p99 is the slowest one."""


class Quantity(NamedTuple):
    """A number of every round."""

    name: str
    """The metric's, with the suffix of its percentile."""
    metric: Metric
    quantile: float | None = None
    """Over the requests of a round; None for a number of the whole round."""

    def of(self, line: RoundLine) -> float | None:
        """None where the round does not have it."""
        if self.metric is TOTAL:
            return (line.prompt_tokens + line.output_tokens) / line.wall_sec
        if self.metric is JOULES_PER_TOKEN:
            return line.energy_joules and line.energy_joules / line.output_tokens
        found = getattr(line, self.metric.name)
        if self.quantile is None or not found:
            return found or None
        return _quantile(found, self.quantile)

    @property
    def sign(self) -> int:
        return 1 if self.metric.higher_is_better else -1

    def log(self, line: RoundLine) -> float:
        """Turned so that higher is better; NaN where there is no number."""
        value = self.of(line) if line.wall_sec else None
        return self.sign * math.log(value) if value else math.nan

    def typical(self, logs: np.ndarray) -> float:
        """The number itself, at the median of its logs."""
        return math.exp(self.sign * float(np.nanmedian(logs)))


def _quantile(values: Sequence[float], share: float) -> float:
    """As numpy's, which takes fifty times as long for so few numbers."""
    ordered = sorted(values)
    below, rest = divmod(share * (len(ordered) - 1), 1)
    above = min(int(below) + 1, len(ordered) - 1)
    return ordered[int(below)] * (1 - rest) + ordered[above] * rest


def _quantities(metric: Metric) -> list[Quantity]:
    if metric.summary != "percentiles":
        return [Quantity(metric.name, metric)]
    return [Quantity(f"{metric.name}{tail}", metric, share) for tail, share in JUDGED_TAILS]


SPEED = Quantity(TOTAL.name, TOTAL)
OTHERS = tuple(
    quantity
    for metric in METRICS
    if metric.judged_by == "rounds" and metric is not TOTAL
    for quantity in _quantities(metric)
)
"""What is judged beside the speed."""


class Axes(NamedTuple):
    """What the arrays of a comparison have in their rows and columns."""

    units: Sequence[str]
    workloads: Sequence[str]
    reference: int | None
    """The row of the reference candidate."""

    @staticmethod
    def of(cells: Sequence[Cell], reference: str) -> "Axes":
        units = list(dict.fromkeys(unit for unit, _ in cells))
        workloads = list(dict.fromkeys(workload for _, workload in cells))
        return Axes(units, workloads, units.index(reference) if reference in units else None)


Timed = Mapping[str, LogRounds]
"""A run's rounds, by the name of the quantity; without those that no candidate has."""


def timed(rounds: Rounds, axes: Axes) -> Timed:
    quantities = (SPEED, *OTHERS)
    num_rounds = 1 + max(line.round for lines in rounds.values() for line in lines)
    shape = (len(axes.units), len(axes.workloads), num_rounds)
    found = {one.name: np.full(shape, np.nan) for one in quantities}
    calibration_CWR = np.full(shape, np.nan)
    for (unit, workload), lines in rounds.items():
        row, column = axes.units.index(unit), axes.workloads.index(workload)
        for line in lines:
            at = (row, column, line.round)
            for one in quantities:
                found[one.name][at] = one.log(line)
            calibration_CWR[at] = math.log(line.calibration_sec or math.nan)
    return {
        one.name: LogRounds(
            throughput_CWR=found[one.name],
            # A joule does not take longer on a slower machine.
            calibration_CWR=0.0 * calibration_CWR
            if one.metric is JOULES_PER_TOKEN
            else calibration_CWR,
        )
        for one in quantities
        if np.isfinite(found[one.name]).any()
    }
