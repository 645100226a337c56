"""Figures that papers report for a zoo's checkpoints, beside the run's own."""

from typing import NamedTuple

from melange.harness.references import Reference
from melange.reports.analysis.run import Reading, Run

ACCURACY = "accuracy"
"""The name of a task's primary metric in a zoo's file."""


class Compared(NamedTuple):
    reference: Reference
    candidate: str
    """A candidate's name; the run may lack it."""
    measured: Reading


def compared(run: Run) -> list[Compared]:
    return [_compared(run, one) for one in run.manifest.references]


def _compared(run: Run, reference: Reference) -> Compared:
    candidate = reference.measured_as or reference.candidate
    return Compared(reference, candidate, _measured(run, candidate, reference))


def _measured(run: Run, candidate: str, reference: Reference) -> Reading:
    if candidate not in run.families:
        return Reading(reason=f"the run has no candidate {candidate}")
    if reference.task not in run.tasks:
        return Reading(reason=f"the run has no task {reference.task}")
    if reference.metric == ACCURACY:
        return run.quality(candidate, reference.task)
    return run.read(candidate, reference.metric, task=reference.task)
