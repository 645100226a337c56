"""Estimates the time that a run has left, from its own speed so far."""

import math
from dataclasses import dataclass

from melange.harness.estimates import task_seconds, visit_seconds
from melange.harness.records import Plan


@dataclass(slots=True)
class Work:
    """Units of work of one kind, weighted by the plan's estimate of their seconds."""

    units: dict[str, int]
    """Remaining, by candidate."""
    weights: dict[str, float]
    """Estimated seconds of one unit, by candidate."""
    done: float = 0.0
    """Estimated seconds of what is done."""
    took_sec: float = 0.0

    def finish(self, candidate: str, units: int, seconds: float | None) -> None:
        """`seconds` is None if it says nothing about the remaining units."""
        units = min(units, self.units.get(candidate, 0))
        self.units[candidate] = self.units.get(candidate, 0) - units
        if seconds is not None:
            self.done += units * self.weights[candidate]
            self.took_sec += seconds

    def drop(self, candidate: str) -> None:
        self.units.pop(candidate, None)

    @property
    def remaining_sec(self) -> float:
        return sum(number * self.weights[name] for name, number in self.units.items())

    @property
    def slowdown(self) -> float | None:
        """Actual seconds over the plan's estimate; None until something is done."""
        return self.took_sec / self.done if self.done else None


@dataclass(slots=True)
class TimeLeft:
    """Estimated from the work that is done."""

    tasks: Work
    visits: Work
    """A visit times one candidate in one round."""
    num_slots: int = 1
    """How many candidates are evaluated side by side; they are timed one at a time."""
    visits_budget_sec: float = math.inf
    """Visits take no longer, together."""

    @property
    def seconds(self) -> float | None:
        """None until something is done. Until a visit is done, visits are assumed to be as far off
        the plan as tasks are."""
        slowdown = self.tasks.slowdown
        tasks = None if slowdown is None else slowdown / self.num_slots
        visits = tasks if self.visits.slowdown is None else self.visits.slowdown
        if visits is None:
            return None
        affordable = max(0.0, self.visits_budget_sec - self.visits.took_sec)
        timing = min(self.visits.remaining_sec * visits, affordable)
        return self.tasks.remaining_sec * (tasks or 0.0) + timing


def time_left(plan: Plan) -> TimeLeft:
    by_name = {one.name: one for one in plan.candidates}
    pending = [cell for name in by_name for cell in plan.pending(name)]
    tasks = dict.fromkeys(by_name, 0)
    visits: dict[str, int] = {}
    for cell in pending:
        if cell.task is None:
            visits[cell.candidate] = plan.suite.rounds
        else:
            tasks[cell.candidate] += 1
    if visits and plan.suite.reference in by_name:
        visits[plan.suite.reference] = plan.suite.rounds
    return TimeLeft(
        Work(tasks, {name: task_seconds(plan, one) for name, one in by_name.items()}),
        Work(visits, {name: visit_seconds(plan, one) for name, one in by_name.items()}),
        visits_budget_sec=plan.suite.speed_budget_sec or math.inf,
    )
