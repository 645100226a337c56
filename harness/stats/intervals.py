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


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


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
    low_K, high_K = mean_bounds(
        sums.means_K,
        sums.variances_K,
        n=sums.num_examples,
        clusters=sums.num_clusters,
        degrees=sums.degrees,
    )
    if sums.independent:
        binary_K = ((scores_KN == 0) | (scores_KN == 1)).all(axis=1)
        shares = share_interval(sums.means_K[binary_K], sums.num_examples)
        low_K[binary_K], high_K[binary_K] = shares
    return low_K, high_K


def mean_bounds(
    means_K: np.ndarray,
    variances_K: np.ndarray,
    *,
    n: float,
    clusters: float,
    degrees: float,
    doubt: float = DOUBT,
) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of means whose variance is estimated, shape [K].

    Inside [0, 1]: Wilson's with the number of independent 0/1 scores that would tell as much,
    after Korn & Graubard. Student's t if any mean is outside.

    Source: Korn & Graubard 1998, Survey Methodology 24, 193-201; the share is theirs, the
    interval Wilson's.
    """
    t = t_quantile(degrees)
    if (means_K < 0).any() or (means_K > 1).any():
        half_K = t * np.sqrt(variances_K)
        return means_K - half_K, means_K + half_K
    binary_K = n * means_K * (1 - means_K)
    # Worth as little as one score per cluster, until enough of them is seen to vary.
    worth_K = (binary_K + doubt) / (n * (n - 1) * variances_K + doubt * n / clusters)
    return share_interval(means_K, n * worth_K * (Z95 / t) ** 2)


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
