"""Means over tasks, their covariance between candidates, and what follows from it.

Shape letters: K candidates, N examples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from melange.harness.stats.clusters import Clusters, cluster, t_p_value, t_quantile
from melange.harness.stats.influences import Influences, shared
from melange.harness.stats.intervals import (
    Z95,
    Interval,
    Precision,
    mean_bounds,
    score_bounds,
)
from melange.harness.stats.paired import PSEUDO, Paired, holm
from melange.harness.stats.simultaneous import simultaneous_quantile

DOUBT_OF_MEANS = 0.5
"""Like `DOUBT` of intervals.py, but larger: tasks near 0 beside tasks near 1 hide how much each may
vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScores:
    """All candidates' scores on the examples of one task, higher is better."""

    scores_KN: np.ndarray
    clusters_N: Clusters = None
    """Names that several tasks use are of one cluster: a fact that two tasks ask about."""
    names_G: np.ndarray | None = None
    """Names of clusters that are given as numbers from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Means of K candidates. All saw the same examples, so that differences are paired.

    NaN where a candidate has no scores; it passes on to whatever rests on them.
    """

    values_K: np.ndarray
    covariance_KK: np.ndarray
    low_K: np.ndarray
    """95 % interval of each mean alone, inside [0, 1] for scores that are."""
    high_K: np.ndarray
    degrees: float
    """Degrees of freedom of the covariance."""
    n: int
    """Examples of all tasks."""
    effective: float
    """Examples with the weight that each task has here: n where tasks are of one size."""
    effective_clusters: float
    concentration: float = 1.0
    """Sum of the squared shares that clusters have in the examples."""
    influences: Influences | None = None
    """Of one task whose clusters have names; None for others."""
    floor: float
    """Variance that each difference gets on top, so that none is certain: `PSEUDO` wins each."""

    def interval(self, k: int) -> Interval:
        mean, low, high = (float(of_K[k]) for of_K in (self.values_K, self.low_K, self.high_K))
        return Interval(mean=mean, low=low, high=high, n=self.n)

    def chosen(self, k: int) -> Interval:
        """The mean at place k, with an interval that holds although the data chose it among all of
        these candidates, for instance as the highest.

        All candidates' means are inside such intervals at once in 95 % of draws.
        """
        known = Precision(
            n=self.effective,
            clusters=self.effective_clusters,
            degrees=self.degrees,
            doubt=DOUBT_OF_MEANS,
            quantile=simultaneous_quantile(self.covariance_KK, self.degrees),
        )
        low_K, high_K = mean_bounds(self.values_K, np.diag(self.covariance_KK), known)
        low, high = min(low_K[k], self.low_K[k]), max(high_K[k], self.high_K[k])
        return Interval(mean=float(self.values_K[k]), low=float(low), high=float(high), n=self.n)

    def difference(self, left: int, right: int) -> Paired:
        """left - right; the interval holds 0 where the p-value is above 0.05, and only there."""
        gap = float(self.values_K[left] - self.values_K[right])
        error = math.sqrt(self.variance_KK[left, right])
        half = t_quantile(self.degrees) * error
        return Paired(
            difference=gap,
            low=gap - half,
            high=gap + half,
            error=error,
            p_value=float(t_p_value(gap / error, self.degrees)),
            n=self.n,
        )

    def select(self, rows: Sequence[int]) -> "Means":
        """Of these candidates only, in this order."""
        at = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            values_K=self.values_K[at],
            covariance_KK=self.covariance_KK[np.ix_(at, at)],
            low_K=self.low_K[at],
            high_K=self.high_K[at],
            influences=self.influences and self.influences.select(at),
        )

    def spread(self, rows: Sequence[int], num_rows: int) -> "Means":
        """Among more candidates, at these places; the others have no scores."""
        at = np.asarray(rows, dtype=np.int64)
        values_K, low_K, high_K = np.full((3, num_rows), np.nan)
        covariance_KK = np.full((num_rows, num_rows), np.nan)
        values_K[at], low_K[at], high_K[at] = self.values_K, self.low_K, self.high_K
        covariance_KK[np.ix_(at, at)] = self.covariance_KK

        return replace(
            self, values_K=values_K, covariance_KK=covariance_KK, low_K=low_K, high_K=high_K,
            influences=self.influences and self.influences.among(at, num_rows),
        )  # fmt: skip

    def with_unrelated(self, k: int, interval: Interval) -> "Means":
        """With a mean at place k that was measured on examples of its own."""
        values_K, low_K, high_K = self.values_K.copy(), self.low_K.copy(), self.high_K.copy()
        values_K[k], low_K[k], high_K[k] = interval.mean, interval.low, interval.high
        covariance_KK = self.covariance_KK.copy()
        known_K = ~np.isnan(values_K)
        covariance_KK[k, known_K] = covariance_KK[known_K, k] = 0.0
        covariance_KK[k, k] = ((interval.high - interval.low) / (2 * Z95)) ** 2
        return replace(
            self, values_K=values_K, covariance_KK=covariance_KK, low_K=low_K, high_K=high_K
        )

    @property
    def variance_KK(self) -> np.ndarray:
        """Of all pairs' differences."""
        own_K = np.diag(self.covariance_KK)
        apart_KK = own_K[:, None] + own_K[None] - 2 * self.covariance_KK
        return np.asarray(np.maximum(apart_KK, 0.0) + self.floor)


