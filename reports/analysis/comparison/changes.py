"""How a number changed between two runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from melange.reports.analysis.comparison.noise import Estimate
from melange.reports.analysis.run import Reading
from melange.reports.metrics import describe
from melange.reports.units import plural


class Kind(StrEnum):
    """What is compared. Each kind of test has a share of the gate's false alarms, see
    judging.SHARES."""

    QUALITY = "quality"
    CANDIDATE = "candidate's quality"
    """Quality of a candidate over its tasks."""
    TASK = "task's quality"
    """Quality on a task over all candidates."""
    BOARD = "overall quality"
    """Quality of all candidates over all tasks."""
    SPEED = "speed"
    """Speed of a candidate over all of its workloads."""
    WORKLOAD = "workload"
    """Speed of a candidate on one of them."""
    ENGINE = "engine"
    """Speed of all candidates together, relative to work outside the engine."""
    TIMING = "timing"
    """Another quantity of the rounds, of a candidate over its workloads or of all candidates."""
    STEADINESS = "steadiness"
    """By how much a candidate's rounds fall behind its quiet ones."""
    MEMORY = "memory"
    BUILD = "build"


POOLED = (Kind.CANDIDATE, Kind.TASK, Kind.BOARD)
"""Quality of several cells together, in the order in which they are tested."""
QUALITIES = (Kind.QUALITY, *POOLED)
SPEEDS = (Kind.SPEED, Kind.WORKLOAD, Kind.ENGINE, Kind.STEADINESS)
"""Their values are new / old speed."""
TIMED = (*SPEEDS, Kind.TIMING)
"""What is judged from rounds."""


class Gains(NamedTuple):
    """How much better the examples of a cell scored than before; negative: worse."""

    by_unit: Mapping[str, float]
    """Sum over the examples of each unit, where it is not 0. A unit is a cluster, under one name in
    all tasks that share it, or an example of its own."""
    num_examples: int


class Verdict(StrEnum):
    WORSE = "worse"
    BETTER = "better"
    ALIKE = "alike"
    """No significant difference, or one within the tolerance."""
    LOST = "lost"
    """The baseline has a result, this run failed."""
    UNJUDGED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A cell in both runs: the baseline's number (`old`) and this run's (`new`)."""

    kind: Kind
    candidate: str
    """Empty where all candidates are meant."""
    subject: str
    """The task, workload or metric; empty where all tasks or workloads are meant."""
    old: Reading
    new: Reading
    value: float | None = None
    """new - old for quality, in the task's unit; new / old for the others. Over several tasks it is
    the gain of an answer, so that higher is better."""
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
    """Numbers of the examples that scored worse than before; `won` those that scored better. Empty
    for several cells together."""
    won: tuple[int, ...] = ()
    num_lost: int = 0
    """Number of answers that scored worse than before; also over several cells."""
    num_won: int = 0
    gains: Gains | None = None
    """Only for the quality of one cell."""
    smallest_p: float = 0.0
    """The least p that the test could have given."""

    members: tuple[str, ...] = ()
    """The other candidates of equal kernels that were timed as one with it."""
    estimate: Estimate | None = None
    """Only for what is judged from rounds: the change with the noise that the test assumed."""

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
        change = (self.value or 0.0) - (0.0 if self.kind in QUALITIES else 1.0)
        return change < 0 if self.higher_is_better else change > 0

    @property
    def title(self) -> str:
        """The cell's name in a sentence: `soup on gsm8k`, `soup: TTFT p90`."""
        who = self.candidate or "all candidates"
        if self.members:
            who = f"{who} and {plural(len(self.members), 'other')} of equal kernels"
        if self.kind is Kind.STEADINESS:
            return f"the disturbed rounds of {who}"
        if self.kind in (Kind.CANDIDATE, Kind.BOARD):
            return f"{who} over all tasks"
        if self.kind is Kind.TIMING:
            return f"{who}: {describe(self.subject).label}"
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
        reason=reason,
        higher_is_better=kind not in (Kind.MEMORY, Kind.BUILD),
    )


def as_lost(change: Change) -> Change:
    return replace(change, verdict=Verdict.LOST)
