"""Finds where a series of runs changes level, by fitting a piecewise constant function.

A series is cut where that lowers the squared error, in units of the series' own noise, by more than
a penalty. The best set of cuts is found exactly, by dynamic programming over many series at once.

Sources: Jackson et al. 2005, IEEE Signal Processing Letters 12, 105-108 (optimal partitioning);
asv's step detection, https://asv.readthedocs.io/en/stable/dev.html (weights from intervals, noise
from the series itself); Hampel 1974, JASA 69, 383-393 (single outliers). We differ from asv in
squared error on winsorized values where it has absolute error, and in the penalty, which is set for
a rate of false alarms: docs/decisions/step-detection.md.

Shape letters: L series, N runs, oldest first.
"""

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from melange.harness.stats import Z95

PENALTY = 22.0
"""Penalty of a cut, in squared noise levels ..."""
PENALTY_OF_FEW = 200.0
"""... plus this over the number of runs: few runs say little about the noise."""
MIN_RUNS = 3
"""Least number of runs at a level: fewer that deviate are outliers, not a step."""
REACH = 3
"""Number of neighbours on either side that define an outlier."""
OUTLIER = 2.5
"""Outliers are clipped to so many noise levels from the median of their neighbours."""
LEAST_WEIGHT = 1e-3
"""Weights of runs lie between this and 1."""
QUIET_SHARE = 0.75
"""Share of the differences between neighbours that are taken to be noise rather than steps."""
QUIET_DEVIATIONS = 1.6268
"""The QUIET_SHARE quantile of two values' absolute difference, in their standard deviations."""
FAR = 6
"""Nights apart of the longer differences that show how alike neighbours are ..."""
ENOUGH_FOR_FAR = 5 * FAR
"""... in series of at least so many runs."""
MOST_ALIKE = 0.98
VERY_ALIKE = 0.6
"""Estimates of a correlation above this are moved towards 1 ..."""
CAUTION = 0.2
"""... by so much of the way: the noise of means grows without bound, so a low estimate costs more
than a high one."""
SHARE_OF_ERROR = 0.1
"""Least noise of a series, as a share of its standard error: values may repeat exactly ..."""
SHARE_OF_VALUE = 1e-3
"""... and as a share of its median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change of level between two runs."""

    at: int
    """The first run of the new level."""
    before: float
    after: float
    low: float
    high: float
    """95 % interval of after - before."""
    runs_before: int
    runs_after: int

    @property
    def change(self) -> float:
        return self.after - self.before

    @property
    def clarity(self) -> float:
        """The change, in half-widths of its interval."""
        return abs(self.change) / ((self.high - self.low) / 2)


def find_steps(values_LN: np.ndarray, half_widths_LN: np.ndarray) -> list[list[Step]]:
    """The steps of each series, oldest first. A value of NaN is a run without one.

    `half_widths_LN` are half the values' 95 % intervals: a run whose interval is wider than the
    series' median has less weight, by its variance.
    """
    if not values_LN.size:
        return [[] for _ in values_LN]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        noise_L1 = _noise(values_LN, half_widths_LN)
        tamed_LN = _tame(values_LN, noise_L1)
        weights_LN = np.where(np.isnan(values_LN), 0.0, _weights(half_widths_LN))
        centred_LN = np.nan_to_num((tamed_LN - _middle(values_LN)) / noise_L1)
    cuts = _best_cuts(centred_LN, weights_LN)
    rows = zip(np.nan_to_num(tamed_LN), weights_LN, noise_L1[:, 0], cuts, strict=True)
    return [_steps(*row) for row in rows]


def _noise(values_LN: np.ndarray, half_widths_LN: np.ndarray) -> np.ndarray:
    """Standard deviation from run to run, [L, 1], from differences that are probably not steps.

    A machine that is slow tonight is more likely to be slow tomorrow. With r the correlation of
    neighbours, the variance of differences is 2 (1 - r) times that of runs, and the variance of
    means is (1 + r) / (1 - r) times that of means of independent runs.
    """
    ordered_LN = _closed_up(values_LN)
    one_apart, alike = _jump(ordered_LN, 1), _correlation(ordered_LN)
    seen = one_apart / QUIET_DEVIATIONS * np.sqrt(1 + alike) / (1 - alike)
    from_error = SHARE_OF_ERROR * _middle(half_widths_LN) / Z95
    from_value = SHARE_OF_VALUE * np.abs(_middle(values_LN))
    noise = np.fmax(np.fmax(seen, from_error), from_value)
    largest = np.nanmax(np.abs(values_LN), axis=1, keepdims=True)
    noise = np.where(noise > 0, noise, SHARE_OF_VALUE * largest)
    return np.where(noise > 0, noise, 1.0)


def _correlation(values_LN: np.ndarray) -> np.ndarray:
    """Of neighbours, [L, 1], as in an autoregressive series: there, the variance of differences k
    nights apart is 1 + r + ... + r^(k - 1) times that of neighbours."""
    one_apart = _jump(values_LN, 1)
    unit = np.where(one_apart > 0, one_apart, np.nan)
    near = np.nan_to_num((_jump(values_LN, 2) / unit) ** 2 - 1)
    found = np.clip(near, 0.0, MOST_ALIKE)
    if values_LN.shape[1] >= ENOUGH_FOR_FAR:
        tried = np.linspace(0.0, MOST_ALIKE, 99)
        growth = sum(tried**k for k in range(FAR))
        # A step is in FAR of these differences, so they are judged by their middle.
        middle = _jump(values_LN, 1, 0.5)
        far = np.nan_to_num(
            (_jump(values_LN, FAR, 0.5) / np.where(middle > 0, middle, np.nan)) ** 2
        )
        found = (found + np.interp(far, growth, tried)) / 2
    cautious = found + CAUTION * (1 - found)
    return np.minimum(np.where(found > VERY_ALIKE, cautious, found), MOST_ALIKE)


