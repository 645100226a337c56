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
