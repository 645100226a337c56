"""The pace that stands for a cell's rounds, and how sure it is. Pure.

Why not the fastest round, nor the mean: docs/decisions/the-gate.md.

Shape letters: C candidates, W workloads, R rounds. NaN: not timed.
"""

import warnings

import numpy as np

QUIET = 0.15
"""The share of a cell's rounds that is faster than the pace that stands for it."""
GAP_TO_ERROR = 1 / (2 * 0.6745)
"""From the median gap between halves to the standard error of the whole: a half has sqrt(2) of it,
two halves lie 2 of it apart, and the median of a normal value's size is 0.6745 deviations."""


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
    """Standard error of a candidate's pace over its workloads, the median candidate's; NaN if
    unknown."""
    known_C = halves_apart(pace_CWR).mean(axis=1)
    return GAP_TO_ERROR * float(np.median(np.abs(known_C)))
