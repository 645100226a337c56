"""What a metric is, and what measures it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from melange.harness.contracts import TimedSession
from melange.harness.measure.speed import Reading, Round

Group = Literal["speed", "latency", "energy", "memory", "size", "build", "machine"]
"""In the order of pages."""
Scope = Literal["workload", "serving", "checkpoints"]
Summary = Literal["mean", "percentiles", "ratio", "median", "max", "min", "once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Declared once, beside what measures it."""

    name: str
    unit: str
    label: str
    """On a page."""
    meaning: str
    group: Group
    scope: Scope
    """A workload, all workloads of a process together, or the checkpoints alone."""
    summary: Summary
    """What is said of several rounds: see harness.measure.summaries."""
    higher_is_better: bool = False
    headline: bool = False
    """The one of its group that boards, fronts and summaries show."""
    tolerance: float | None = None
    """A comparison calls it worse where it has grown by more than this factor; None: it judges
    the metric by its rounds, or not at all."""
    tracked: bool = False
    """Over nights."""
    bound: str = ""
    """What the chooser calls it; empty where it offers no bound on it."""
    axis: str = ""
    """Title of its plot against accuracy; empty where there is none."""
    absent: str = ""
    """Why a candidate may lack it with nothing wrong."""


@dataclass(slots=True)
class Watched:
    """A workload, or all workloads of a round one after the other."""

    session: TimedSession
    device: str
    rounds: list[Round] = field(default_factory=list)
    """Of the workloads that have run."""
    readings: dict[str, Reading] = field(default_factory=dict)
    """What collectors leave, by metric; of one that does not apply, nothing."""


class Collector(NamedTuple):
    """Measures something beside a workload, or beside all of a round, as the scope of its metrics
    says: "workload" or "serving"."""

    metrics: Sequence[Metric]
    """All of one scope."""
    watch: Callable[[Watched], AbstractContextManager[None]]
    """Entered before the work and left after it, in the worker. It may leave readings of its
    metrics, and others."""
