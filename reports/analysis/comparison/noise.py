"""Estimates changes of speed and their noise from the rounds of two runs. Pure.

Other work on the machine can only slow a round down, so a cell is represented by one of its fastest
rounds. Not by the very fastest: on a shared machine quiet moments are rare, and how quiet the
quietest one was is luck. A change that untouched candidates share comes from the machine or the
engine (groups.py): it is subtracted from each candidate's, and tested once, against the
calibration. The noise of what is left of one candidate's change is the spread of the other
candidates' changes: the rounds within a run would hide effects that last as long as a process. The
spread is Qn, which is robust against outliers in up to half of the candidates. If a cell's even
rounds differ from its odd ones, the cell was disturbed, and the difference is added to its noise.

Sources: Chen & Revels 2016, https://arxiv.org/abs/1608.04295 (the minimum); Rousseeuw & Croux
1993, JASA 88, 1273-1283 (Qn); Efron 2004, JASA 99, 96-104 (the spread of many tests as their
null). The figures behind the constants: docs/gate.md.

Shape letters: C candidates, W workloads, R rounds. NaN: not timed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from melange.harness.stats import (
    QN_SMALLEST,
    QUIET,
    behind_quiet,
    halves_apart,
    qn,
    quiet_log_throughput,
)
from melange.reports.analysis.comparison.groups import CALIBRATION_NOISE, nanmedian, own_changes

CELL_TOLERANCE = 0.10
"""A slow-down of up to this share of the time does not matter on a single workload."""
ENGINE_SLACK = 0.02
"""What is added to a metric's tolerance for all candidates together: the calibration tracks the
machine less well than one candidate tracks another, because it is not the engine's work."""
DISTURBED = 0.25
"""A round that takes longer than the fastest of its cell by more than this share was disturbed."""
RESTLESS = 0.025
"""The largest expected number of candidates that had no undisturbed round: above it, no speed of
the run is judged. With fewer rounds, the machine must be quieter."""
SURENESS = 0.62
"""Degrees of freedom per other candidate of the Student's t that fits a deviation divided by the
others' Qn at the gate's levels: by simulation, 0.62 for 12 candidates to 0.74 for 41."""
SURENESS_OF_FEW = 0.55
"""The same for fewer than 11 candidates: by simulation, 0.55 to 0.64 for 7 to 9."""
DEGREES = 30.0
"""All degrees of freedom, where the noise is not estimated from the spread of candidates."""
ENOUGH = QN_SMALLEST + 1
"""The least number of candidates to estimate noise from their spread; below, rounds are used."""
FLOOR = 0.01
"""Least noise of a log speed: runs differ by more than their rounds show."""
BEYOND_ERROR = 4.0
"""A drift is significant beyond so many standard errors."""
MIN_ROUNDS = 2
WIDE_GAP = 3.0
"""A cell was disturbed if its halves differ by more than so many times the median gap."""
GAP_TO_NOISE = 1.0
"""Standard deviation between two runs over the median gap between halves. It would be 0.6 if
rounds were independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRounds:
    """Logarithms of one run's measurements by round."""

    throughput_CWR: np.ndarray
    """Log of tokens per second, or of another quantity of a round, turned so that higher is
    better."""
    calibration_CWR: np.ndarray
    """Log of the seconds that the machine calibration took next to the round."""


class Level(NamedTuple):
    """What stands for the rounds of a cell."""

    of: Callable[[np.ndarray], np.ndarray]
    """[C, W, R] to [C, W]."""
    halves_tell: bool
    """Whether even rounds that differ from odd ones mean that the cell was disturbed."""


