"""Compares a run with an earlier one: what changed significantly, and what is not comparable."""

from collections.abc import Sequence
from itertools import chain

from melange.reports.analysis.comparison.changes import Change, Kind, Verdict
from melange.reports.analysis.comparison.conclusion import Comparison
from melange.reports.analysis.comparison.costs import cost_changes
from melange.reports.analysis.comparison.environment import differences
from melange.reports.analysis.comparison.judging import judge
from melange.reports.analysis.comparison.missing import without_power
from melange.reports.analysis.comparison.quality import quality_changes
from melange.reports.analysis.comparison.speed import speed_changes
from melange.reports.analysis.comparison.waivers import Waiver, waived
from melange.reports.analysis.run import Run

__all__ = ["Change", "Comparison", "Kind", "Verdict", "compare"]


def compare(old: Run, new: Run, waivers: Sequence[Waiver] = ()) -> Comparison:
    """`old` is the baseline; `waivers` accept that cells of it were not judged.

    Raises:
        HarnessError: a file of either run cannot be read.
    """
    found = chain(quality_changes(old, new), speed_changes(old, new), cost_changes(old, new))
    changes = judge(found)
    return Comparison(
        old=old,
        new=new,
        changes=tuple(waived(without_power(changes), waivers)),
        differences=tuple(differences(old, new)),
        waivers=tuple(waivers),
    )
