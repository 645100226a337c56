"""Statistics of the report, pure: means over tasks, differences, Pareto fronts.

Intervals are put together with MOVER: each part's own (maybe lopsided) 95 % interval is kept, so
a mean near 0 or 1 does not get the symmetric interval that a standard error would give it.

Source: Zou & Donner 2008, Statistics in Medicine 27, 1693-1702; for a difference of two shares
this is Newcombe 1998, Statistics in Medicine 17, 873-890, method 10.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.load import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over tasks, each with the same weight."""

    value: float
    low: float
    high: float
    examples: int
    tasks: int
    of_tasks: int

    @property
    def complete(self) -> bool:
        return self.tasks == self.of_tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, or `unclear` where the interval holds 0."""
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "unclear"


def mean_over_tasks(readings: Sequence[Reading]) -> Mean | None:
    """Mean of the readings that have a value, None where none has.

    Tasks are independent and the mean is over these tasks, not over tasks in general.
    """
    present = [r for r in readings if r.value is not None]
    if not present:
        return None
    value = sum(r.known for r in present) / len(present)
    below = math.hypot(*(r.known - r.bounds[0] for r in present)) / len(present)
    above = math.hypot(*(r.bounds[1] - r.known for r in present)) / len(present)
    return Mean(
        value=value,
        low=value - below,
        high=value + above,
        examples=sum(r.n or 0 for r in present),
        tasks=len(present),
        of_tasks=len(readings),
    )


def difference(left: Reading | Mean, right: Reading | Mean) -> Difference | None:
    """left - right as if measured on different examples; None where one is missing.

    Both saw the same examples, so a paired interval would usually be narrower.
    """
    if left.value is None or right.value is None:
        return None
    left_low, left_high = _bounds(left)
    right_low, right_high = _bounds(right)
    value = left.value - right.value
    return Difference(
        value=value,
        low=value - math.hypot(left.value - left_low, right_high - right.value),
        high=value + math.hypot(left_high - left.value, right.value - right_low),
    )


def _bounds(number: Reading | Mean) -> tuple[float, float]:
    return (number.low, number.high) if isinstance(number, Mean) else number.bounds


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
