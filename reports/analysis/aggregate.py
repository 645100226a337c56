"""Numbers that pages share, pure: a mean over tasks, an unpaired difference, Pareto fronts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from melange.harness.records import Task
from melange.harness.task_metrics import FRACTION
from melange.reports.analysis.run import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over tasks, each with the same weight."""

    value: float
    low: float
    high: float
    examples: int
    tasks: int
    of_tasks: int
    chosen_among: int = 0
    """The data chose the candidate among so many, which its interval allows for; 0: it was not."""

    @property
    def complete(self) -> bool:
        return self.tasks == self.of_tasks

    @property
    def reading(self) -> Reading:
        return Reading(
            value=self.value,
            low=self.low,
            high=self.high,
            n=self.examples,
            outcome="completed",
            reason="",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    value: float
    low: float
    high: float


def oriented(reading: Reading, task: Task) -> Reading:
    """The reading so that higher is better: a fraction of misses becomes one of hits, any other
    value is negated."""
    if task.higher_is_better or reading.value is None:
        return reading
    (low, high), best = reading.bounds, best_possible(task)
    return replace(reading, value=best - reading.value, low=best - high, high=best - low)


def best_possible(task: Task) -> float:
    """What values are taken from where lower is better. Runs of earlier versions do not declare
    units."""
    return 1.0 if task.unit in ("", FRACTION) else 0.0


def difference(left: Reading, right: Reading) -> Difference | None:
    """left - right as if measured on different examples; None where one is missing.

    Used where nothing can be paired; else analysis/evidence.py has the narrower interval. Each
    side's own (maybe lopsided) interval is kept, so that a share near 0 or 1 does not get the
    symmetric one that a standard error would give it.

    Source: Zou & Donner 2008, Statistics in Medicine 27, 1693-1702 (MOVER); for two shares this is
    Newcombe 1998, Statistics in Medicine 17, 873-890, method 10.
    """
    if left.value is None or right.value is None:
        return None
    value = left.value - right.value
    (left_low, left_high), (right_low, right_high) = left.bounds, right.bounds
    return Difference(
        value=value,
        low=value - math.hypot(left.value - left_low, right_high - right.value),
        high=value + math.hypot(left_high - left.value, right.value - right_low),
    )


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Positions that no other point beats on both axes (lower cost, higher gain), by cost.

    Equal points are all on the front.
    """
    assert len(costs) == len(gains)
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i]))
    front: list[int] = []
    best = -math.inf
    for i in order:
        tied = bool(front) and (costs[i], gains[i]) == (costs[front[-1]], gains[front[-1]])
        if gains[i] > best or tied:
            front.append(i)
            best = gains[i]
    return front


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a candidate costs, and whom it is significantly better than."""

    cost: tuple[float, float]
    """Ends of its interval; less is better."""
    better_than: frozenset[str]
    """Candidates of significantly lower accuracy."""


def unbeaten(offers: Mapping[str, Offer]) -> list[str]:
    """Candidates that none is shown to beat: significantly more accurate, at a lower or equal cost.

    Costs differ if their intervals do not overlap, and are equal if their ends are. Accuracies that
    cannot be told apart are not equal: a cheaper candidate of such accuracy beats nobody.
    """
    return [
        name
        for name, own in offers.items()
        if not any(_beats(other, name, own) for other in offers.values() if other is not own)
    ]


def _beats(other: Offer, name: str, own: Offer) -> bool:
    cheaper = other.cost[1] < own.cost[0] or other.cost == own.cost
    return cheaper and name in other.better_than
