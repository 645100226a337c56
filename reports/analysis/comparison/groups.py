"""Which candidates a change between two runs has left alone: what they share is the machine's or
the engine's, and any candidate's own change is measured from there. Pure.

The middle of the candidates serves only while most of them are unchanged. So where the changes fall
into two groups, the candidates of the group that is untouched are those that changed as much as the
fixed work outside the engine did (the machine calibration); where that cannot tell, the larger
group, and if that is small, nobody is named.

Shape letters: C candidates, W workloads. NaN: not known.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from melange.harness.stats import FEW

APART, APART_FEW = 3.6, 36.0
"""Two groups are told apart if their medians lie `APART + APART_FEW / C` standard deviations within
groups from each other. By simulation, the best split of normal changes exceeds it in 2 % of cases
for 5 candidates, 1 % for 8, and 0.2 to 0.4 % for 11 to 41."""
SMALLEST_GAP = math.log1p(0.03)
"""Groups that are closer to each other are no two groups, however tight they are."""
CALIBRATION_NOISE = 0.02
"""Standard deviation of the machine's change as the calibration sees it; only more runs could
measure it."""
CLEAR = 2.0
"""One group is clearly closer to the calibration if it is so by more than so many
`CALIBRATION_NOISE`."""
PLACEABLE = 4.0
"""The calibration decides between groups that are further apart than so many of them."""
LARGE = 2 / 3
"""A group of at least this share of the candidates is untouched unless the calibration says
otherwise."""
OFF = math.log1p(0.05) + 3 * CALIBRATION_NOISE
"""If what candidates share is further than this from the machine's change, a candidate's own change
has to show against both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """Changes in log quantities."""

    own_CW: np.ndarray
    """From what the untouched candidates share."""
    spread_CW: np.ndarray
    """From the middle of the candidate's group, for an estimate of the noise."""
    shared_W: np.ndarray
    """What the untouched candidates share."""


def own_changes(change_CW: np.ndarray, machine: float, reference: int | None) -> Own:
    """`machine`: the change that the calibration expects of all of them; NaN if unknown."""
    if len(change_CW) < FEW and reference is not None:
        own_CW = change_CW - change_CW[reference]
        return Own(own_CW=own_CW, spread_CW=own_CW, shared_W=change_CW[reference])
    over_all = _Split.of(nanmean(change_CW, axis=1), machine)
    splits = [over_all or _Split.of(one_C, machine) or _Split.none(one_C) for one_C in change_CW.T]
    own_CW, spread_CW = np.empty_like(change_CW), np.empty_like(change_CW)
    shared_W = np.empty(change_CW.shape[1])
    for w, (split, column_C) in enumerate(zip(splits, change_CW.T, strict=True)):
        centres = [nanmedian(column_C[split.high_C == side]) for side in split.untouched]
        own_CW[:, w] = _lesser(*(column_C - centre for centre in centres))
        spread_CW[:, w] = column_C - split.middles_C(column_C)
        shared_W[w] = centres[0] if len(centres) == 1 else nanmedian(column_C)
    if abs(float(nanmean(shared_W, axis=0)) - machine) > OFF:
        own_CW = _lesser(own_CW, change_CW - machine)
    return Own(own_CW=own_CW, spread_CW=spread_CW, shared_W=shared_W)


def _lesser(first: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """The smallest of several changes; 0 where they differ in direction."""
    found = first
    for other in others:
        smaller = np.where(np.abs(found) < np.abs(other), found, other)
        found = np.where(np.sign(found) == np.sign(other), smaller, 0.0 * (found + other))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    high_C: np.ndarray
    """Whether a candidate is of the group that changed more upwards."""
    untouched: tuple[bool, ...]
    """Of `high_C`: one group, or both where it cannot be told which."""

    @staticmethod
    def none(change_C: np.ndarray) -> "_Split":
        return _Split(high_C=np.zeros(len(change_C), dtype=bool), untouched=(False,))

    @staticmethod
    def of(change_C: np.ndarray, machine: float) -> "_Split | None":
        high_C = _two_groups(change_C)
        if high_C is None:
            return None
        return _Split(high_C=high_C, untouched=_untouched(change_C, high_C, machine))

    def middles_C(self, change_C: np.ndarray) -> np.ndarray:
        """The median of each candidate's group."""
        low, high = (nanmedian(change_C[self.high_C == side]) for side in (False, True))
        return np.where(self.high_C, high, low)


def _two_groups(change_C: np.ndarray) -> np.ndarray | None:
    """The split whose groups lie furthest apart; None if that is not far enough."""
    known = np.sort(change_C[~np.isnan(change_C)])
    if len(known) < FEW:
        return None
    splits = [(known[:k], known[k:]) for k in range(1, len(known))]
    distances = [float(np.median(high) - np.median(low)) for low, high in splits]
    spreads = [_spread_within(*split) for split in splits]
    scores = [d / s if s else math.inf * (d > 0) for d, s in zip(distances, spreads, strict=True)]
    best = int(np.argmax(scores))
    if scores[best] < APART + APART_FEW / len(known) or distances[best] < SMALLEST_GAP:
        return None
    return change_C >= splits[best][1][0]


def _spread_within(low: np.ndarray, high: np.ndarray) -> float:
    squares = sum(float(((group - np.median(group)) ** 2).sum()) for group in (low, high))
    return math.sqrt(squares / (len(low) + len(high) - 2))


def _untouched(change_C: np.ndarray, high_C: np.ndarray, machine: float) -> tuple[bool, ...]:
    known_C = ~np.isnan(change_C)
    sizes = {side: int((known_C & (high_C == side)).sum()) for side in (False, True)}
    middles = {side: float(nanmedian(change_C[high_C == side])) for side in sizes}
    larger = sizes[True] >= sizes[False]
    gap = middles[True] - middles[False]
    if not math.isnan(machine) and gap > PLACEABLE * CALIBRATION_NOISE:
        by_distance = sorted(sizes, key=lambda side: abs(middles[side] - machine))
        near, far = (abs(middles[side] - machine) for side in by_distance)
        if far - near > CLEAR * CALIBRATION_NOISE:
            return (by_distance[0],)
    if sizes[larger] >= LARGE * sum(sizes.values()) or math.isnan(machine):
        return (larger,)
    return (False, True)


def nanmedian(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """NaN where all values are NaN, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis))


def nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """The same for the mean."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=axis))
