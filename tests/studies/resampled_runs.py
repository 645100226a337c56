"""Pairs of runs that differ in noise only, resampled from real samples and real rounds.

A real pair is drawn. For quality, the examples of each of its tasks are drawn with replacement
(clusters as a whole, the same for all candidates), and a coin decides which run's scores are the
old ones. For speed, one of its runs is drawn with all of its rounds, and its candidates are
permuted, which keeps the dependence between a candidate's rounds and between what is timed in
them. What all candidates share is drawn from a normal distribution, as wide as in all pairs.

Shape letters: C units, W workloads, R rounds, N examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from melange.reports.analysis.comparison import Change, Kind
from melange.reports.analysis.comparison.changes import unjudged
from melange.reports.analysis.comparison.examples import Pairs
from melange.reports.analysis.comparison.noise import LogRounds
from melange.reports.analysis.comparison.quality import judged
from melange.reports.analysis.comparison.timings import Axes, Timed
from melange.reports.analysis.run import Reading
from studies.real_pairs import Cell, Noise, RealPair, size

Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Two runs that differ in noise only."""

    pair: RealPair
    quality: list[Change]
    old: Timed
    new: Timed

    @property
    def axes(self) -> Axes:
        return self.pair.axes


def draw_pair(pairs: Sequence[RealPair], flips: float, rng: Generator) -> Draw:
    """`flips`: share of further answers that are right in one run only, drawn at random."""
    pair = pairs[rng.integers(len(pairs))]
    shared = {name: _shared(pairs, name) for name in pair.noise}
    return Draw(
        pair=pair,
        quality=draw_quality(pair, flips, rng),
        old=_draw_run(pair, shared, rng),
        new=_draw_run(pair, shared, rng),
    )


def draw_quality(
    pair: RealPair, flips: float, rng: Generator, num_examples: int | None = None
) -> list[Change]:
    """`num_examples` of each task; as many as it has, if None."""
    swapped = rng.random() < 0.5
    rows: dict[tuple[str, int], np.ndarray] = {}
    found = []
    for cell, same in _with_same(pair):
        if same is not None and not flips and num_examples is None:
            found.append(same)
            continue
        available = len(cell.pairs.old_N)
        key = (cell.task, available)
        if key not in rows:
            rows[key] = _rows(cell.pairs, num_examples or available, rng)
        found.append(change_of(cell, resampled(cell.pairs, rows[key], swapped, flips, rng)))
    return found


@cache
def _with_same(pair: RealPair) -> list[tuple[Cell, Change | None]]:
    """Cells with their change if no score differs: then it is the same for all resamples."""
    return [
        (
            one,
            change_of(one, one.pairs) if np.array_equal(one.pairs.old_N, one.pairs.new_N) else None,
        )
        for one in pair.cells
    ]


def change_of(cell: Cell, pairs: Pairs) -> Change:
    old, new = (Reading(value=float(v.mean()), reason="") for v in (pairs.old_N, pairs.new_N))
    change = unjudged(Kind.QUALITY, cell.candidate, cell.task, (old, new), "")
    change = replace(change, higher_is_better=cell.higher_is_better)
    return judged(change, pairs, cell.cluster_by)


def resampled(
    pairs: Pairs, rows_N: np.ndarray, swapped: bool, flips: float, rng: Generator
) -> Pairs:
    old_N, new_N = pairs.old_N[rows_N], pairs.new_N[rows_N]
    if swapped:
        old_N, new_N = new_N, old_N
    flipped_N, coin_N = rng.random(len(rows_N)) < flips, rng.random(len(rows_N)) < 0.5
    old_N, new_N = np.where(flipped_N, coin_N, old_N), np.where(flipped_N, ~coin_N, new_N)
    clusters_N = None if pairs.clusters_N is None else pairs.clusters_N[rows_N]
    numbers_N = np.arange(len(rows_N))
    return Pairs(examples_N=numbers_N, old_N=old_N, new_N=new_N, clusters_N=clusters_N)


def _rows(pairs: Pairs, num_examples: int, rng: Generator) -> np.ndarray:
    if pairs.clusters_N is None:
        return rng.integers(len(pairs.old_N), size=num_examples)
    _, which_N = np.unique(pairs.clusters_N.astype(str), return_inverse=True)
    members = [np.flatnonzero(which_N == g) for g in range(which_N.max() + 1)]
    found: list[int] = []
    while len(found) < num_examples:
        found += list(members[rng.integers(len(members))])
    return np.array(found[:num_examples])


def _shared(pairs: Sequence[RealPair], name: str) -> tuple[float, float]:
    """Standard deviation, between runs, of what all candidates share: the machine's, the
    engine's."""
    known = [one.noise[name] for one in pairs if name in one.noise]
    return size([one.machine for one in known]), size([one.engine for one in known])


def _draw_run(
    pair: RealPair, shared: dict[str, tuple[float, float]], rng: Generator
) -> dict[str, LogRounds]:
    """A real run with permuted candidates and a random overall deviation, the same for all
    quantities in proportion to their own."""
    which, places = int(rng.integers(2)), rng.permutation(len(pair.axes.units))
    machine, engine = rng.normal(size=2)
    return {
        name: _drawn(noise, which, places, (machine * shared[name][0], engine * shared[name][1]))
        for name, noise in pair.noise.items()
    }


def _drawn(
    noise: Noise, which: int, places: np.ndarray, deviations: tuple[float, float]
) -> LogRounds:
    machine, engine = deviations
    history, level = noise.runs[which], noise.level
    return LogRounds(
        throughput_CWR=level.throughput_CWR + history.throughput_CWR[places] + machine + engine,
        calibration_CWR=level.calibration_CWR + history.calibration_CWR[places] - machine,
    )
