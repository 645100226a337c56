"""Figures that papers report; plain data."""

from melange.harness.recipe import Record


class Reference(Record):
    """A figure that a paper reports; fractions, not percent."""

    candidate: str
    measured_as: str = ""
    """The candidate of a run to compare it with; empty if that has the same name."""
    task: str
    metric: str = "accuracy"
    """"accuracy" is the task's primary metric, whatever its name."""
    value: float
    higher_is_better: bool = True
    note: str = ""
    source: str = ""
