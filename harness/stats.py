"""Intervals for what the harness reports."""

import math
import statistics
from collections.abc import Sequence

Z95 = 1.959963984540054


def wilson_interval(mean: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n independent examples, inside [0, 1].

    Also used for means of scores in [0, 1] that are not 0 or 1: their variance is at most that of
    a share with the same mean, so the interval is conservative.

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209-212.
    """
    centre = (mean + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(mean * (1 - mean) / n + Z95**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """95 % interval of the mean of a few values, by Student's t; (None, None) for one value."""
    if len(values) < 2:
        return None, None
    from scipy.stats import t

    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(t.ppf(0.975, len(values) - 1)) * error
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


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value at `share` of an ascending sequence, linear between neighbours."""
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