def task_means(task: TaskScores) -> Means:
    """One task's means."""
    sums = cluster(task.scores_KN, task.clusters_N)
    low_K, high_K = score_bounds(task.scores_KN, task.clusters_N)
    shares_G = sums.sizes_G / sums.num_examples
    names_G = sums.names_G if task.names_G is None else task.names_G
    if task.names_G is not None and sums.independent:  # then columns are examples
        names_G = task.names_G[np.asarray(task.clusters_N)]
    return Means(
        values_K=sums.means_K,
        covariance_KK=sums.covariance_KK,
        low_K=low_K,
        high_K=high_K,
        degrees=sums.degrees,
        n=sums.num_examples,
        effective=sums.num_examples,
        effective_clusters=sums.num_clusters,
        concentration=float(np.sum(shares_G**2)),
        influences=None if names_G is None else Influences(names_G, shares_G, sums.shifts_KG),
        floor=2 * PSEUDO * float(np.mean(sums.sizes_G**2)) / sums.num_examples**2,
    )


def aggregate(tasks: Sequence[TaskScores]) -> Means:
    """Means over tasks, each with the same weight, of candidates that have all of them."""
    return combine([task_means(task) for task in tasks])


def combine(tasks: Sequence[Means]) -> Means:
    """The mean over tasks of means over their examples.

    Tasks are fixed: only examples are a sample of a larger population. A cluster that several
    tasks share is one draw: its influences are added up before they are squared.
    """
    if len(tasks) == 1:
        return tasks[0]
    weight = 1 / len(tasks)
    told = [task.influences for task in tasks if task.influences is not None]
    shared_KK, overlap = shared(told, len(tasks[0].values_K))
    values_K = weight * np.sum([t.values_K for t in tasks], axis=0)
    covariance_KK = weight**2 * (np.sum([t.covariance_KK for t in tasks], axis=0) + shared_KK)
    apart = weight**2 * sum(t.concentration for t in tasks)
    concentration = apart + weight**2 * overlap
    effective = _of_all([t.effective for t in tasks])
    clusters = _of_all([t.effective_clusters for t in tasks]) * apart / concentration
    degrees = _of_all([t.degrees for t in tasks]) * apart / concentration
    known = Precision(n=effective, clusters=clusters, degrees=degrees, doubt=DOUBT_OF_MEANS)
    low_K, high_K = mean_bounds(values_K, np.diag(covariance_KK), known)
    return Means(
        values_K=values_K, covariance_KK=covariance_KK, low_K=low_K, high_K=high_K,
        degrees=degrees, n=sum(t.n for t in tasks), effective=effective,
        effective_clusters=clusters, concentration=concentration, influences=None,
        floor=weight**3 * sum(t.floor for t in tasks),
    )  # fmt: skip


def _of_all(of_tasks: Sequence[float]) -> float:
    """Of a mean over tasks, in which each has the same weight."""
    return len(of_tasks) ** 2 / sum(1 / each for each in of_tasks)


