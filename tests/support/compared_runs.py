"""Looks up cells in a comparison of two runs."""

from pathlib import Path

from comparison_run import (
    REFERENCE,
)

from melange.reports.analysis.comparison import Change, Comparison, Kind, compare
from melange.reports.analysis.run import load_run

TASK = "knowledge"


def compared(pair: tuple[Path, Path]) -> Comparison:
    return compare(load_run(pair[0]), load_run(pair[1]))


def quality(comparison: Comparison, candidate: str = REFERENCE, task: str = TASK) -> Change:
    return next(
        one
        for one in comparison.of(Kind.QUALITY)
        if (one.candidate, one.subject) == (candidate, task)
    )


def speed(comparison: Comparison, candidate: str, workload: str = "") -> Change:
    return next(
        one
        for one in comparison.of(Kind.SPEED, Kind.WORKLOAD)
        if (one.candidate, one.subject) == (candidate, workload)
    )
