"""Compares speed by cell and by candidate, from the rounds that both runs stored."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from melange.harness.round_line import RoundLine
from melange.reports.analysis.comparison.changes import Change, Kind, Verdict, as_lost, unjudged
from melange.reports.analysis.comparison.match import gap, is_lost, speed_refusal
from melange.reports.analysis.comparison.noise import (
    DISTURBED,
    MIN_ROUNDS,
    RESTLESS,
    Estimate,
    LogRounds,
    estimate,
    unrest,
)
from melange.reports.analysis.run import Reading, Run

SPEED = "total_tokens_per_sec"
Rounds = dict[tuple[str, str], list[RoundLine]]


def speed_changes(old: Run, new: Run) -> Iterator[Change]:
    """A change for every cell, for every candidate, and for all candidates together."""
    before, now = (_rounds(run) for run in (old, new))
    comparable: list[tuple[str, str]] = []
    for candidate, workload in _cells(old, new):
        reason = _refusal(old, new, (candidate, workload), before, now)
        if not reason:
            comparable.append((candidate, workload))
            continue
        numbers = _readings(old, new, candidate, workload)
        change = unjudged(Kind.WORKLOAD, candidate, workload, numbers, reason)
        yield as_lost(change) if is_lost(*numbers) else change
    if comparable:
        yield from _judged(old, new, comparable, before, now)


def _rounds(run: Run) -> Rounds:
    cells = ((candidate, workload) for candidate in run.families for workload in run.workloads)
    return {cell: lines for cell in cells if (lines := run.rounds_of(*cell))}


def by_cell(lines: Sequence[RoundLine]) -> Rounds:
    found: Rounds = {}
    for line in lines:
        found.setdefault((line.unit, line.workload), []).append(line)
    return found


def _cells(old: Run, new: Run) -> Iterator[tuple[str, str]]:
    for candidate in {**new.families, **old.families}:
        if new.unit_of(candidate) != candidate:
            continue  # timed as another of equal kernels, which is judged
        for workload in {**new.workloads, **old.workloads}:
            readings = _readings(old, new, candidate, workload)
            if any(one.outcome not in ("absent", "pending") for one in readings):
                yield candidate, workload


def _readings(old: Run, new: Run, candidate: str, workload: str) -> tuple[Reading, Reading]:
    return (
        old.read(candidate, SPEED, workload=workload),
        new.read(candidate, SPEED, workload=workload),
    )


def _refusal(old: Run, new: Run, cell: tuple[str, str], before: Rounds, now: Rounds) -> str:
    candidate, workload = cell
    missing = gap(*_readings(old, new, candidate, workload)) or speed_refusal(
        old, new, candidate, workload
    )
    if missing:
        return missing
    for where, rounds in (("the baseline", before), ("this run", now)):
        reason = _unknown_noise(rounds, candidate, workload, _reference(new))
        if reason:
            return f"{where}: {reason}"
    return ""


def _reference(run: Run) -> str:
    return run.manifest.suite.reference if run.manifest.suite else ""


def _unknown_noise(rounds: Rounds, candidate: str, workload: str, reference: str) -> str:
    lines = [line for line in rounds.get((candidate, workload), []) if line.wall_sec]
    if not lines:
        return "it did not keep the time of each round, so its noise is unknown"
    if len(lines) < MIN_ROUNDS:
        return "timed in one round, so its noise is unknown"
    if _another_sitting(lines, rounds.get((reference, workload), [])):
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


def _judged(
    old: Run, new: Run, cells: Sequence[tuple[str, str]], before: Rounds, now: Rounds
) -> Iterator[Change]:
    candidates, workloads = axes(cells)
    row = candidates.index(_reference(new)) if _reference(new) in candidates else None
    then, later = log_rounds([before, now], cells)
    restless = _restless("the baseline", then) or _restless("this run", later)
    found = [] if restless else speed_estimates(then, later, row, candidates, workloads)
    left = dict.fromkeys(cells)
    for change in found:
        if change.subject:
            del left[change.candidate, change.subject]
            old_reading, new_reading = _readings(old, new, change.candidate, change.subject)
            change = replace(change, old=old_reading, new=new_reading)
        yield change
    for candidate, workload in left:
        reason = restless or "only its even or only its odd rounds were kept: its noise is unknown"
        numbers = _readings(old, new, candidate, workload)
        yield unjudged(Kind.WORKLOAD, candidate, workload, numbers, reason)


def _restless(where: str, run: LogRounds) -> str:
    found = unrest(run)
    if found.lost_candidates <= RESTLESS:
        return ""
    return (
        f"the machine was restless in {where}: {found.disturbed:.0%} of the rounds took over "
        f"{DISTURBED:.0%} longer than the fastest of their cell; more rounds would help"
    )


def speed_estimates(
    old: LogRounds,
    new: LogRounds,
    reference: int | None,
    candidates: Sequence[str],
    workloads: Sequence[str],
) -> list[Change]:
    """One for each cell, one for each candidate, and one for all candidates."""
    found = estimate(old, new, reference)
    engine = [_change(Kind.ENGINE, "", "", found.engine)] if found.engine else []
    return [
        *(_change(Kind.SPEED, candidates[c], "", one) for c, one in found.candidates.items()),
        *(
            _change(Kind.WORKLOAD, candidates[c], workloads[w], one)
            for (c, w), one in found.cells.items()
        ),
        *engine,
    ]


def axes(cells: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Candidates and workloads, in order of first appearance."""
    return list(dict.fromkeys(c for c, _ in cells)), list(dict.fromkeys(w for _, w in cells))


def log_rounds(runs: Sequence[Rounds], cells: Sequence[tuple[str, str]]) -> list[LogRounds]:
    """One for each run, along `axes(cells)`."""
    candidates, workloads = axes(cells)
    found = []
    for rounds in runs:
        num_rounds = 1 + max(line.round for cell in cells for line in rounds[cell])
        shape = (len(candidates), len(workloads), num_rounds)
        throughput_CWR, calibration_CWR = np.full(shape, np.nan), np.full(shape, np.nan)
        for cell in cells:
            for line in rounds[cell]:
                at = (candidates.index(cell[0]), workloads.index(cell[1]), line.round)
                if line.wall_sec:
                    throughput_CWR[at] = _log(
                        (line.prompt_tokens + line.output_tokens) / line.wall_sec
                    )
                calibration_CWR[at] = _log(line.calibration_sec)
        found.append(LogRounds(throughput_CWR=throughput_CWR, calibration_CWR=calibration_CWR))
    return found


def _log(value: float | None) -> float:
    return math.log(value) if value else math.nan


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