QUIET_LEVEL = Level(quiet_log_throughput, halves_tell=True)
BEHIND_QUIET = Level(behind_quiet, halves_tell=False)
"""What is slow now and then is so by chance more often in one half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A logarithm of new / old speed."""

    value: float
    noise: float
    """Standard deviation between runs that differ in noise only."""
    tolerance: float
    degrees: float
    """Degrees of freedom of its Student's t."""

    @property
    def interval(self) -> tuple[float, float]:
        from scipy.special import stdtrit

        half = float(stdtrit(self.degrees, 0.975)) * self.noise
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """One-sided, in the direction of the change: that it is within the tolerance."""
        from scipy.special import stdtr

        excess = abs(self.value) - math.log1p(self.tolerance)
        return float(stdtr(self.degrees, -excess / self.noise))

    def smallest_slowdown(self, alpha: float, power: float) -> float:
        """The slow-down, as a share of the time, that has p below `alpha` in a share `power` of
        comparisons as noisy as this one."""
        from scipy.special import stdtrit

        deviations = float(stdtrit(self.degrees, 1 - alpha) + stdtrit(self.degrees, power))
        return math.expm1(math.log1p(self.tolerance) + deviations * self.noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    cells: dict[tuple[int, int], Estimate]
    """By candidate and workload."""
    candidates: dict[int, Estimate]
    """By candidate, over its workloads."""
    engine: Estimate | None
    """All candidates relative to the calibration; None if that was not timed."""


def estimate(
    old: LogRounds,
    new: LogRounds,
    reference: int | None,
    *,
    tolerance: float,
    level: Level = QUIET_LEVEL,
) -> Estimates:
    """`reference` is the row of the reference candidate. Cells of a single round have none.

    `tolerance`: the share of the time (or of another quantity) that does not matter.
    """
    then_CWR, now_CWR = (steadied(run.throughput_CWR) for run in (old, new))
    machine = _quiet_calibration(old) - _quiet_calibration(new)
    found = own_changes(level.of(now_CWR) - level.of(then_CWR), machine, reference)
    gap_CW = np.hypot(halves_apart(then_CWR, level.of), halves_apart(now_CWR, level.of))
    # A cell of a single round: its noise is unknown.
    own_CW, spread_CW = (
        np.where(np.isnan(gap_CW), np.nan, part) for part in (found.own_CW, found.spread_CW)
    )
    noise_CW = np.array([_noise(*parts) for parts in zip(spread_CW.T, gap_CW.T, strict=True)]).T
    return Estimates(
        cells=_cells(own_CW, np.hypot(noise_CW, _excess(gap_CW))),
        candidates=_candidates(_Changes(own_CW, spread_CW, gap_CW), noise_CW, tolerance, level),
        engine=_engine(old, new, reference, tolerance),
    )


class _Changes(NamedTuple):
    own_CW: np.ndarray
    spread_CW: np.ndarray
    gap_CW: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrest:
    """How much other work disturbed a run's rounds."""

    disturbed: float
    """Share of disturbed rounds, not counting the machine's drift."""
    lost_candidates: float
    """Expected number of candidates without an undisturbed round."""


def unrest(run: LogRounds) -> Unrest:
    throughput_CWR = steadied(run.throughput_CWR)
    behind_CWR = np.fmax.reduce(throughput_CWR, axis=2)[:, :, None] - throughput_CWR
    share = float(np.mean(behind_CWR[~np.isnan(behind_CWR)] > math.log1p(DISTURBED)))
    num_rounds_C = np.isfinite(throughput_CWR).sum(axis=2).max(axis=1)
    return Unrest(disturbed=share, lost_candidates=float((share**num_rounds_C).sum()))


def steadied(throughput_CWR: np.ndarray) -> np.ndarray:
    """Throughputs without what all candidates share in a round, where that is significant.

    This is the machine's drift within a run. On a busy machine it is not significant: subtracting
    it would add more noise than it removes.
    """
    own_CWR = throughput_CWR - nanmedian(throughput_CWR, axis=2)[:, :, None]
    drift_WR = nanmedian(own_CWR, axis=0)
    spread_WR = 1.4826 * nanmedian(np.abs(own_CWR - drift_WR), axis=0)
    num_timed_WR = np.maximum(1, np.isfinite(throughput_CWR).sum(axis=0))
    error_WR = spread_WR * np.sqrt(math.pi / 2 / num_timed_WR)
    return throughput_CWR - np.where(np.abs(drift_WR) > BEYOND_ERROR * error_WR, drift_WR, 0.0)


def _noise(own_C: np.ndarray, gap_C: np.ndarray) -> np.ndarray:
    """Noise of each candidate between two runs [C], from the other candidates: its own change, if
    large, would inflate the estimate, by a sixth among 15 candidates."""
    known_C = ~np.isnan(own_C)
    if known_C.sum() < ENOUGH:
        return np.full(len(own_C), FLOOR + GAP_TO_NOISE * float(nanmedian(gap_C, axis=0)))
    others_CC = known_C & ~np.eye(len(own_C), dtype=bool)
    return np.array([max(FLOOR, qn(own_C[others])) for others in others_CC])


def _excess(gap_C: np.ndarray) -> np.ndarray:
    """The part of a gap that undisturbed rounds do not explain; each column by itself."""
    return np.maximum(0.0, gap_C - WIDE_GAP * nanmedian(gap_C, axis=0))


def _degrees(num_candidates: int) -> float:
    if num_candidates < ENOUGH:
        return DEGREES
    return (SURENESS if num_candidates > 10 else SURENESS_OF_FEW) * (num_candidates - 2)


def _cells(own_CW: np.ndarray, noise_CW: np.ndarray) -> dict[tuple[int, int], Estimate]:
    return {
        (int(c), int(w)): Estimate(
            value=float(own_CW[c, w]),
            noise=float(noise_CW[c, w]),
            tolerance=CELL_TOLERANCE,
            degrees=_degrees(len(own_CW)),
        )
        for c, w in np.argwhere(~np.isnan(own_CW))
    }


def _candidates(
    changes: _Changes, noise_CW: np.ndarray, tolerance: float, level: Level
) -> dict[int, Estimate]:
    """Means over workloads, with less weight for noisy ones.

    A bad minute may slow all of a candidate's workloads, so their gaps do not average out; where
    workloads vary together, the spread of the means is larger than the weights imply.
    """
    weights_CW = np.where(np.isnan(changes.own_CW), 0.0, noise_CW**-2)
    total_C = weights_CW.sum(axis=1)
    rows = np.flatnonzero(total_C)
    weights_CW, total_C = weights_CW[rows], total_C[rows]
    mean_C, spread_C, gap_C = (
        np.nansum(values_CW[rows] * weights_CW, axis=1) / total_C for values_CW in changes
    )
    noise_C = np.maximum(total_C**-0.5, _noise(spread_C, gap_C))
    if level.halves_tell:
        noise_C = np.hypot(noise_C, _excess(gap_C))
    return {
        int(c): Estimate(
            value=float(value),
            noise=float(noise),
            tolerance=tolerance,
            degrees=_degrees(len(rows)),
        )
        for c, value, noise in zip(rows, mean_C, noise_C, strict=True)
    }


def _engine(
    old: LogRounds, new: LogRounds, reference: int | None, tolerance: float
) -> Estimate | None:
    """The change that untouched candidates share, less the machine's own.

    If even the two fastest rounds lie far apart, other work has slowed all of them; half of their
    gap is a guess at how much.
    """
    machine = _quiet_calibration(old) - _quiet_calibration(new)
    change_CW = quiet_log_throughput(new.throughput_CWR) - quiet_log_throughput(old.throughput_CWR)
    shared_W = own_changes(change_CW, machine, reference).shared_W
    known_W = shared_W[~np.isnan(shared_W)]
    if not len(known_W) or math.isnan(machine):
        return None
    gaps = [float(np.nanmedian(_lead(run.throughput_CWR))) for run in (old, new)]
    return Estimate(
        value=float(known_W.mean()) - machine,
        noise=math.hypot(CALIBRATION_NOISE, *(gap / 2 for gap in gaps)),
        tolerance=tolerance + ENGINE_SLACK,
        degrees=DEGREES,
    )


def _quiet_calibration(run: LogRounds) -> float:
    """A quantile as extreme as that of a cell's rounds, so that the machine affects both alike."""
    known = run.calibration_CWR[~np.isnan(run.calibration_CWR)]
    return float(np.quantile(known, QUIET)) if len(known) else math.nan


def _lead(throughput_CWR: np.ndarray) -> np.ndarray:
    """Log ratio of the fastest round to the second fastest [C, W]."""
    ordered_CWR = -np.sort(-throughput_CWR, axis=2)  # NaN comes last
    return ordered_CWR[:, :, 0] - ordered_CWR[:, :, 1]
