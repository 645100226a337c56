"""What real pairs of runs show, for studies that draw further pairs from it.

The two runs of a pair should be alike, measured one after the other.

Shape letters: C units, W workloads, R rounds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from melange.harness.stats import QUIET
from melange.reports.analysis.comparison import Comparison, Kind, compare
from melange.reports.analysis.comparison.examples import Pairs, pair_up
from melange.reports.analysis.comparison.noise import LogRounds, steadied, unrest
from melange.reports.analysis.comparison.speed import judgeable
from melange.reports.analysis.comparison.timings import SPEED, Axes, timed
from melange.reports.analysis.comparison.units import Pair
from melange.reports.analysis.run import Run


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    candidate: str
    task: str
    cluster_by: str
    pairs: Pairs
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How one quantity differs between the two runs of a pair."""

    level: LogRounds
    """The mean of both runs of what stands for a cell's rounds, [C, W, 1]."""
    runs: tuple[LogRounds, LogRounds]
    """Each run's deviations from it, [C, W, R], without what all candidates share."""
    machine: float
    """Deviation of a run, in what all candidates share."""
    engine: float
    """The same, without the part that the calibration explains."""
    own: float
    """Standard deviation between the two runs of a candidate's own deviation over its workloads."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RealPair:
    comparison: Comparison
    cells: tuple[Cell, ...]
    axes: Axes
    noise: Mapping[str, Noise]
    """By quantity."""
    num_rounds: tuple[int, int]
    disturbed: tuple[float, float]
    """Share of each run's rounds that other work disturbed."""


def run_folders(given: Sequence[Path]) -> list[Path]:
    """Runs, in order; a folder that is no run stands for the runs in it."""
    found: list[Path] = []
    for path in given:
        is_run = (path / "manifest.json").is_file()
        found += [path] if is_run else sorted(one.parent for one in path.glob("*/manifest.json"))
    return found


def load_pair(old: Run, new: Run) -> RealPair:
    comparison = compare(old, new)
    pair = Pair(old, new)
    units = judgeable(pair)
    assert units.cells, f"{old.folder} and {new.folder} kept no rounds in common"
    axes = Axes.of(units.cells, units.of(pair.reference))
    then, now = (timed(units.rounds_in(run), axes) for run in (old, new))
    return RealPair(
        comparison=comparison,
        cells=tuple(_cells(comparison)),
        axes=axes,
        noise={name: _noise(then[name], now[name]) for name in then if name in now},
        num_rounds=tuple(run[SPEED.name].throughput_CWR.shape[2] for run in (then, now)),
        disturbed=tuple(unrest(run[SPEED.name]).disturbed for run in (then, now)),
    )


def _cells(comparison: Comparison) -> Iterator[Cell]:
    for one in comparison.of(Kind.QUALITY):
        if one.p_value is None:
            continue
        pairs = pair_up(comparison.old, comparison.new, one.candidate, one.subject)
        assert isinstance(pairs, Pairs), "what was tested can be paired"
        task = comparison.new.tasks[one.subject]
        yield Cell(
            candidate=one.candidate,
            task=one.subject,
            cluster_by=task.cluster_by if task else "",
            pairs=pairs,
            higher_is_better=one.higher_is_better,
        )


def _noise(old: LogRounds, new: LogRounds) -> Noise:
    """The gate estimates what all candidates share from the rounds as they are, and a candidate's
    own change from rounds without the machine's drift."""
    measured = (old, new)
    _, together = _levels([_quiet(one) for one in measured])
    machine, engine = _of_all(together[0]), None
    quiet = [_quiet(replace(one, throughput_CWR=steadied(one.throughput_CWR))) for one in measured]
    level, kept = _levels(quiet)
    shared = [_of_all(one) for one in kept]
    engine = machine.throughput_CWR + machine.calibration_CWR
    own = [(a.throughput_CWR - b.throughput_CWR) for a, b in zip(kept, shared, strict=True)]
    first, second = (
        _both(lambda a, top, own, all_: a - top + own - all_, *parts)
        for parts in zip(measured, quiet, kept, shared, strict=True)
    )
    return Noise(
        level=level,
        runs=(first, second),
        machine=abs(float(np.nanmean(machine.throughput_CWR))),
        engine=abs(float(np.nanmean(engine))),
        own=float(np.sqrt(2) * np.nanstd([np.nanmean(one, axis=1) for one in own])),
    )


def _quiet(run: LogRounds) -> LogRounds:
    """The quiet throughput and calibration that represent a cell's rounds."""
    return LogRounds(
        throughput_CWR=_quantile(run.throughput_CWR, 1 - QUIET),
        calibration_CWR=_quantile(run.calibration_CWR, QUIET),
    )


def _quantile(values_CWR: np.ndarray, share: float) -> np.ndarray:
    """NaN where a cell was not timed."""
    known_CW = np.isfinite(values_CWR).any(axis=2)
    found = np.nanquantile(np.where(known_CW[:, :, None], values_CWR, 0.0), share, axis=2)
    return np.asarray(np.where(known_CW, found, np.nan))[:, :, None]


def _levels(runs: Sequence[LogRounds]) -> tuple[LogRounds, list[LogRounds]]:
    """The mean of the two runs, and each run's deviation from it."""
    # Deviations from a mean that includes the run are too small, which is corrected here.
    scale = 2**0.5
    level = _both(lambda *several: np.mean(several, axis=0), *runs)
    return level, [_both(lambda a, b: scale * (a - b), one, level) for one in runs]


def _of_all(run: LogRounds) -> LogRounds:
    return _both(lambda a: np.nanmedian(a, axis=0, keepdims=True), run)


def _both(change: Callable[..., np.ndarray], *several: LogRounds) -> LogRounds:
    return LogRounds(
        throughput_CWR=change(*(one.throughput_CWR for one in several)),
        calibration_CWR=change(*(one.calibration_CWR for one in several)),
    )


def size(deviations: Sequence[float]) -> float:
    """Standard deviation, around 0."""
    return float(np.sqrt(np.mean(np.square(deviations))))
