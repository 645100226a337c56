"""Summaries of a metric's readings over rounds."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from melange.harness.measure.metric import Metric
from melange.harness.measure.speed import Reading
from melange.harness.records import Measurement, Outcome
from melange.harness.stats import mean_interval, trimmed_log_interval

TAILS = (("", 0.5), ("_p90", 0.9), ("_p99", 0.99))


class Summed(NamedTuple):
    value: float
    n: int | None
    low: float | None = None
    high: float | None = None
    suffix: str = ""
    """Appended to the metric's name."""


def mean(values: Sequence[float]) -> list[Summed]:
    """With the 95 % interval over rounds, which is wide for few."""
    low, high = mean_interval(values)
    low = None if low is None else max(0.0, low)
    return [Summed(statistics.fmean(values), len(values), low, high)]


def typical(values: Sequence[float]) -> list[Summed]:
    """A trimmed geometric mean over rounds, all above 0: a disturbed round does not move it."""
    value, low, high = trimmed_log_interval([math.log(one) for one in values])
    return [Summed(value, len(values), low, high)]


def percentiles(values: Sequence[Sequence[float]]) -> list[Summed]:
    """p50, p90 and p99 over all requests of all rounds.

    Without intervals: requests that are served together are not independent of each other, and
    there are too few rounds to draw from.
    """
    pooled = list(chain.from_iterable(values))
    found = np.quantile(pooled, [share for _, share in TAILS]).tolist()
    return [Summed(value, len(pooled), suffix=tail)
            for (tail, _), value in zip(TAILS, found, strict=True)]  # fmt: skip


def ratio(values: Sequence[tuple[float, float]]) -> list[Summed]:
    """Ratio to the reference just before and after, so that the machine's drift cancels."""
    return typical([own / beside for own, beside in values])


SUMMARIES: Mapping[str, Callable[[Any], list[Summed]]] = {
    "mean": mean,
    "typical": typical,
    "percentiles": percentiles,
    "ratio": ratio,
    "median": lambda values: [Summed(statistics.median(values), len(values))],
    "max": lambda values: [Summed(max(values), len(values))],
    "min": lambda values: [Summed(min(values), len(values))],
    "once": lambda values: [Summed(values[0], None)],
}


class Told(NamedTuple):
    """Fields that the records have in common."""

    candidate: str
    family: str
    workload: str | None = None
    num_candidates: int | None = None


def summarize(
    told: Told, metrics: Sequence[Metric], readings: Sequence[Mapping[str, Reading]]
) -> list[Measurement]:
    """Records of each metric that has readings; if none is a number, a skipped one with the reason.

    `readings`: by round.
    """
    records: list[Measurement] = []
    for metric in metrics:
        found = [one[metric.name] for one in readings if metric.name in one]
        values = [one for one in found if one != () and not isinstance(one, str)]
        reasons = sorted({one for one in found if isinstance(one, str)})
        if values:
            records += [_record(told, metric, one) for one in SUMMARIES[metric.summary](values)]
        elif reasons:
            skipped = {"value": None, "outcome": Outcome.SKIPPED, "reason": "; ".join(reasons)}
            records.append(_record(told, metric, Summed(0.0, None)).model_copy(update=skipped))
    return records


def _record(told: Told, metric: Metric, summed: Summed) -> Measurement:
    return Measurement(
        candidate=told.candidate,
        family=told.family,
        workload=told.workload,
        num_candidates=told.num_candidates,
        metric=f"{metric.name}{summed.suffix}",
        value=summed.value,
        unit=metric.unit,
        n=summed.n,
        ci_low=summed.low,
        ci_high=summed.high,
        higher_is_better=metric.higher_is_better,
    )
