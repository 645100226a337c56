"""When rounds end: once speeds are known well enough, a budget is spent, or there were enough."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from melange.harness.costs import speed_error
from melange.harness.executors.jobs import Timed
from melange.harness.records import Suite
from melange.harness.stats import trimmed_interval
from melange.harness.timing.units import Unit
from melange.harness.timing.visits import Sitting

LEAST_ROUNDS = 6
"""Fewer tell too little about the noise for a robust interval."""
ROUNDS_PER_ERROR_CHECK = 8
"""The relative error of speeds is computed after every so many rounds."""

Wanted = Mapping[Unit, Sequence[str]]
"""Names of the workloads that a unit is still to be timed on."""


@dataclass(slots=True)
class Stopping:
    suite: Suite
    budget_sec: float | None
    say: Callable[[str], None]
    _began: float = field(default_factory=time.monotonic)

    def wanted(self, sitting: Sitting, wanted: Wanted, num_rounds: int) -> Wanted:
        """What the next round times, given what the last one did; empty once rounds are over."""
        if self.suite.target_relative_error is not None:
            # Runs are compared by their rounds, so all candidates have equally many.
            left = {} if self._speeds_suffice(sitting, wanted, num_rounds) else wanted
        else:
            left = self._not_known(sitting, wanted, num_rounds)
        spent = self.budget_sec is not None and time.monotonic() - self._began > self.budget_sec
        if left and (spent or num_rounds == self.suite.rounds):
            self._say_why(left, num_rounds, spent=spent)
            return {}
        return left

    def _not_known(self, sitting: Sitting, wanted: Wanted, num_rounds: int) -> Wanted:
        target = self.suite.target_ratio_error
        if target is None or num_rounds < LEAST_ROUNDS:
            return wanted
        left = {
            unit: [name for name in names if _half_width(sitting, unit, name) > math.log1p(target)]
            for unit, names in wanted.items()
        }
        return {unit: names for unit, names in left.items() if names}

    def _speeds_suffice(self, sitting: Sitting, wanted: Wanted, num_rounds: int) -> bool:
        if not wanted or num_rounds % ROUNDS_PER_ERROR_CHECK:
            return False
        error = speed_error(_one_a_round(sitting, wanted))
        self.say(f"{num_rounds} rounds: a candidate's speed is known to {error:.1%}")
        assert self.suite.target_relative_error is not None
        return error <= self.suite.target_relative_error

    def _say_why(self, left: Wanted, num_rounds: int, *, spent: bool) -> None:
        target = self.suite.target_ratio_error
        if target is None or self.suite.target_relative_error is not None:
            return
        why = "speed_budget_sec is spent" if spent else "the suite's limit"
        unknown = _counted(sum(map(len, left.values())), "speed")
        self.say(f"{_counted(num_rounds, 'round')}, {why}: {unknown} not known to {target:.0%}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _half_width(sitting: Sitting, unit: Unit, workload: str) -> float:
    """Half the width of the interval of a log speed; infinite with fewer than two visits."""
    logs = sitting.log_speeds(unit, workload)
    if len(logs) < 2:
        return math.inf
    _, low, high = trimmed_interval(logs)
    assert low is not None
    assert high is not None
    return (high - low) / 2


def _one_a_round(sitting: Sitting, wanted: Wanted) -> dict[str, list[Timed]]:
    """The first visit of each round: the reference has several."""
    units = [*wanted, *([sitting.reference] if sitting.reference else [])]
    return {
        unit.name: [one.timed for one in sitting.of(unit) if one.within == 0]
        for unit in units
        if unit.members
    }
