"""Metrics, and the collectors that measure them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from melange.harness.contracts import TimedSession
from melange.harness.measure.speed import Reading, Round

Group = Literal["speed", "latency", "energy", "memory", "size", "build", "machine"]
"""In the order in which pages show them."""
Scope = Literal["workload", "serving", "checkpoints"]
JudgedBy = Literal["record", "rounds"]
Summary = Literal[
    "mean", "typical", "percentiles", "ratio", "share", "median", "max", "min", "once"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Declared once, in the module that measures it."""

    name: str
    unit: str
    label: str
    """On a page."""
    meaning: str
    group: Group
    scope: Scope
    """A workload, all workloads of a process together, or the checkpoints alone."""
    summary: Summary
    """How rounds are summarized: see harness.measure.summaries."""
    higher_is_better: bool = False
    headline: bool = False
    """Whether boards, fronts and summaries show it for its group."""
    tolerance: float | None = None
    """The factor by which it may get worse before a comparison says so; None: it is not judged, and
    `ungated` says why."""
    judged_by: JudgedBy = "record"
    """The recorded number alone, which then needs a tolerance as wide as its noise, or a test over
    rounds.jsonl."""
    ungated: str = ""
    known_within: float | None = None
    """Pages show it only if its 95 % interval lies within this factor of it; None: always."""
    tracked: bool = False
    """Whether trends follow it over nights."""
    bound: str = ""
    """The chooser's name for a bound on it; empty if it offers none."""
    axis: str = ""
    """Title of its plot against accuracy; empty if there is none."""
    absent: str = ""
    """Why it may be missing although nothing is wrong."""

    def __post_init__(self) -> None:
        assert (self.tolerance is None) == bool(self.ungated), f"{self.name}: judged, or why not"


@dataclass(slots=True)
class Watched:
    """A workload, or all workloads of a round, while they are watched."""

    session: TimedSession
    device: str
    rounds: list[Round] = field(default_factory=list)
    """Of the workloads that have run."""
    readings: dict[str, Reading] = field(default_factory=dict)
    """By metric; a metric that does not apply has none."""


class Collector(NamedTuple):
    """Measures something during each workload ("workload"), or during all workloads of a round
    ("serving"), by the scope of its metrics."""

    metrics: Sequence[Metric]
    """All of one scope."""
    watch: Callable[[Watched], AbstractContextManager[None]]
    """Entered before the work and left after it, in the worker. Adds readings of its metrics, and
    possibly others."""
