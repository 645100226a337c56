"""How much faster or slower, and how sure: from the rounds of two runs, pure.

What disturbs a round only ever makes it slower, so one of the fastest of a cell's rounds stands for
it. Not the very fastest: on a shared machine quiet moments are rare, and how quiet a run's quietest
was is luck. What all candidates share is the machine's or the engine's: it is taken off each of
them, and judged once, against the calibration. What is left over, spread over the other candidates,
is the noise of one between two runs: the rounds of a run alone would hide what a process keeps for
as long as it lives. Its scale is Qn, which up to half of the candidates could not move far. Where a
cell's even rounds say something else than its odd ones, it was disturbed, and is taken to be as
uncertain as that.

Sources: Chen & Revels 2016, https://arxiv.org/abs/1608.04295 (the minimum); Rousseeuw & Croux
1993, JASA 88, 1273-1283 (Qn); Efron 2004, JASA 99, 96-104 (the spread of many tests as their
null). The figures behind the constants: docs/gate.md.

Shape letters: C candidates, W workloads, R rounds. NaN: not timed.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from melange.harness.stats import FEW, QN_SMALLEST, QUIET, halves_apart, qn, quiet_log_throughput

TOLERANCE = 0.03
"""Rounds that take no more than this share longer are no slow-down that matters."""
CELL_TOLERANCE = 0.10
"""The same on a single workload."""
ENGINE_TOLERANCE = 0.05
"""The same of all candidates: the calibration is not the engine, and follows the machine less well
than one candidate follows another."""
DISTURBED = 0.25
"""A round that takes as much longer than the fastest of its cell was disturbed."""
RESTLESS = 0.025
"""Candidates, in a run, that may be expected to have been disturbed in all of their rounds: with
more, no speed of the run is judged. Few rounds need a quieter machine than many."""
SURENESS = 0.62
"""Degrees of freedom for each other candidate, with which Student's t at the gate's levels is that
of a deviation over Qn of the others: simulated, 0.62 for 12 candidates to 0.74 for 41."""
DEGREES = 30.0
"""The same where noise is no spread of candidates but taken as known."""
ENOUGH = QN_SMALLEST + 1
"""From as many candidates on, their spread is known; below, only that of the rounds."""
FLOOR = 0.01
"""Of a logarithm of speed: noise between runs that their rounds do not show."""
ENGINE_FLOOR = 0.02
"""The same of all candidates against the calibration: only further runs could show it."""
BEYOND_ERROR = 4.0
"""Standard errors from which on a drift stands out."""
MIN_ROUNDS = 2
WIDE_GAP = 3.0
"""Between a cell's two halves, from as many middle ones on: something disturbed the cell."""
GAP_TO_NOISE = 1.0
"""From the median gap between halves to the deviation between two runs. Were rounds independent,
it would be 0.6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRounds:
    """Logarithms of what was measured in one run's rounds."""

    throughput_CWR: np.ndarray
    """In tokens per second."""
    calibration_CWR: np.ndarray
    """Of the machine, beside the round, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A logarithm of new / old speed."""

    value: float
    noise: float
    """Its standard deviation between runs that differ in nothing else."""
    tolerance: float
    degrees: float
    """Of freedom, of the Student's t that stands for it."""

    @property
    def interval(self) -> tuple[float, float]:
        from scipy.special import stdtrit

        half = float(stdtrit(self.degrees, 0.975)) * self.noise
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """One-sided, on the side it lies on: that the change is within the tolerance."""
        from scipy.special import stdtr

        excess = abs(self.value) - math.log1p(self.tolerance)
        return float(stdtr(self.degrees, -excess / self.noise))

    def smallest_slowdown(self, alpha: float, power: float) -> float:
        """Share of time that this cell would have to take longer, to have p below `alpha` in
        `power` of all comparisons as noisy as this one."""
        from scipy.special import stdtrit

        deviations = float(stdtrit(self.degrees, 1 - alpha) + stdtrit(self.degrees, power))
        return math.expm1(math.log1p(self.tolerance) + deviations * self.noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    cells: dict[tuple[int, int], Estimate]
    """By candidate and workload."""
    candidates: dict[int, Estimate]
    """Over a candidate's workloads."""
    engine: Estimate | None
    """Of all candidates against the calibration; None where it was not timed."""


def estimate(old: LogRounds, new: LogRounds, reference: int | None) -> Estimates:
    """`reference` is the row of the reference candidate. A cell with a single round has none."""
    then_CWR, now_CWR = (steadied(run.throughput_CWR) for run in (old, new))
    change_CW = quiet_log_throughput(now_CWR) - quiet_log_throughput(then_CWR)
    own_CW = change_CW - _middle(change_CW, reference)
    gap_CW = np.hypot(halves_apart(then_CWR), halves_apart(now_CWR))
    own_CW[np.isnan(gap_CW)] = np.nan  # a single round: nothing says how sure it is
    noise_CW = np.array([_noise(*columns) for columns in zip(own_CW.T, gap_CW.T, strict=True)]).T
    return Estimates(
        cells=_cells(own_CW, np.hypot(noise_CW, _excess(gap_CW))),
        candidates=_candidates(own_CW, gap_CW, noise_CW),
        engine=_engine(old, new, reference),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrest:
    """How far other work got between a run's rounds."""

    disturbed: float
    """Share of all rounds, the machine's drift apart."""
    lost_candidates: float
    """Expected number of those that had no undisturbed round."""


def unrest(run: LogRounds) -> Unrest:
    throughput_CWR = steadied(run.throughput_CWR)
    behind_CWR = np.fmax.reduce(throughput_CWR, axis=2)[:, :, None] - throughput_CWR
    share = float(np.mean(behind_CWR[~np.isnan(behind_CWR)] > math.log1p(DISTURBED)))
    num_candidates, _, num_rounds = run.throughput_CWR.shape
    return Unrest(disturbed=share, lost_candidates=num_candidates * share**num_rounds)


def steadied(throughput_CWR: np.ndarray) -> np.ndarray:
    """Without what all candidates share in a round, where that stands out from its own error.

    It is the machine's drift within a run. On a restless machine it does not stand out: taken off,
    it would add more noise than it removes.
    """
    own_CWR = throughput_CWR - _nanmedian(throughput_CWR, axis=2)[:, :, None]
    drift_WR = _nanmedian(own_CWR, axis=0)
    spread_WR = 1.4826 * _nanmedian(np.abs(own_CWR - drift_WR), axis=0)
    error_WR = spread_WR * math.sqrt(math.pi / 2 / len(throughput_CWR))
    return throughput_CWR - np.where(np.abs(drift_WR) > BEYOND_ERROR * error_WR, drift_WR, 0.0)


def _middle(change_CW: np.ndarray, reference: int | None) -> np.ndarray:
    """Over candidates, the first axis."""
    if len(change_CW) < FEW and reference is not None:
        return change_CW[reference]
    return _nanmedian(change_CW, axis=0)


def _noise(own_C: np.ndarray, gap_C: np.ndarray) -> np.ndarray:
    """Between two runs, of each candidate [C], as the others have it: a change that stands out
    would make its own noise look larger, by a sixth among 15 candidates."""
    known_C = ~np.isnan(own_C)
    if known_C.sum() < ENOUGH:
        return np.full(len(own_C), FLOOR + GAP_TO_NOISE * float(_nanmedian(gap_C, axis=0)))
    others_CC = known_C & ~np.eye(len(own_C), dtype=bool)
    return np.array([max(FLOOR, qn(own_C[others])) for others in others_CC])


def _excess(gap_C: np.ndarray) -> np.ndarray:
    """What of a gap is more than rounds have that nothing disturbs; columns apart."""
    return np.maximum(0.0, gap_C - WIDE_GAP * _nanmedian(gap_C, axis=0))


def _degrees(num_candidates: int) -> float:
    return SURENESS * (num_candidates - 2) if num_candidates >= ENOUGH else DEGREES


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
    own_CW: np.ndarray, gap_CW: np.ndarray, noise_CW: np.ndarray
) -> dict[int, Estimate]:
    """Means over workloads, in which noisy ones count for less.

    A bad minute may hold all of a candidate's workloads back, so their gaps do not average out;
    where workloads go astray together, the spread of the means is larger than their weights say.
    """
    weights_CW = np.where(np.isnan(own_CW), 0.0, noise_CW**-2)
    total_C = weights_CW.sum(axis=1)
    rows = np.flatnonzero(total_C)
    weights_CW, total_C = weights_CW[rows], total_C[rows]
    mean_C, gap_C = (
        np.nansum(values_CW[rows] * weights_CW, axis=1) / total_C for values_CW in (own_CW, gap_CW)
    )
    noise_C = np.hypot(np.maximum(total_C**-0.5, _noise(mean_C, gap_C)), _excess(gap_C))
    return {
        int(c): Estimate(
            value=float(value),
            noise=float(noise),
            tolerance=TOLERANCE,
            degrees=_degrees(len(rows)),
        )
        for c, value, noise in zip(rows, mean_C, noise_C, strict=True)
    }


def _engine(old: LogRounds, new: LogRounds, reference: int | None) -> Estimate | None:
    """What all candidates share, less what the machine's own change explains.

    Where even the fastest rounds lie far apart, other work has slowed them all: by how much, half
    of their gap is a guess at.
    """
    change_W = _middle(
        quiet_log_throughput(new.throughput_CWR) - quiet_log_throughput(old.throughput_CWR),
        reference,
    )
    known_W = change_W[~np.isnan(change_W)]
    slower_machine = _quiet_calibration(new) - _quiet_calibration(old)
    if not len(known_W) or math.isnan(slower_machine):
        return None
    value = float(known_W.mean()) + slower_machine
    gaps = [float(np.nanmedian(_lead(run.throughput_CWR))) for run in (old, new)]
    noise = math.hypot(ENGINE_FLOOR, *(gap / 2 for gap in gaps))
    return Estimate(value=value, noise=noise, tolerance=ENGINE_TOLERANCE, degrees=DEGREES)


def _quiet_calibration(run: LogRounds) -> float:
    """As few of all candidates' visits saw it surpassed as of a cell's rounds: so both feel the
    machine alike."""
    known = run.calibration_CWR[~np.isnan(run.calibration_CWR)]
    return float(np.quantile(known, QUIET)) if len(known) else math.nan


def _lead(throughput_CWR: np.ndarray) -> np.ndarray:
    """How far ahead of the second the fastest round is [C, W]."""
    ordered_CWR = -np.sort(-throughput_CWR, axis=2)  # NaN comes last
    return ordered_CWR[:, :, 0] - ordered_CWR[:, :, 1]


def _nanmedian(values: np.ndarray, axis: int) -> np.ndarray:
    """NaN where nothing is known, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis))