def adjusted_pairs(means: Means, num_absent: int = 0) -> np.ndarray:
    """p-values of all pairs' differences, corrected after Holm over all of them; shape [K, K].

    So a pair may be picked after looking at the data, as the leader is. `num_absent`: candidates
    that are not here because of the data; their pairs are corrected for, too.
    """
    num = len(means.values_K)
    left_P, right_P = np.triu_indices(num, k=1)
    gaps_P = means.values_K[left_P] - means.values_K[right_P]
    errors_P = np.sqrt(means.variance_KK[left_P, right_P])
    adjusted_KK = np.ones((num, num))
    num_more = num_absent * (num_absent - 1 + 2 * num) // 2
    adjusted_KK[left_P, right_P] = holm(t_p_value(gaps_P / errors_P, means.degrees), num_more)
    return np.minimum(adjusted_KK, adjusted_KK.T)


def rank_ranges(means: Means, alpha: float = 0.05, num_absent: int = 0) -> list[tuple[int, int]]:
    """Each candidate's best and worst rank that the data allow.

    At best 1 + the number of candidates that are significantly better, at worst K less the number
    that are significantly worse (`adjusted_pairs`, with so many candidates absent, at most alpha).
    Some pairs are measured more exactly than others, so a candidate may be beaten by more than one
    with a lower mean is. Ranges are widened until both ends follow the order of the means; wider
    ones stay valid.

    Source: Holm's simultaneous tests, inverted, as in Klein, Wright & Wieczorek 2020, Journal of
    the Royal Statistical Society A 183, 589-606.
    """
    order_K = np.argsort(-means.values_K, kind="stable")
    parted_KK = adjusted_pairs(means, num_absent) <= alpha
    better_KK = means.values_K[:, None] > means.values_K[None]
    first_K = 1 + (better_KK & parted_KK).sum(axis=0)[order_K]
    last_K = len(order_K) - (better_KK & parted_KK).sum(axis=1)[order_K]
    first_K = np.minimum.accumulate(first_K[::-1])[::-1]
    last_K = np.maximum.accumulate(last_K)
    places_K = np.argsort(order_K, kind="stable")
    return [(int(first_K[at]), int(last_K[at])) for at in places_K]


def rank_groups(means: Means, alpha: float = 0.05, num_absent: int = 0) -> list[int]:
    """Each candidate's best rank, see `rank_ranges`. Candidates of one rank may differ; those of
    different ranks need not be a significantly different pair."""
    return [first for first, _ in rank_ranges(means, alpha, num_absent)]


def gap_closed(means: Means, *, base: int, tuned: int, candidate: int) -> Interval | None:
    """(candidate - base) / (tuned - base): 0 is the base, 1 is tuning itself.

    None where tuned - base is not significantly positive: a share of nothing has no interval.
    """
    return _ratio(means, _contrast(means, candidate, base), _contrast(means, tuned, base))


def retained(means: Means, *, whole: int, candidate: int) -> Interval | None:
    """candidate / whole: the share of a model's accuracy that another keeps.

    None where the whole is not significantly above 0.
    """
    return _ratio(means, _contrast(means, candidate), _contrast(means, whole))


def _contrast(means: Means, plus: int, minus: int | None = None) -> np.ndarray:
    weights_K = np.zeros(len(means.values_K))
    weights_K[plus] += 1
    if minus is not None:
        weights_K[minus] -= 1
    return weights_K


def _ratio(means: Means, top_K: np.ndarray, bottom_K: np.ndarray) -> Interval | None:
    """Ratio of two weighted sums of the means, after Fieller.

    Source: Fieller 1954, Journal of the Royal Statistical Society B 16, 175-185.
    """
    weights_2K = np.stack([top_K, bottom_K])
    top, bottom = (float(value) for value in weights_2K @ means.values_K)
    covariance_22 = weights_2K @ means.covariance_KK @ weights_2K.T
    # A difference is never certain, see `Means.floor`; a sum of weights of 0 is a difference.
    covariance_22 += np.diag(np.where(weights_2K.sum(axis=1) == 0, means.floor, 0.0))
    t2 = t_quantile(means.degrees) ** 2
    a = bottom**2 - t2 * covariance_22[1, 1]
    b = top * bottom - t2 * covariance_22[0, 1]
    c = top**2 - t2 * covariance_22[0, 0]
    if bottom <= 0 or a <= 0:
        return None
    half = math.sqrt(max(0.0, b**2 - a * c))
    return Interval(mean=top / bottom, low=(b - half) / a, high=(b + half) / a, n=means.n)
