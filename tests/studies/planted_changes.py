"""Changes to plant in drawn pairs of runs, and whether the gate names them.

Shape letters: C units, W workloads, R rounds.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from melange.reports.analysis.comparison import Change, Kind, Verdict
from melange.reports.analysis.comparison.changes import POOLED
from melange.reports.analysis.comparison.judging import judge
from melange.reports.analysis.comparison.noise import LogRounds
from melange.reports.analysis.comparison.speed import is_restless, timed_changes
from melange.reports.analysis.comparison.timings import OTHERS, SPEED, Timed
from studies.real_pairs import Cell, RealPair
from studies.resampled_runs import (
    Draw,
    Generator,
    change_of,
    resampled,
)

EXAMPLES = 500
"""Number of examples of a cell in which a drop is planted."""
BAR = "at least 90 %"
DECODE = "decode_tokens_per_sec"
LATENCIES = tuple(one.name for one in OTHERS if one.metric.group == "latency")
TTFTS = tuple(name for name in LATENCIES if name.startswith("ttft"))


def judged_all(draw: Draw) -> list[Change]:
    """All changes with the gate's verdicts; on a busy machine, those of quality alone."""
    if is_restless(draw.old) or is_restless(draw.new):
        return judge(draw.quality)
    return judge([*draw.quality, *timed_changes(draw.old, draw.new, draw.axes)])


