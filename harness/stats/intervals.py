"""95 % intervals of means, shares, ratios."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melange.harness.stats.clusters import Clusters, cluster, t_quantile

Z95 = 1.959963984540054

DOUBT = 0.1
"""Prior weight, in variances of a 0/1 score, of the belief that scores vary like 0/1 scores.

Without it, a few fractions close to 0 or 1 would look certain.
"""
DOUBT_OF_CLUSTERS = 0.05
"""The same for clusters of which each is of one piece, in variances of a cluster: a few clusters
that happen to agree say little about how clusters differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How much is known about means and their variances."""

    n: float
    """Number of examples; need not be whole."""
    clusters: float
    degrees: float
    """Degrees of freedom of the variances."""
    doubt: float = DOUBT
    quantile: float = 0.0
    """Of the deviation in standard errors that an interval allows for; 0: Student's t."""

    @property
    def allowed(self) -> float:
        return self.quantile or t_quantile(self.degrees)

    @property
    def prior(self) -> float:
        """Weight of the prior beliefs, in variances of a 0/1 score."""
        return max(self.doubt, DOUBT_OF_CLUSTERS * self.n / self.clusters)


def score_interval(values: Sequence[float] | np.ndarray, clusters: Clusters = None) -> Interval:
    """The mean of an example's score on a task, inside [0, 1] if all scores are.

    `clusters` names what examples share, one entry per example.
    """
    low_K, high_K = score_bounds(np.asarray(values, dtype=np.float64)[None], clusters)
    mean = float(np.mean(values))
    return Interval(mean=mean, low=float(low_K[0]), high=float(high_K[0]), n=len(values))


def score_bounds(scores_KN: np.ndarray, clusters: Clusters = None) -> tuple[np.ndarray, np.ndarray]:
    """`score_interval` of each row: lower and upper ends, shape [K]."""
    sums = cluster(scores_KN, clusters)
    known = Precision(n=sums.num_examples, clusters=sums.num_clusters, degrees=sums.degrees)
    bounded = ((scores_KN >= 0) & (scores_KN <= 1)).all()
    skews_K = None if bounded else sums.skews_K
    low_K, high_K = mean_bounds(sums.means_K, sums.variances_K, known, skews_K=skews_K)
    if sums.independent:
        binary_K = ((scores_KN == 0) | (scores_KN == 1)).all(axis=1)
        shares = share_interval(sums.means_K[binary_K], sums.num_examples)
        low_K[binary_K], high_K[binary_K] = shares
    return low_K, high_K


def mean_bounds(
    means_K: np.ndarray,
    variances_K: np.ndarray,
    known: Precision,
    *,
    skews_K: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of means whose variance is estimated, shape [K].

    Inside [0, 1]: Wilson's with the number of independent 0/1 scores that would tell as much,
    after Korn & Graubard. `skews_K` are given for scores outside: Student's t, corrected for the
    skewness after Hall. Without them, means outside have Student's.

    Source: Korn & Graubard 1998, Survey Methodology 24, 193-201; the share is theirs, the
    interval Wilson's.
    """
    n, allowed = known.n, known.allowed
    if skews_K is not None or (means_K < 0).any() or (means_K > 1).any():
        skews_K = np.zeros_like(means_K) if skews_K is None else skews_K
        low_K, high_K = (_unskewed(end, skews_K, known.clusters) for end in (-allowed, allowed))
        return means_K - high_K * np.sqrt(variances_K), means_K - low_K * np.sqrt(variances_K)
    binary_K = n * means_K * (1 - means_K)
    # Worth as little as one score per cluster, until enough of them is seen to vary.
    seen_K = n * (n - 1) * variances_K + known.prior * n / known.clusters
    worth_K = (binary_K + known.prior) / seen_K
    return share_interval(means_K, n * worth_K * (Z95 / allowed) ** 2)


def _unskewed(quantile: float, skews_K: np.ndarray, clusters: float) -> np.ndarray:
    """The quantile of a mean's deviation, in standard errors, given the skewness of what is
    averaged.

    Source: Hall 1992, Journal of the Royal Statistical Society B 54, 221-228.
    """
    skewed_K = np.abs(skews_K) > 1e-6
    slope_K = np.where(skewed_K, skews_K, 1.0)
    straight_K = (quantile - skews_K / (6 * math.sqrt(clusters))) / math.sqrt(clusters)
    bent_K = 3 * (np.cbrt(1 + slope_K * straight_K) - 1) / slope_K
    return np.where(skewed_K, bent_K, straight_K) * math.sqrt(clusters)


def share_interval(
    share: np.ndarray | float, n: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of shares, of any shape; `n` need not be whole.

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209-212.
    """
    share, n = np.asarray(share), np.asarray(n)
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * np.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)


def wilson_interval(mean: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n independent 0/1 scores, inside [0, 1]."""
    low, high = share_interval(mean, n)
    return float(low), float(high)


def mean_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """95 % interval of the mean of a few values, by Student's t; (None, None) for one value."""
    if len(values) < 2:
        return None, None
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def ratio_interval(
    pairs: Sequence[tuple[float, float]],
) -> tuple[float, float | None, float | None]:
    """Geometric mean of left/right over pairs, and its 95 % interval on the logarithm."""
    logs = [math.log(left / right) for left, right in pairs]
    low, high = mean_interval(logs)
    ends = (None, None) if low is None or high is None else (math.exp(low), math.exp(high))
    return math.exp(statistics.fmean(logs)), *ends
