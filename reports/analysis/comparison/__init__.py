"""Compares a run with an earlier one: what changed significantly, and what is not comparable."""

from itertools import chain

from melange.reports.analysis.comparison.changes import Change, Kind, Verdict
from melange.reports.analysis.comparison.costs import cost_changes
from melange.reports.analysis.comparison.environment import differences
from melange.reports.analysis.comparison.judging import judge
from melange.reports.analysis.comparison.quality import quality_changes
from melange.reports.analysis.comparison.speed import speed_changes
from melange.reports.analysis.comparison.verdict import Comparison
from melange.reports.analysis.run import Run

__all__ = ["Change", "Comparison", "Kind", "Verdict", "compare"]


def compare(old: Run, new: Run) -> Comparison:
    """`old` is the baseline.

    Raises:
        HarnessError: a file of either run cannot be read.
    """
    changes = chain(quality_changes(old, new), speed_changes(old, new), cost_changes(old, new))
    return Comparison(
        old=old,
        new=new,
        changes=tuple(judge(changes)),
        differences=tuple(differences(old, new)),
    )
