"""The log throughput that stands for a cell's rounds, and its standard error. Pure.

Why not the fastest round, nor the mean: docs/decisions/the-gate.md.

Shape letters: C candidates, W workloads, R rounds. NaN: not timed.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np

QUIET = 0.15
"""The share of a cell's rounds that are faster than the log throughput that stands for them."""
FURTHEST = math.log(2)
"""Of a round that took twice as long as a quiet one."""
BATCHES = 8
QN_SMALLEST = 6
"""`qn` needs at least so many numbers to say something useful."""
QN_FACTORS = {6: 0.611, 7: 0.857, 8: 0.669, 9: 0.872}
"""Small-sample factors of `qn`; from 10 numbers on there is a formula."""
FEW = 5
"""With fewer candidates, their median says nothing about what all of them share."""


def quiet_log_throughput(log_throughput_CWR: np.ndarray) -> np.ndarray:
    """The log throughput that only `QUIET` of a cell's rounds exceed [C, W]."""
    if not log_throughput_CWR.shape[2]:
        return np.full(log_throughput_CWR.shape[:2], np.nan)
    # numpy's nanquantile goes through the cells one by one.
    ordered_CWR = np.sort(log_throughput_CWR, axis=2)  # NaN comes last
    last_CW = np.maximum(0, np.isfinite(ordered_CWR).sum(axis=2) - 1)
    place_CW = (1 - QUIET) * last_CW
    below_CW = place_CW.astype(np.int64)
    low_CW, high_CW = (
        np.take_along_axis(ordered_CWR, at_CW[:, :, None], axis=2)[:, :, 0]
        for at_CW in (below_CW, np.minimum(below_CW + 1, last_CW))
    )
    return np.asarray(low_CW + (place_CW - below_CW) * (high_CW - low_CW))


def behind_quiet(log_throughput_CWR: np.ndarray) -> np.ndarray:
    """The mean, over a cell's rounds, of how far each is behind the quiet throughput [C, W]; 0 or
    less. A round counts as at most `FURTHEST` behind, so that one long stop is not most of it."""
    quiet_CW1 = quiet_log_throughput(log_throughput_CWR)[:, :, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN where nothing is known
        return np.asarray(
            np.nanmean(np.clip(log_throughput_CWR - quiet_CW1, -FURTHEST, 0.0), axis=2)
        )


def halves_apart(
    log_throughput_CWR: np.ndarray,
    level: Callable[[np.ndarray], np.ndarray] = quiet_log_throughput,
) -> np.ndarray:
    """By how much a cell's even rounds exceed its odd ones, in what stands for them [C, W]."""
    even_CW, odd_CW = (level(log_throughput_CWR[:, :, half::2]) for half in (0, 1))
    return even_CW - odd_CW


def log_throughput_error(log_throughput_CWR: np.ndarray) -> float:
    """Standard error of a candidate's mean log throughput over workloads, which is about its
    relative error. What all candidates share is left out, where there are at least `FEW`. NaN with
    fewer rounds than `BATCHES`.

    By batches of consecutive rounds: a disturbance lasts from one round to the next, so comparing
    even with odd rounds would hide it. Source: Schmeiser 1982, Operations Research 30, 556-568.
    """
    if log_throughput_CWR.shape[2] < BATCHES:
        return math.nan
    batches = np.array_split(log_throughput_CWR, BATCHES, axis=2)
    level_BC = np.array([quiet_log_throughput(one_CWR).mean(axis=1) for one_CWR in batches])
    shared_B1 = np.median(level_BC, axis=1, keepdims=True) * (level_BC.shape[1] >= FEW)
    own_BC = level_BC - shared_B1
    return float(np.sqrt(own_BC.var(axis=0, ddof=1).mean() / BATCHES))


def qn(values_N: np.ndarray) -> float:
    """Qn, a robust estimate of a normal distribution's standard deviation, of at least
    `QN_SMALLEST` numbers: a quantile of their pairwise distances. Up to half may be outliers.

    Applies the small-sample factor, unlike statsmodels' `qn_scale`, which is a quarter too large
    for 14 numbers. Sources: Rousseeuw & Croux 1993, JASA 88, 1273-1283; the factor, Croux &
    Rousseeuw 1992, Computational Statistics 1, 411-428.
    """
    from scipy.spatial.distance import pdist
    from scipy.special import ndtri

    n = len(values_N)
    assert n >= QN_SMALLEST
    half = n // 2 + 1
    nearest = math.comb(half, 2)
    distance = np.partition(pdist(values_N[:, None]), nearest - 1)[nearest - 1]
    for_few = QN_FACTORS.get(n) or n / (n + (1.4 if n % 2 else 3.8))
    return float(for_few * distance / (math.sqrt(2) * ndtri(5 / 8)))
