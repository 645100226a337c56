"""Metrics that are no means: functions of sums over all examples, as perplexity, F1 or BLEU are.

Each example adds a row of statistics, and the metric is a function of the rows' sum. From that
follow the metric's interval, by a bootstrap over clusters, and a score for each example: what it
adds to the metric. The scores' mean is the metric, and their spread is its error (the jackknife's),
so that whatever works on the scores of a mean works on these: paired differences, clusters, means
over tasks.

Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 11 (pseudo-values) and
13 (percentiles).

Shape letters: N examples, S statistics, G clusters, B resamples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from melange.harness.stats.clusters import Clusters, cluster, t_quantile
from melange.harness.stats.intervals import Z95, Interval, score_interval

RESAMPLES = 2000
FEW = 2
"""Clusters below which nothing can be resampled."""
MANY = 1000
"""Clusters above which the jackknife's normal interval stands in: it is the same by then, and
resampling would take seconds."""


class Bounds(NamedTuple):
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A metric of a candidate on a task."""

    statistics_NS: np.ndarray
    of_sums: Callable[[np.ndarray], np.ndarray]
    """The metric [B] of sums [B, S]."""

    @property
    def value(self) -> float:
        return float(self.of_sums(self.statistics_NS.sum(axis=0)[None])[0])


def example_scores(pooled: Pooled, value: float | None = None) -> np.ndarray:
    """What each example adds to the metric, shape [N]; their mean is `value`, else the metric.

    Pseudo-values of the jackknife, moved to have that mean: uncentred they would also correct a
    bias, and a score of its own would not be the recorded one.
    """
    statistics_NS = pooled.statistics_NS
    num = len(statistics_NS)
    mean = pooled.value if value is None else value
    if num < FEW:
        return np.full(num, mean)
    without_N = pooled.of_sums(statistics_NS.sum(axis=0) - statistics_NS)
    shifts_N = (num - 1) * (without_N.mean() - without_N)
    return np.asarray(mean + shifts_N - shifts_N.mean())


def pooled_interval(pooled: Pooled, clusters: Clusters = None) -> Interval:
    """The metric with its 95 % interval: the bootstrap's; between 0 and 1 each end is the farther
    one of that and of the scores' interval, as a handful of errors resamples too evenly."""
    line = score_interval(example_scores(pooled), clusters)
    low, high = bootstrap_bounds(pooled, clusters)
    if low is None or high is None:
        return line
    if 0 <= line.mean <= 1:
        low, high = min(low, line.low), max(high, line.high)
    return Interval(mean=line.mean, low=low, high=high, n=line.n)


def bootstrap_bounds(pooled: Pooled, clusters: Clusters = None, *, seed: int = 0) -> Bounds:
    """95 % interval of the metric: percentiles over resampled clusters, moved outward for few.

    None at both ends for a single cluster, and where every resample gives the same value: a perfect
    score does not show how it varies.

    Source: Hesterberg 2015, The American Statistician 69, 371-386 (expanded percentiles).
    """
    totals_GS = cluster(pooled.statistics_NS.T, clusters).totals_KG.T
    num = len(totals_GS)
    if num < FEW or num > MANY:
        return _jackknife_bounds(pooled, totals_GS) if num > MANY else Bounds(None, None)
    rng = np.random.default_rng(seed)
    times_BG = rng.multinomial(num, np.full(num, 1 / num), size=RESAMPLES)
    values_B = pooled.of_sums(times_BG @ totals_GS)
    known_B = values_B[np.isfinite(values_B)]
    if len(known_B) < len(values_B) or np.ptp(known_B) == 0:
        return Bounds(None, None)
    tail = _normal_tail(math.sqrt(num / (num - 1)) * t_quantile(num - 1))
    low, high = np.quantile(known_B, [tail, 1 - tail])
    return Bounds(float(low), float(high))


def _jackknife_bounds(pooled: Pooled, totals_GS: np.ndarray) -> Bounds:
    without_G = pooled.of_sums(totals_GS.sum(axis=0) - totals_GS)
    num = len(totals_GS)
    half = Z95 * math.sqrt((num - 1) * float(np.var(without_G)))
    return Bounds(pooled.value - half, pooled.value + half) if half > 0 else Bounds(None, None)


def _normal_tail(quantile: float) -> float:
    """Chance of a normal number above it; a fortieth for `Z95`."""
    assert quantile >= Z95 * 0.99, "t is wider than the normal distribution"
    return 0.5 * math.erfc(quantile / math.sqrt(2))


# Functions of sums


def ratio(sums_BS: np.ndarray) -> np.ndarray:
    """First statistic over second: a weighted mean."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums_BS[:, 0] / sums_BS[:, 1])


def perplexity(sums_BS: np.ndarray) -> np.ndarray:
    """Of log-likelihoods (nats) and numbers of words, bytes or answers."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(-ratio(sums_BS)))


def bits(sums_BS: np.ndarray) -> np.ndarray:
    """Of log-likelihoods (nats) and numbers of bytes."""
    return np.asarray(-ratio(sums_BS) / math.log(2))


def f1(sums_BS: np.ndarray) -> np.ndarray:
    """Of counts of true positives, false positives and false negatives; 0 where there are none."""
    true_B, false_B, missed_B = sums_BS.T
    whole_B = 2 * true_B + false_B + missed_B
    return np.asarray(2 * true_B / np.where(whole_B > 0, whole_B, 1))


def mcc(sums_BS: np.ndarray) -> np.ndarray:
    """Matthews' correlation of a table of C classes, gold by predicted, given row by row; 0 where
    all are predicted or labelled alike.

    Source: Gorodkin 2004, Computational Biology and Chemistry 28, 367-374.
    """
    classes = math.isqrt(sums_BS.shape[1])
    table_BCC = sums_BS.reshape(-1, classes, classes)
    all_B = sums_BS.sum(axis=1)
    gold_BC, said_BC = table_BCC.sum(axis=2), table_BCC.sum(axis=1)
    right_B = np.trace(table_BCC, axis1=1, axis2=2)
    above_B = right_B * all_B - (gold_BC * said_BC).sum(axis=1)
    spread_B = (all_B**2 - (gold_BC**2).sum(axis=1)) * (all_B**2 - (said_BC**2).sum(axis=1))
    return np.asarray(above_B / np.sqrt(np.where(spread_B > 0, spread_B, 1)))


def mean_of_parts(sums_BS: np.ndarray, chances_P: np.ndarray | None = None) -> np.ndarray:
    """The mean over P parts of their means, of P sums and P counts; a part that a resample leaves
    out has no weight. With `chances_P`: of what is above chance, (mean - chance) / (1 - chance),
    nothing below 0."""
    sums_BP, counts_BP = np.split(sums_BS, 2, axis=1)
    means_BP = sums_BP / np.where(counts_BP > 0, counts_BP, 1)
    if chances_P is not None:
        means_BP = np.maximum(0.0, (means_BP - chances_P) / (1 - chances_P))
    return np.asarray((means_BP * (counts_BP > 0)).sum(axis=1) / (counts_BP > 0).sum(axis=1))
