"""Pairs of runs that differ in noise only, resampled from real samples and real rounds.

For quality, a cell's examples are drawn with replacement (clusters as a whole), and a coin decides
which run's scores are the old ones. For speed, a real run is drawn with all of its rounds, and its
candidates are permuted, which keeps the dependence between a candidate's rounds. Each run's overall
deviation from the others is drawn from a normal distribution.

Shape letters: C candidates, W workloads, R rounds, N examples.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np

from melange.harness.runs.reader import read_rounds
from melange.harness.stats import QUIET
from melange.reports.analysis.comparison import Change, Kind, compare
from melange.reports.analysis.comparison.changes import unjudged
from melange.reports.analysis.comparison.examples import Pairs, pair_up
from melange.reports.analysis.comparison.noise import LogRounds, steadied, unrest
from melange.reports.analysis.comparison.quality import judged
from melange.reports.analysis.comparison.speed import by_cell, log_rounds
from melange.reports.analysis.run import Reading, Run

Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    candidate: str
    task: str
    pairs: Pairs
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Speeds and noise of runs that should be equal."""

    candidates: list[str]
    workloads: list[str]
    reference: int | None
    level: LogRounds
    """The mean over runs of `quiet_log_throughput`, [C, W, 1]."""
    runs: list[LogRounds]
    """Each run's deviations from it, [C, W, R], without what all candidates share."""
    machine: float
    """Standard deviation, between runs, of what all candidates share."""
    engine: float
    """The same, without the part that the calibration explains."""
    noise: float
    """The same between two runs, of a candidate's own deviation over its workloads."""
    disturbed: list[float]
    """Share of each run's rounds that other work disturbed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    cells: tuple[Cell, ...]
    speeds: Speeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Two runs that differ in noise only."""

    quality: list[Change]
    old: LogRounds
    new: LogRounds


def load_material(runs: Sequence[Run]) -> Material:
    return Material(
        cells=tuple(cell for old, new in pairwise(runs) for cell in _cells(old, new)),
        speeds=_speeds(runs),
    )


def _cells(old: Run, new: Run) -> Iterator[Cell]:
    for one in compare(old, new).of(Kind.QUALITY):
        if not one.reason:
            pairs = pair_up(old, new, one.candidate, one.subject)
            assert isinstance(pairs, Pairs)
            yield Cell(
                candidate=one.candidate,
                task=one.subject,
                pairs=pairs,
                higher_is_better=one.higher_is_better,
            )


def _speeds(runs: Sequence[Run]) -> Speeds:
    rounds = [by_cell(read_rounds(run.folder / "rounds.jsonl")) for run in runs]
    cells = [cell for cell in rounds[0] if all(cell in other for other in rounds)]
    assert cells, "these runs kept no rounds in common"
    candidates = list(dict.fromkeys(candidate for candidate, _ in cells))
    suite = runs[0].manifest.suite
    assert suite is not None
    measured = log_rounds(rounds, cells)
    # The gate estimates what all candidates share from the rounds as they are, and a candidate's
    # own change from rounds without the drift.
    together = [_of_all(one) for one in _levels([_quiet(one) for one in measured])[1]]
    quiet = [_quiet(replace(one, throughput_CWR=steadied(one.throughput_CWR))) for one in measured]
    level, kept = _levels(quiet)
    shared = [_of_all(one) for one in kept]
    return Speeds(
        candidates=candidates,
        workloads=list(dict.fromkeys(workload for _, workload in cells)),
        reference=candidates.index(suite.reference) if suite.reference in candidates else None,
        level=level,
        runs=[
            _both(lambda a, top, own, all_: a - top + own - all_, *parts)
            for parts in zip(measured, quiet, kept, shared, strict=True)
        ],
        machine=_size([one.throughput_CWR for one in together]),
        engine=_size([one.throughput_CWR + one.calibration_CWR for one in together]),
        noise=float(
            np.sqrt(2)
            * np.std(
                [
                    (one.throughput_CWR - all_.throughput_CWR).mean(axis=1)
                    for one, all_ in zip(kept, shared, strict=True)
                ]
            )
        ),
        disturbed=[unrest(one).disturbed for one in measured],
    )


def _quiet(run: LogRounds) -> LogRounds:
    """The quiet throughput and calibration that represent a cell's rounds."""
    return LogRounds(
        throughput_CWR=np.quantile(run.throughput_CWR, 1 - QUIET, axis=2, keepdims=True),
        calibration_CWR=np.quantile(run.calibration_CWR, QUIET, axis=2, keepdims=True),
    )


