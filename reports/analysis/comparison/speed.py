"""Compares speed by cell and by candidate, and what else is timed, from the rounds that both runs
stored."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from melange.harness.round_line import RoundLine
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
    Timed,
    timed,
)
from melange.reports.analysis.comparison.units import Cell, Pair, Units
from melange.reports.analysis.run import Reading, Run

STEADINESS_TOLERANCE = 0.05
"""A candidate's rounds may fall behind its quiet ones by so much more of the time than before."""


def speed_changes(old: Run, new: Run) -> Iterator[Change]:
    """A change for every unit on every workload, over its workloads, and for all units together;
    for each candidate where it cannot be judged."""
    pair = Pair(old, new)
    cells: list[Cell] = []
    for cell in _cells(pair):
        reason = _refusal(pair, cell)
        if not reason:
            cells.append(cell)
            continue
        numbers = pair.readings(*cell)
        change = unjudged(Kind.WORKLOAD, *cell, numbers, reason)
        yield as_lost(change) if is_lost(*numbers) else change
    if cells:
        yield from _judged(pair, pair.units(cells))


def judgeable(pair: Pair) -> Units:
    """The units of what both runs have timed well enough to compare."""
    return pair.units([cell for cell in _cells(pair) if not _refusal(pair, cell)])


def _cells(pair: Pair) -> Iterator[Cell]:
    for candidate in {**pair.new.families, **pair.old.families}:
        for workload in {**pair.new.workloads, **pair.old.workloads}:
            readings = pair.readings(candidate, workload)
            if any(one.outcome not in ("absent", "pending") for one in readings):
                yield candidate, workload


def _refusal(pair: Pair, cell: Cell) -> str:
    missing = gap(*pair.readings(*cell)) or speed_refusal(pair.old, pair.new, *cell)
    if missing:
        return missing
    for where, run in (("the baseline", pair.old), ("this run", pair.new)):
        beside = run.rounds_of(pair.reference, cell[1])
        reason = _unknown_noise(run.rounds_of(*cell), beside)
        if reason:
            return f"{where}: {reason}"
    return ""


def _unknown_noise(rounds: Sequence[RoundLine], reference: Sequence[RoundLine]) -> str:
    lines = [line for line in rounds if line.wall_sec]
    if not lines:
        return "it did not keep the time of each round, so its noise is unknown"
    if len({line.round for line in lines}) < MIN_ROUNDS:
        return "timed in one round, so its noise is unknown"
    if _another_sitting(lines, reference):
        return "timed in another sitting than the reference candidate; run it afresh"
    return ""


def _another_sitting(lines: Sequence[RoundLine], reference: Sequence[RoundLine]) -> bool:
    sittings = {line.sitting for line in reference}
    if sittings - {""}:
        return any(line.sitting not in sittings for line in lines)
    # Runs of older versions: each round was timed next to the reference's of the same number.
    beside = {line.round: line.wall_sec for line in reference}
    return bool(beside) and any(
        line.reference_wall_sec and line.reference_wall_sec != beside.get(line.round)
        for line in lines
    )


def _judged(pair: Pair, units: Units) -> Iterator[Change]:
    axes = Axes.of(units.cells, units.of(pair.reference))
    then, later = (timed(units.rounds_in(run), axes) for run in (pair.old, pair.new))
    restless = _restless("the baseline", then) or _restless("this run", later)
    left = dict(units.members)
    for change in [] if restless else timed_changes(then, later, axes):
        if change.kind is Kind.WORKLOAD:
            yield _of_cell(pair, change, left.pop((change.candidate, change.subject)))
        else:
            yield from _of_unit(change, units.all_of(change.candidate))
    for (_, workload), candidates in left.items():
        reason = restless or "only its even or only its odd rounds were kept: its noise is unknown"
        for one in candidates:
            numbers = pair.readings(one, workload)
            yield unjudged(Kind.WORKLOAD, one, workload, numbers, reason)


def _of_cell(pair: Pair, change: Change, candidates: Sequence[str]) -> Change:
    first, *others = candidates
    old, new = pair.readings(first, change.subject)
    return replace(change, candidate=first, members=tuple(others), old=old, new=new)


def _of_unit(change: Change, candidates: Sequence[str]) -> Iterator[Change]:
    """One change of all its candidates; one for each, if it could not be judged."""
    if change.reason:
        yield from (replace(change, candidate=one) for one in candidates)
    else:
        yield replace(change, members=tuple(candidates[1:]))


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
            before = quantity.typical(old.throughput_CWR[c])
            numbers = Reading(value=before, reason="by round only"), Reading()
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
