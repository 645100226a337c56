"""Which records are current: lines are only ever added, and a later one supersedes an earlier."""

from collections.abc import Callable, Iterable, Iterator

from melange.harness.metrics import of_group
from melange.harness.records import Measurement, Outcome
from melange.harness.round_line import RoundLine
from melange.harness.verdicts import Check

SPEED_FAILURE = "throughput"
MEMORY_FAILURE = "memory"
MEMORY_METRICS = {MEMORY_FAILURE, *(one.name for one in of_group("memory"))} - {"weights_bytes"}
"""The metrics that a failure to measure memory stands for; weights are known without measuring."""
Key = tuple[str, str | None, str | None, str]
"""Candidate, task, workload, metric."""
CellKey = tuple[str, str | None]
"""Candidate and task; None for its speed and memory."""
Scope = tuple[str | None, ...]
"""What a failure stands for; a later completed line of the same scope supersedes it."""


def key_of(line: Measurement) -> Key:
    return (line.candidate, line.task, line.workload, line.metric)


def current(lines: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """The last line of each key, without failures that a later line superseded; in the order in
    which they were written."""
    last: dict[Key, Measurement] = {}
    failures: dict[Scope, set[Key]] = {}
    for line in lines:
        key = key_of(line)
        if line.outcome is not Outcome.COMPLETED:
            failures.setdefault(_scope(line), set()).add(key)
        elif failures:
            for stale in _superseded(_scope(line), failures):
                last.pop(stale, None)
        last.pop(key, None)
        last[key] = line
    return tuple(last.values())


def completed(held: Iterable[Measurement], race: int | None = None) -> set[CellKey]:
    """Cells whose last line is a result and is marked as the cell's last.

    `held` are the current lines. What a race has stopped is complete for races to the same TOP, or
    a smaller one (`race`): that as many others are better stops the candidate there, too.
    """
    last = {(one.candidate, one.task): one for one in held}
    return {
        cell
        for cell, one in last.items()
        if one.outcome is Outcome.COMPLETED and one.ends_cell
        and (one.stop is None or (race is not None and race <= one.stop.top))
    }  # fmt: skip


def current_rounds(lines: Iterable[RoundLine]) -> list[RoundLine]:
    """By unit (see `RoundLine.measured_as`) and workload, in the order in which they were timed.

    Timing a unit again starts at round 0, which supersedes its earlier rounds of the workload.
    """
    held: dict[tuple[str, str], dict[tuple[int, int], RoundLine]] = {}
    for one in lines:
        rounds = held.setdefault((one.unit, one.workload), {})
        if one.round == one.visit == 0:
            rounds.clear()
        rounds[one.round, one.visit] = one
    return [one for rounds in held.values() for one in rounds.values()]


def current_checks(lines: Iterable[Check], hash_of: Callable[[str, str], str]) -> Iterator[Check]:
    """The last check of each example, if its samples are still the same. A line that says why
    nothing could be checked is dropped if something was checked after all.

    `hash_of`: candidate and task -> the hash of the current samples.
    """
    last = {(one.candidate, one.kind, one.task, one.example): one for one in lines}
    answered = {(one.candidate, one.kind) for one in last.values() if one.task is not None}
    hashes: dict[CellKey, str] = {}
    for one in last.values():
        if one.task is None:
            if (one.candidate, one.kind) not in answered:
                yield one
            continue
        if one.cell not in hashes:
            hashes[one.cell] = hash_of(one.candidate, one.task)
        if hashes[one.cell] == one.samples:
            yield one


def _superseded(scope: Scope, failures: dict[Scope, set[Key]]) -> set[Key]:
    """Keys of failures that a completed line of this scope supersedes."""
    # Any workload or memory metric that completes supersedes a failure of all of them (None).
    whole: Scope = (*scope[:2], None) if scope[1] in ("workload", "memory") else scope
    return failures.pop(scope, set()) | failures.pop(whole, set())


def _scope(line: Measurement) -> Scope:
    if line.task is not None:
        return (line.candidate, "task", line.task)
    if line.workload is not None or line.metric == SPEED_FAILURE:
        return (line.candidate, "workload", line.workload)
    if line.metric in MEMORY_METRICS:
        return (line.candidate, "memory", None if line.metric == MEMORY_FAILURE else line.metric)
    return (line.candidate, "static", line.metric)