def _levels(runs: Sequence[LogRounds]) -> tuple[LogRounds, list[LogRounds]]:
    """The mean of the runs, and each run's deviation from it."""
    # Deviations from a mean that includes the run are too small, which is corrected here.
    scale = (len(runs) / (len(runs) - 1)) ** 0.5
    level = _both(lambda *several: np.mean(several, axis=0), *runs)
    return level, [_both(lambda a, b: scale * (a - b), one, level) for one in runs]


def _of_all(run: LogRounds) -> LogRounds:
    return _both(lambda a: np.median(a, axis=0, keepdims=True), run)


def _both(change: Callable[..., np.ndarray], *several: LogRounds) -> LogRounds:
    return LogRounds(
        throughput_CWR=change(*(one.throughput_CWR for one in several)),
        calibration_CWR=change(*(one.calibration_CWR for one in several)),
    )


def _size(shifts: Sequence[np.ndarray]) -> float:
    """Standard deviation, around 0, of each run's mean over workloads."""
    return float(np.sqrt(np.mean([one.mean() ** 2 for one in shifts])))


def draw_pair(material: Material, flips: float, rng: Generator) -> Draw:
    """`flips`: share of further answers that are right in one run only, drawn at random."""
    return Draw(
        quality=[_redrawn(cell, same, flips, rng) for cell, same in _with_same(material.cells)],
        old=draw_run(material.speeds, rng),
        new=draw_run(material.speeds, rng),
    )


def _redrawn(cell: Cell, same: Change | None, flips: float, rng: Generator) -> Change:
    if same is not None and not flips:
        return same
    return change_of(cell, resampled(cell.pairs, len(cell.pairs.old_N), flips, rng))


@cache
def _with_same(cells: tuple[Cell, ...]) -> list[tuple[Cell, Change | None]]:
    """Cells with their change if no score differs: then it is the same for all resamples."""
    return [
        (
            one,
            change_of(one, one.pairs) if np.array_equal(one.pairs.old_N, one.pairs.new_N) else None,
        )
        for one in cells
    ]


def change_of(cell: Cell, pairs: Pairs) -> Change:
    old, new = (Reading(value=float(v.mean()), reason="") for v in (pairs.old_N, pairs.new_N))
    change = unjudged(Kind.QUALITY, cell.candidate, cell.task, (old, new), "")
    return judged(replace(change, higher_is_better=cell.higher_is_better), pairs)


def resampled(pairs: Pairs, num_examples: int, flips: float, rng: Generator) -> Pairs:
    rows_N = _rows(pairs, num_examples, rng)
    old_N, new_N = pairs.old_N[rows_N], pairs.new_N[rows_N]
    if rng.random() < 0.5:
        old_N, new_N = new_N, old_N
    flipped_N, coin_N = rng.random(num_examples) < flips, rng.random(num_examples) < 0.5
    old_N, new_N = np.where(flipped_N, coin_N, old_N), np.where(flipped_N, ~coin_N, new_N)
    clusters_N = None if pairs.clusters_N is None else pairs.clusters_N[rows_N]
    numbers_N = np.arange(num_examples)
    return Pairs(examples_N=numbers_N, old_N=old_N, new_N=new_N, clusters_N=clusters_N)


def _rows(pairs: Pairs, num_examples: int, rng: Generator) -> np.ndarray:
    if pairs.clusters_N is None:
        return rng.integers(len(pairs.old_N), size=num_examples)
    _, which_N = np.unique(pairs.clusters_N, return_inverse=True)
    members = [np.flatnonzero(which_N == g) for g in range(which_N.max() + 1)]
    found: list[int] = []
    while len(found) < num_examples:
        found += list(members[rng.integers(len(members))])
    return np.array(found[:num_examples])


def draw_run(speeds: Speeds, rng: Generator) -> LogRounds:
    """A real run with permuted candidates and a random overall deviation."""
    history = speeds.runs[rng.integers(len(speeds.runs))]
    places = rng.permutation(len(speeds.candidates))
    machine, engine = rng.normal(0, speeds.machine), rng.normal(0, speeds.engine)
    return LogRounds(
        throughput_CWR=speeds.level.throughput_CWR
        + history.throughput_CWR[places]
        + machine
        + engine,
        calibration_CWR=speeds.level.calibration_CWR + history.calibration_CWR[places] - machine,
    )