def regressions(draw: Draw) -> list[Change]:
    return [one for one in judged_all(draw) if one.verdict is Verdict.WORSE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A change to plant, and what the gate should say of it."""

    what: str
    bar: str = ""
    caught: Callable[[Draw, Generator, float], bool]
    """Of a draw, with the share of answers that flip by a coin."""


# --- answers


def forgotten(
    cell: Cell, points: float, rows_N: np.ndarray, flips: float, rng: Generator
) -> Change | None:
    """Turns right answers wrong, `points` percent of them; None if there are too few."""
    pairs = resampled(cell.pairs, rows_N, False, flips, rng)
    right, wrong = (1.0, 0.0) if cell.higher_is_better else (0.0, 1.0)
    known = np.flatnonzero((pairs.old_N == right) & (pairs.new_N == right))
    number = round(points / 100 * len(rows_N))
    if len(known) < number:
        return None
    new_N = pairs.new_N.copy()
    new_N[rng.choice(known, number, replace=False)] = wrong
    return change_of(cell, replace(pairs, new_N=new_N))


def drop_in_one_cell(points: float) -> Callable[[Draw, Generator, float], bool]:
    def caught(draw: Draw, rng: Generator, flips: float) -> bool:
        while True:
            at = int(rng.integers(len(draw.pair.cells)))
            cell = draw.pair.cells[at]
            rows_N = rng.integers(len(cell.pairs.old_N), size=EXAMPLES)
            change = forgotten(cell, points, rows_N, flips, rng)
            if change is not None:
                break
        quality = [*draw.quality[:at], change, *draw.quality[at + 1 :]]
        named = {_key(one) for one in regressions(replace(draw, quality=quality))}
        return _key(change) in named

    return caught


def _key(change: Change) -> tuple[Kind, str, str]:
    return change.kind, change.candidate, change.subject


def loss_of_all(points: float) -> Callable[[Draw, Generator, float], bool]:
    """Every candidate loses on every task, as far as it has right answers."""

    def caught(draw: Draw, rng: Generator, flips: float) -> bool:
        rows = {cell.task: rng.integers(len(cell.pairs.old_N), size=EXAMPLES)
                for cell in draw.pair.cells}  # fmt: skip
        drops = (forgotten(c, points, rows[c.task], flips, rng) for c in draw.pair.cells)
        quality = [
            drop or change_of(cell, resampled(cell.pairs, rows[cell.task], False, flips, rng))
            for cell, drop in zip(draw.pair.cells, drops, strict=True)
        ]
        named = [one for one in judge(quality) if one.verdict is Verdict.WORSE]
        return any(one.kind in POOLED for one in named)

    return caught


# --- times


def slowed(
    run: Timed, factor: float, rows: Sequence[int], names: Collection[str] | None = None
) -> dict[str, LogRounds]:
    """What is timed gets worse by this factor in these rows; only the named quantities, if any."""
    found = dict(run)
    for name in found if names is None else names:
        throughput_CWR = found[name].throughput_CWR.copy()
        throughput_CWR[list(rows)] -= np.log(factor)
        found[name] = replace(found[name], throughput_CWR=throughput_CWR)
    return found


def slow_down(
    factor: float, victims: float | None, names: Collection[str] | None = None
) -> Callable[[Draw, Generator, float], bool]:
    """`victims`: the share of the candidates that are slower; None for all.

    Caught if all of them are named, and no other is, neither as worse nor as better.
    """

    def caught(draw: Draw, rng: Generator, _: float) -> bool:
        units = draw.axes.units
        number = len(units) if victims is None else max(1, round(victims * len(units)))
        rows = rng.choice(len(units), number, replace=False)
        planted = replace(draw, new=slowed(draw.new, factor, rows, names))
        found = [one for one in judged_all(planted) if one.kind not in (Kind.QUALITY, *POOLED)]
        worse = {one.candidate for one in found if one.verdict is Verdict.WORSE}
        better = {one.candidate for one in found if one.verdict is Verdict.BETTER}
        expected = {""} if victims is None else {units[row] for row in rows}
        return worse == expected and not better

    return caught


def now_and_then(factor: float) -> Callable[[Draw, Generator, float], bool]:
    """Half of one candidate's rounds take longer."""

    def caught(draw: Draw, rng: Generator, _: float) -> bool:
        victim = int(rng.integers(len(draw.axes.units)))
        speeds = draw.new[SPEED.name]
        throughput_CWR = speeds.throughput_CWR.copy()
        slow_WR = rng.random(throughput_CWR.shape[1:]) < 0.5
        throughput_CWR[victim] -= slow_WR * np.log(factor)
        planted = {**draw.new, SPEED.name: replace(speeds, throughput_CWR=throughput_CWR)}
        named = {one.candidate for one in regressions(replace(draw, new=planted))}
        return named == {draw.axes.units[victim]}

    return caught


def cases(pairs: Sequence[RealPair]) -> Iterator[Case]:
    known: Mapping[str, object] = pairs[0].noise
    for points in (3, 5, 10):
        yield Case(
            what=f"one candidate loses {points} points on one task of {EXAMPLES} examples",
            bar=BAR if points == 5 else "",
            caught=drop_in_one_cell(points),
        )
    yield Case(
        what=f"every candidate loses 1 point on every task of {EXAMPLES} examples",
        bar=BAR,
        caught=loss_of_all(1),
    )
    for who, victims in (("one candidate takes", 0.0), ("all candidates take", None)):
        for factor in (1.10, 1.15, 1.25):
            bar = BAR if factor == 1.15 else ""
            what = f"{who} {factor - 1:.0%} longer"
            yield Case(what=what, bar=bar, caught=slow_down(factor, victims))
    for who, victims in (("a third", 1 / 3), ("two thirds", 2 / 3)):
        what = f"{who} of the candidates take 15% longer"
        yield Case(what=what, bar=BAR, caught=slow_down(1.15, victims))
    for what, factor, names in (
        ("TTFT is twice as long", 2.0, TTFTS),
        ("all latencies are three times as long", 3.0, LATENCIES),
        ("the decoding rate is half", 2.0, (DECODE,)),
        ("a token costs three times the energy", 3.0, ("joules_per_token",)),
    ):
        if all(name in known for name in names):
            yield Case(what=f"one candidate: {what}", bar=BAR, caught=slow_down(factor, 0.0, names))
            yield Case(what=f"all candidates: {what}", caught=slow_down(factor, None, names))
    yield Case(what="half of one candidate's rounds take 50% longer", caught=now_and_then(1.5))
