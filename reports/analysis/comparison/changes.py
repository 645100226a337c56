"""How a number changed between two runs."""

from dataclasses import dataclass, replace
from enum import StrEnum

from melange.reports.analysis.comparison.noise import Estimate
from melange.reports.analysis.run import Reading


class Kind(StrEnum):
    """What is compared. Each kind of test has an equal share of the gate's false alarms."""

    QUALITY = "quality"
    SPEED = "speed"
    """Speed of a candidate over all of its workloads."""
    WORKLOAD = "workload"
    """Speed of a candidate on one of them."""
    ENGINE = "engine"
    """Speed of all candidates together, relative to work outside the engine."""
    MEMORY = "memory"
    BUILD = "build"


FOR_INFORMATION = (Kind.BUILD,)
"""Kinds that are shown and not judged, so that nothing is missing without them."""


class Verdict(StrEnum):
    WORSE = "worse"
    BETTER = "better"
    ALIKE = "alike"
    """No significant difference, or one within the tolerance."""
    LOST = "lost"
    """The baseline has a result, this run failed."""
    UNJUDGED = "not judged"
    SHOWN = "for information"
    """Not judged by design."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A cell in both runs: the baseline's number (`old`) and this run's (`new`)."""

    kind: Kind
    candidate: str
    """Empty where all candidates are meant."""
    subject: str
    """The task, workload or metric; empty where all workloads are meant."""
    old: Reading
    new: Reading
    value: float | None = None
    """new - old for quality, in the task's unit; new / old for the others."""
    low: float | None = None
    """Lower end of the 95 % interval of `value`; `high` is the upper one."""
    high: float | None = None
    p_value: float | None = None
    """None where nothing was tested: exact numbers need no test."""
    adjusted_p: float | None = None
    """Corrected over all cells."""
    verdict: Verdict = Verdict.UNJUDGED
    reason: str = ""
    """Why it was not judged; empty if it was."""
    note: str = ""
    """What a reader has to know of a cell that was judged."""
    waived_by: str = ""
    """The waiver that accepts that it was not judged; empty if there is none."""
    units: int | None = None
    """Of quality: the number of independent examples, or of clusters."""
    lost: tuple[int, ...] = ()
    """Numbers of the examples that scored worse than before; `won` those that scored better."""
    won: tuple[int, ...] = ()

    estimate: Estimate | None = None
    """Only for speeds: the change with the noise that was assumed for the test."""

    unit: str = "fraction"
    higher_is_better: bool = True

    @property
    def is_missing(self) -> bool:
        """Whether the baseline has the cell, and it was not judged or failed here."""
        known = self.verdict is Verdict.UNJUDGED and self.old.value is not None
        return known or self.verdict is Verdict.LOST

    @property
    def is_worse(self) -> bool:
        """Whether the number got worse, significantly or not."""
        change = (self.value or 0.0) - (0.0 if self.kind is Kind.QUALITY else 1.0)
        return change < 0 if self.higher_is_better else change > 0

    @property
    def title(self) -> str:
        """The cell's name in a sentence: `soup on gsm8k`."""
        who = self.candidate or "all candidates"
        return f"{who} on {self.subject}" if self.subject else who


def unjudged(
    kind: Kind, candidate: str, subject: str, numbers: tuple[Reading, Reading], reason: str
) -> Change:
    """`numbers`: the baseline's and this run's."""
    return Change(
        kind=kind,
        candidate=candidate,
        subject=subject,
        old=numbers[0],
        new=numbers[1],
        verdict=Verdict.SHOWN if kind in FOR_INFORMATION else Verdict.UNJUDGED,
        reason=reason,
        higher_is_better=kind not in (Kind.MEMORY, Kind.BUILD),
    )


def as_lost(change: Change) -> Change:
    return replace(change, verdict=Verdict.LOST)
