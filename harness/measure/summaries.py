"""Summaries of a metric's readings over rounds."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from melange.harness.measure.metric import Metric
from melange.harness.measure.speed import Reading
from melange.harness.measure.tails import batch_refusal, needed
from melange.harness.records import Measurement, Outcome
from melange.harness.stats import mean_interval, trimmed_log_interval, wilson_interval

TAILS = (("", 0.5), ("_p90", 0.9), ("_p99", 0.99))
BOUNDED = 0.9
"""The highest percentile with an interval."""


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
    low = None if low is None else max(min(0.0, *values), low)
    return [Summed(statistics.fmean(values), len(values), low, high)]


def share(values: Sequence[Sequence[float]]) -> list[Summed]:
    """Share of ones among the requests of all repetitions.

    Its 95 % interval is the wider of that over repetitions and that of independent requests: where
    every request of every repetition has a one, repetitions alone would show no doubt.
    """
    pooled = list(chain.from_iterable(values))
    mean_share = statistics.fmean(pooled)
    low, high = wilson_interval(mean_share, len(pooled))
    over, under = mean_interval([statistics.fmean(one) for one in values])
    if over is not None and under is not None:
        low, high = max(0.0, min(low, over)), min(1.0, max(high, under))
    return [Summed(mean_share, len(pooled), low, high)]


def typical(values: Sequence[float]) -> list[Summed]:
    """A trimmed geometric mean over rounds, all above 0: a disturbed round does not move it."""
    value, low, high = trimmed_log_interval([math.log(one) for one in values])
    return [Summed(value, len(values), low, high)]


def percentiles(values: Sequence[Sequence[float]]) -> list[Summed]:
    """p50 over all requests of all rounds of a batch; p90 and p99 where `batch_refusal` allows.

    Without intervals: requests that are served together are not independent of each other, and
    there are too few rounds to draw from.
    """
    pooled = list(chain.from_iterable(values))
    claimed = [(tail, share) for tail, share in TAILS if not batch_refusal(share, values)]
    return [_percentile(pooled, tail, share) for tail, share in claimed]


def repeated_percentiles(values: Sequence[Sequence[float]]) -> list[Summed]:
    """p50, p90 and p99 over all requests of all repetitions of an open loop, each if there are
    enough.

    p50 and p90 have a 95 % interval over repetitions, on a logarithmic scale: requests that wait in
    one queue are not independent, whole repetitions are. A p99 has none: a handful of repetitions
    does not tell how far it varies (docs/decisions/load-as-served.md).
    """
    pooled = list(chain.from_iterable(values))
    claimed = [(tail, share) for tail, share in TAILS if len(pooled) >= needed(share)]
    return [_with_bounds(_percentile(pooled, tail, share), values, share)
            for tail, share in claimed]  # fmt: skip


def _percentile(pooled: Sequence[float], tail: str, share: float) -> Summed:
    return Summed(float(np.quantile(pooled, share)), len(pooled), suffix=tail)


def _with_bounds(found: Summed, values: Sequence[Sequence[float]], share: float) -> Summed:
    each = [float(np.quantile(one, share)) for one in values if len(one) >= needed(share)]
    if share > BOUNDED or len(each) < len(values) or min(each) <= 0:
        return found
    low, high = mean_interval([math.log(one) for one in each])
    if low is None or high is None:
        return found
    factor = math.exp((high - low) / 2)
    return found._replace(low=found.value / factor, high=found.value * factor)


def ratio(values: Sequence[tuple[float, float]]) -> list[Summed]:
    """Ratio to the reference just before and after, so that the machine's drift cancels."""
    return typical([own / beside for own, beside in values])


SUMMARIES: Mapping[str, Callable[[Any], list[Summed]]] = {
    "mean": mean,
    "typical": typical,
    "percentiles": percentiles,
    "ratio": ratio,
    "share": share,
    "median": lambda values: [Summed(statistics.median(values), len(values))],
    "max": lambda values: [Summed(max(values), len(values))],
    "min": lambda values: [Summed(min(values), len(values))],
    "once": lambda values: [Summed(values[0], None)],
}
OPEN_LOOP = {**SUMMARIES, "percentiles": repeated_percentiles}
"""For repetitions of an open loop."""


class Told(NamedTuple):
    """Fields that the records have in common."""

    candidate: str
    family: str
    workload: str | None = None
    num_candidates: int | None = None


def summarize(
    told: Told,
    metrics: Sequence[Metric],
    readings: Sequence[Mapping[str, Reading]],
    summaries: Mapping[str, Callable[[Any], list[Summed]]] = SUMMARIES,
) -> list[Measurement]:
    """Records of each metric that has readings; if none is a number, a skipped one with the reason.

    `readings`: by round.
    """
    records: list[Measurement] = []
    for metric in metrics:
        found = [one[metric.name] for one in readings if metric.name in one]
        values = [one for one in found if one not in ((), []) and not isinstance(one, str)]
        reasons = sorted({one for one in found if isinstance(one, str)})
        if values:
            records += [_record(told, metric, one) for one in summaries[metric.summary](values)]
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
