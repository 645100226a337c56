"""Compares accuracy cell by cell on the same examples, so that only those that flipped count."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from melange.harness.stats import least_sign_flip_p, paired_difference
from melange.reports.analysis.comparison.changes import (
    Change,
    Gains,
    Kind,
    Verdict,
    as_lost,
    unjudged,
)
from melange.reports.analysis.comparison.examples import ALONE, Pairs, pair_up
from melange.reports.analysis.comparison.match import gap, is_lost, quality_refusal
from melange.reports.analysis.run import Run


def quality_changes(old: Run, new: Run) -> Iterator[Change]:
    """A change for every cell of either run, with a reason if it cannot be compared."""
    for candidate in {**new.families, **old.families}:
        for task in {**new.tasks, **old.tasks}:
            change = _change(old, new, candidate, task)
            if change is not None:
                yield change


def _change(old: Run, new: Run, candidate: str, task: str) -> Change | None:
    numbers = old.quality(candidate, task), new.quality(candidate, task)
    if {one.outcome for one in numbers} <= {"absent", "pending"}:
        return None
    missing = gap(*numbers) or quality_refusal(old, new, candidate, task)
    change = unjudged(Kind.QUALITY, candidate, task, numbers, missing)
    if missing:
        return as_lost(change) if is_lost(*numbers) else change
    pairs = pair_up(old, new, candidate, task)
    if isinstance(pairs, str):
        return replace(change, reason=pairs)
    record = new.tasks[task]
    assert record is not None, "refused where the manifest does not describe the task"
    unit, higher_is_better = _unit(new, candidate, task), record.higher_is_better
    change = replace(change, unit=unit, higher_is_better=higher_is_better)
    return judged(change, pairs, record.cluster_by)


def _unit(run: Run, candidate: str, task: str) -> str:
    return run.index[(candidate, task, None, run.primary_metric(task) or "")].unit


def judged(change: Change, pairs: Pairs, cluster_by: str = "") -> Change:
    """The paired difference with its p; the verdict comes after the correction over all cells.

    `cluster_by`: the column that the names of clusters are from.
    """
    paired = paired_difference(pairs.new_N, pairs.old_N, pairs.clusters_N)
    gain_N = (pairs.new_N - pairs.old_N) * (1 if change.higher_is_better else -1)
    gains = _gains(change.subject, pairs, gain_N, cluster_by)
    return replace(
        change,
        value=paired.difference,
        low=paired.low,
        high=paired.high,
        p_value=paired.p_value,
        verdict=Verdict.ALIKE,
        note=pairs.note,
        units=pairs.units,
        lost=_numbers(pairs.examples_N[gain_N < 0]),
        won=_numbers(pairs.examples_N[gain_N > 0]),
        num_lost=int((gain_N < 0).sum()),
        num_won=int((gain_N > 0).sum()),
        gains=gains,
        smallest_p=least_sign_flip_p(len(gains.by_unit)),
    )


def _gains(task: str, pairs: Pairs, gain_N: np.ndarray, cluster_by: str) -> Gains:
    sums: dict[str, float] = {}
    for at in np.flatnonzero(gain_N):
        cluster = "" if pairs.clusters_N is None else str(pairs.clusters_N[at])
        shared = cluster and not cluster.startswith(ALONE)
        unit = f"{cluster_by}: {cluster}" if shared else f"{task}, {pairs.examples_N[at]}"
        sums[unit] = sums.get(unit, 0.0) + float(gain_N[at])
    moved = {unit: total for unit, total in sums.items() if total}
    return Gains(by_unit=moved, num_examples=len(gain_N))


def _numbers(examples_N: np.ndarray) -> tuple[int, ...]:
    return tuple(int(one) for one in examples_N)
