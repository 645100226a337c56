"""The pace that stands for a cell's rounds, and how sure it is. Pure.

Why not the fastest round, nor the mean: docs/decisions/the-gate.md.

Shape letters: C candidates, W workloads, R rounds. NaN: not timed.
"""

import math
import warnings

import numpy as np

QUIET = 0.15
"""The share of a cell's rounds that is faster than the pace that stands for it."""
BATCHES = 8
QN_SMALLEST = 10
"""From as many numbers on, the factor of `qn` for few is known."""
FEW = 5
"""Fewer candidates have no middle that could stand for what all of them share."""


def quiet_pace(pace_CWR: np.ndarray) -> np.ndarray:
    """The pace that few of a cell's rounds surpass [C, W]."""
    if not pace_CWR.shape[2]:
        return np.full(pace_CWR.shape[:2], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN where nothing is known
        return np.asarray(np.nanquantile(pace_CWR, 1 - QUIET, axis=2))


def halves_apart(pace_CWR: np.ndarray) -> np.ndarray:
    """By how much a cell's even rounds are quicker than its odd ones [C, W]."""
    even_CW, odd_CW = (quiet_pace(pace_CWR[:, :, half::2]) for half in (0, 1))
    return even_CW - odd_CW


def pace_error(pace_CWR: np.ndarray) -> float:
    """Standard error of a candidate's pace over its workloads, apart from what all candidates
    share where they are not `FEW`. NaN of fewer rounds than `BATCHES`.

    From batches of consecutive rounds: what disturbs lasts from one round to the next, so that
    every other round would hide it. Source: Schmeiser 1982, Operations Research 30, 556-568.
    """
    if pace_CWR.shape[2] < BATCHES:
        return math.nan
    batches = np.array_split(pace_CWR, BATCHES, axis=2)
    pace_BC = np.array([quiet_pace(one_CWR).mean(axis=1) for one_CWR in batches])
    shared_B1 = np.median(pace_BC, axis=1, keepdims=True) * (pace_BC.shape[1] >= FEW)
    own_BC = pace_BC - shared_B1
    return float(np.sqrt(own_BC.var(axis=0, ddof=1).mean() / BATCHES))


def qn(values_N: np.ndarray) -> float:
    """The scale of at least `QN_SMALLEST` numbers, as a normal distribution's standard deviation:
    a quarter of their pairs lie closer together. Half of them may be anything.

    With the factor for few numbers, unlike statsmodels' `qn_scale`, which is a quarter too large
    for 14 of them. Sources: Rousseeuw & Croux 1993, JASA 88, 1273-1283; the factor, Croux &
    Rousseeuw 1992, Computational Statistics 1, 411-428.
    """
    from scipy.spatial.distance import pdist
    from scipy.special import ndtri

    n = len(values_N)
    assert n >= QN_SMALLEST
    half = n // 2 + 1
    nearest = math.comb(half, 2)
    distance = np.partition(pdist(values_N[:, None]), nearest - 1)[nearest - 1]
    for_few = n / (n + (1.4 if n % 2 else 3.8))
    return float(for_few * distance / (math.sqrt(2) * ndtri(5 / 8)))
