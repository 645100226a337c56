"""A mean that one disturbed round of six does not ruin, with its interval.

Why this and not ranks or a median, and why this level: docs/decisions/speed-within-a-run.md.
"""

import math
import statistics
from collections.abc import Sequence

TRIMMED = 0.2
"""The share that is left out at each end, rounded down."""
LEVEL = 0.975
"""Of the interval for a fixed number of rounds. Rounds that end once the interval is narrow end too
often by luck; with this level, such intervals hold the truth as often as 95 % ones should."""


def trimmed_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The trimmed mean and its 95 % interval; without an interval for a single value.

    Source: Tukey & McLaughlin 1963, Sankhyā A 25, 331-352; the standard error is that of the
    winsorized values. We differ in the level, see `LEVEL`.
    """
    ordered, n = sorted(values), len(values)
    cut = int(TRIMMED * n)
    kept = ordered[cut : n - cut]
    mean = statistics.fmean(kept)
    if n < 2:
        return mean, None, None
    winsorized = [kept[0]] * cut + kept + [kept[-1]] * cut
    error = statistics.stdev(winsorized) / ((1 - 2 * cut / n) * math.sqrt(n))
    half = _t_quantile(len(kept) - 1) * error
    return mean, mean - half, mean + half


def trimmed_log_interval(logs: Sequence[float]) -> tuple[float, float | None, float | None]:
    """`trimmed_interval` of what these are the logarithms of."""
    value, low, high = trimmed_interval(logs)
    if low is None or high is None:
        return math.exp(value), None, None
    return math.exp(value), math.exp(low), math.exp(high)


def _t_quantile(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + LEVEL) / 2))
