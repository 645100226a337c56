"""Intervals for what the harness reports."""

import math
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
