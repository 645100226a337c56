"""Compares speed by cell and by candidate, and what else is timed, from the rounds that both runs
stored."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from melange.reports.analysis.comparison.changes import Change, Kind, Verdict, as_lost, unjudged
from melange.reports.analysis.comparison.match import gap, is_lost, speed_refusal
from melange.reports.analysis.comparison.noise import (
    BEHIND_QUIET,
    DISTURBED,
    MIN_ROUNDS,
    RESTLESS,
    Estimate,
    LogRounds,
    estimate,
    unrest,
)
from melange.reports.analysis.comparison.timings import (
    OTHERS,
    SPEED,
    Axes,
    Quantity,
    Rounds,
    Timed,
    Units,
    rounds_of,
    timed,
)
from melange.reports.analysis.run import Reading, Run

STEADINESS_TOLERANCE = 0.05
"""A candidate's rounds may fall behind its quiet ones by so much more of the time than before."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs with their rounds."""

    old: Run
    new: Run
    units: Units
    before: Rounds
    now: Rounds

    def readings(self, unit: str, workload: str) -> tuple[Reading, Reading]:
        return (
            self.old.read(unit, SPEED.name, workload=workload),
            self.new.read(unit, SPEED.name, workload=workload),
        )


def speed_changes(old: Run, new: Run) -> Iterator[Change]:
    """A change for every cell, for every candidate, and for all candidates together.

    Candidates that were timed as one have one, under the name of the first.
    """
    units = Units.of(old, new)
    pair = Pair(old, new, units, rounds_of(old, units), rounds_of(new, units))
    comparable: list[tuple[str, str]] = []
    for unit, workload in _cells(pair):
        reason = _refusal(pair, (unit, workload))
        if not reason:
            comparable.append((unit, workload))
            continue
        numbers = pair.readings(unit, workload)
        change = unjudged(Kind.WORKLOAD, unit, workload, numbers, reason)
        yield as_lost(change) if is_lost(*numbers) else change
    if comparable:
        for change in _judged(pair, comparable):
            yield replace(change, members=units.members(change.candidate))


def _cells(pair: Pair) -> Iterator[tuple[str, str]]:
    candidates = {**pair.new.families, **pair.old.families}
    for unit in dict.fromkeys(map(pair.units.unit_of, candidates)):
        for workload in {**pair.new.workloads, **pair.old.workloads}:
            readings = pair.readings(unit, workload)
            if any(one.outcome not in ("absent", "pending") for one in readings):
                yield unit, workload


def _refusal(pair: Pair, cell: tuple[str, str]) -> str:
    missing = gap(*pair.readings(*cell)) or speed_refusal(pair.old, pair.new, *cell)
    if missing:
        return missing
    for where, rounds in (("the baseline", pair.before), ("this run", pair.now)):
        reason = _unknown_noise(rounds, cell, _reference(pair))
        if reason:
            return f"{where}: {reason}"
    return ""


def _reference(pair: Pair) -> str:
    suite = pair.new.manifest.suite
    return pair.units.unit_of(suite.reference) if suite else ""


def _unknown_noise(rounds: Rounds, cell: tuple[str, str], reference: str) -> str:
    lines = [line for line in rounds.get(cell, []) if line.wall_sec]
    if not lines:
        return "it did not keep the time of each round, so its noise is unknown"
    if len(lines) < MIN_ROUNDS:
        return "timed in one round, so its noise is unknown"
    # Rounds of a resumed run were timed next to another round of the reference.
    beside = {line.round: line.wall_sec for line in rounds.get((reference, cell[1]), [])}
    if beside and any(
        line.reference_wall_sec and line.reference_wall_sec != beside.get(line.round)
        for line in lines
    ):
        return "timed in another sitting than the reference candidate; run it afresh"
    return ""


