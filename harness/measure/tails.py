"""Which percentiles of a workload's requests can be claimed."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

SAME = 0.01
"""Sorted times closer than this share of them count as one: requests that are sent at once reach
the engine within a fraction of a millisecond of each other, and then take the same steps."""


def needed(share: float) -> int:
    """Fewest independent requests of which some lie beyond a percentile: 10 for p90, 100 for
    p99."""
    return round(1 / (1 - share))


def num_distinct(times_sec: Sequence[float]) -> int:
    """Groups of requests that took different times."""
    ascending = sorted(times_sec)
    return bool(ascending) + sum(b - a > SAME * a for a, b in pairwise(ascending))


def batch_refusal(share: float, times_by_round: Sequence[Sequence[float]]) -> str:
    """Why the percentile of a batch cannot be claimed; empty if it can, as the median always can.

    Every round sends the same lengths at once, so only different times within a round count.
    """
    if share <= 0.5 or not times_by_round:
        return ""
    num = max(map(len, times_by_round))
    distinct = math.ceil(statistics.median(map(num_distinct, times_by_round)))
    if distinct >= needed(share):
        return ""
    if 2 * distinct <= num:
        return (
            f"measured in lockstep: {num} requests sent at once take {distinct} different "
            f"time{'s' if distinct > 1 else ''}; it needs an open-loop workload"
        )
    return f"{num} requests sent at once are too few: it needs {needed(share)}"