def _jump(values_LN: np.ndarray, apart: int, share: float = QUIET_SHARE) -> np.ndarray:
    """The spread of differences of runs `apart` nights apart, [L, 1]; NaN if there are too few."""
    jumps = np.abs(values_LN[:, apart:] - values_LN[:, :-apart])
    if not jumps.size:
        return np.full((len(values_LN), 1), np.nan)
    return np.nanquantile(jumps, share, axis=1, keepdims=True)


def _closed_up(values_LN: np.ndarray) -> np.ndarray:
    """The values without gaps, moved to the left."""
    order = np.argsort(np.isnan(values_LN), axis=1, kind="stable")
    return np.take_along_axis(values_LN, order, axis=1)


def _tame(values_LN: np.ndarray, noise_L1: np.ndarray) -> np.ndarray:
    """Values with outliers clipped to the range that their neighbours allow.

    Up to `REACH` neighbouring runs are clipped, fewer than `MIN_RUNS` at either end.
    """
    padded = np.pad(values_LN, ((0, 0), (REACH, REACH)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1, axis=1)
    middle_LN = np.nanmedian(windows, axis=2)
    # At either end, two deviating runs would be half of their window.
    if values_LN.shape[1] > 1:
        middle_LN[:, [0, -1]] = middle_LN[:, [1, -2]]
    return np.clip(values_LN, middle_LN - OUTLIER * noise_L1, middle_LN + OUTLIER * noise_L1)


def _weights(half_widths_LN: np.ndarray) -> np.ndarray:
    """Inverse variances relative to the series' median; 1 without an interval."""
    middle_L1 = _middle(half_widths_LN)
    wide_LN = half_widths_LN > middle_L1
    ratios_LN = np.where(wide_LN, middle_L1, 1.0) / np.where(wide_LN, half_widths_LN, 1.0)
    return np.maximum(ratios_LN**2, LEAST_WEIGHT)


def _middle(values_LN: np.ndarray) -> np.ndarray:
    return np.nanmedian(values_LN, axis=1, keepdims=True)


def _best_cuts(scaled_LN: np.ndarray, weights_LN: np.ndarray) -> list[list[int]]:
    """Positions at which new levels begin, for each series.

    The gain of fitting one level to the runs [start, end) is the squared sum of their weighted
    values over the sum of their weights: how much less their error is about the mean than about 0.
    """
    num_series, num_runs = scaled_LN.shape
    sums = _running_sums(scaled_LN * weights_LN)
    weights = _running_sums(weights_LN)
    counts = _running_sums(weights_LN > 0)
    penalty_L1 = PENALTY + PENALTY_OF_FEW / np.maximum(counts[:, -1:], 1)
    best = np.full((num_series, num_runs + 1), -np.inf)
    best[:, 0] = 0.0
    last = np.zeros((num_series, num_runs + 1), dtype=int)
    for end in range(MIN_RUNS, num_runs + 1):
        starts = slice(0, end - MIN_RUNS + 1)
        span = weights[:, end, None] - weights[:, starts]
        enough = counts[:, end, None] - counts[:, starts] >= MIN_RUNS
        saved = (sums[:, end, None] - sums[:, starts]) ** 2 / np.where(enough, span, 1.0)
        gains = np.where(enough, best[:, starts] + saved - penalty_L1, -np.inf)
        last[:, end] = gains.argmax(axis=1)
        best[:, end] = gains.max(axis=1)
    return [_trace(row) for row in last]


def _running_sums(values_LN: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... N runs, [L, N + 1]."""
    return np.pad(np.cumsum(values_LN, axis=1), ((0, 0), (1, 0)))


def _trace(last: np.ndarray) -> list[int]:
    cuts: list[int] = []
    at = int(last[-1])
    while at > 0:
        cuts.append(at)
        at = int(last[at])
    return cuts[::-1]


def _steps(
    values_N: np.ndarray, weights_N: np.ndarray, noise: float, cuts: list[int]
) -> list[Step]:
    edges = [0, *cuts, len(values_N)]
    parts = [slice(*pair) for pair in pairwise(edges)]
    return [_step(values_N, weights_N, noise, left, right) for left, right in pairwise(parts)]


def _step(
    values_N: np.ndarray, weights_N: np.ndarray, noise: float, left: slice, right: slice
) -> Step:
    before, after = (
        float(np.average(values_N[side], weights=weights_N[side])) for side in (left, right)
    )
    half = Z95 * noise * float(np.sqrt(1 / weights_N[left].sum() + 1 / weights_N[right].sum()))
    return Step(
        at=right.start + int(np.argmax(weights_N[right] > 0)),
        before=before,
        after=after,
        low=after - before - half,
        high=after - before + half,
        runs_before=int(np.count_nonzero(weights_N[left])),
        runs_after=int(np.count_nonzero(weights_N[right])),
    )