def _judged(pair: Pair, cells: Sequence[tuple[str, str]]) -> Iterator[Change]:
    axes = Axes.of(cells, _reference(pair))
    then, later = (timed(rounds, cells, axes) for rounds in (pair.before, pair.now))
    restless = _restless("the baseline", then) or _restless("this run", later)
    left = dict.fromkeys(cells)
    for change in [] if restless else timed_changes(then, later, axes):
        if change.kind is Kind.WORKLOAD:
            del left[change.candidate, change.subject]
            numbers = pair.readings(change.candidate, change.subject)
            change = replace(change, old=numbers[0], new=numbers[1])
        yield change
    for unit, workload in left:
        reason = restless or "only its even or only its odd rounds were kept: its noise is unknown"
        yield unjudged(Kind.WORKLOAD, unit, workload, pair.readings(unit, workload), reason)


def is_restless(run: Timed) -> bool:
    return unrest(run[SPEED.name]).lost_candidates > RESTLESS


def _restless(where: str, run: Timed) -> str:
    if not is_restless(run):
        return ""
    disturbed = unrest(run[SPEED.name]).disturbed
    return (
        f"the machine was restless in {where}: {disturbed:.0%} of the rounds took over "
        f"{DISTURBED:.0%} longer than the fastest of their cell; more rounds would help"
    )


def timed_changes(old: Timed, new: Timed, axes: Axes) -> Iterator[Change]:
    """Of speed for each cell, each unit and all of them; of steadiness for each unit; of the other
    quantities for each unit and all of them."""
    yield from _speeds(old[SPEED.name], new[SPEED.name], axes)
    for quantity in OTHERS:
        if quantity.name in old:
            yield from _timings(quantity, old[quantity.name], new.get(quantity.name), axes)


def _speeds(old: LogRounds, new: LogRounds, axes: Axes) -> Iterator[Change]:
    tolerance = _share(SPEED)
    found = estimate(old, new, axes.reference, tolerance=tolerance)
    then, now = (replace(run, calibration_CWR=run.calibration_CWR * np.nan) for run in (old, new))
    steadiness = estimate(
        then, now, axes.reference, tolerance=STEADINESS_TOLERANCE, level=BEHIND_QUIET
    )
    for c, one in found.candidates.items():
        yield _change(Kind.SPEED, axes.units[c], "", one)
    for (c, w), one in found.cells.items():
        yield _change(Kind.WORKLOAD, axes.units[c], axes.workloads[w], one)
    if found.engine:
        yield _change(Kind.ENGINE, "", "", found.engine)
    for c, one in steadiness.candidates.items():
        yield _change(Kind.STEADINESS, axes.units[c], "", one)


def _timings(
    quantity: Quantity, old: LogRounds, new: LogRounds | None, axes: Axes
) -> Iterator[Change]:
    new = new or replace(old, throughput_CWR=old.throughput_CWR * np.nan)
    found = estimate(old, new, axes.reference, tolerance=_share(quantity))
    all_units = {"": found.engine} if found.engine else {}
    by_unit = {axes.units[c]: one for c, one in found.candidates.items()}
    for unit, one in (by_unit | all_units).items():
        change = _change(Kind.TIMING, unit, quantity.name, one)
        yield change if quantity.metric.higher_is_better else _turned(change)
    for c in np.flatnonzero(np.isfinite(old.throughput_CWR).any(axis=(1, 2))):
        if c not in found.candidates:
            numbers = (Reading(reason="by round only"), Reading())
            reason = "this run's rounds do not have it, or too few of them"
            yield unjudged(Kind.TIMING, axes.units[c], quantity.name, numbers, reason)


def _share(quantity: Quantity) -> float:
    assert quantity.metric.tolerance is not None, "what is judged has a tolerance"
    return quantity.metric.tolerance - 1


def _turned(change: Change) -> Change:
    """Of a quantity where lower is better: the ratio of its values."""
    value, low, high = (1 / (end or math.nan) for end in (change.value, change.high, change.low))
    return replace(change, value=value, low=low, high=high, higher_is_better=False)


def _change(kind: Kind, candidate: str, workload: str, one: Estimate) -> Change:
    low, high = one.interval
    ratio_only = Reading(reason="a ratio only")
    return Change(
        kind=kind,
        candidate=candidate,
        subject=workload,
        old=ratio_only,
        new=ratio_only,
        value=math.exp(one.value),
        low=math.exp(low),
        high=math.exp(high),
        p_value=one.p_value,
        verdict=Verdict.ALIKE,
        estimate=one,
    )
