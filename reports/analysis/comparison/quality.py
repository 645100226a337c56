"""Accuracy, cell by cell: the same examples in both runs, so only those that flipped count."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from melange.harness.stats import paired_difference
from melange.reports.analysis.comparison.changes import Change, Kind, Verdict, as_lost, unjudged
from melange.reports.analysis.comparison.examples import Pairs, pair_up
from melange.reports.analysis.comparison.match import gap, is_lost, quality_refusal
from melange.reports.analysis.run import Reading, Run


def quality_changes(old: Run, new: Run) -> Iterator[Change]:
    """A change for every cell that either run has; what cannot be compared says why."""
    for candidate in {**new.families, **old.families}:
        for task in {**new.tasks, **old.tasks}:
            change = _change(old, new, candidate, task)
            if change is not None:
                yield change


def _change(old: Run, new: Run, candidate: str, task: str) -> Change | None:
    before, now = (_reading(run, candidate, task) for run in (old, new))
    if {before.outcome, now.outcome} <= {"absent", "pending"}:
        return None
    missing = gap(before, now) or quality_refusal(old, new, candidate, task)
    if missing:
        change = unjudged(Kind.QUALITY, candidate, task, before, now, missing)
        return as_lost(change) if is_lost(before, now) else change
    pairs = pair_up(old, new, candidate, task)
    if isinstance(pairs, str):
        return unjudged(Kind.QUALITY, candidate, task, before, now, pairs)
    record = new.tasks[task]
    assert record is not None, "refused where the manifest does not describe the task"
    change = judged(candidate, task, before, now, pairs, record.higher_is_better)
    return replace(change, unit=_unit(new, candidate, task))


def _reading(run: Run, candidate: str, task: str) -> Reading:
    if task not in run.tasks:
        return Reading(reason="the run does not have the task")
    return run.quality(candidate, task)


def _unit(run: Run, candidate: str, task: str) -> str:
    return run.index[(candidate, task, None, run.primary_metric(task) or "")].unit


def judged(
    candidate: str, task: str, old: Reading, new: Reading, pairs: Pairs, higher_is_better: bool
) -> Change:
    """The paired difference with its p; the verdict waits for the correction over all cells."""
    paired = paired_difference(pairs.new_N, pairs.old_N, pairs.clusters_N)
    gain_N = (pairs.new_N - pairs.old_N) * (1 if higher_is_better else -1)
    return Change(
        kind=Kind.QUALITY,
        candidate=candidate,
        subject=task,
        old=old,
        new=new,
        value=paired.difference,
        low=paired.low,
        high=paired.high,
        p_value=paired.p_value,
        verdict=Verdict.ALIKE,
        higher_is_better=higher_is_better,
        lost=_numbers(pairs.examples_N[gain_N < 0]),
        won=_numbers(pairs.examples_N[gain_N > 0]),
    )


def _numbers(examples_N: np.ndarray) -> tuple[int, ...]:
    return tuple(int(one) for one in examples_N)
