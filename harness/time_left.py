"""How long a run has still to go, from what its own work took so far."""

from dataclasses import dataclass

from melange.harness.estimates import task_seconds, visit_seconds
from melange.harness.records import Plan


@dataclass(slots=True)
class Work:
    """Pieces of one kind, weighed by the seconds that the plan supposes for them."""

    pieces: dict[str, int]
    """To come, by candidate."""
    weights: dict[str, float]
    """Of one piece, by candidate."""
    done: float = 0.0
    """Weight."""
    took_sec: float = 0.0

    def finish(self, candidate: str, pieces: int, seconds: float | None) -> None:
        """`seconds` is None where they tell nothing of the pieces to come."""
        pieces = min(pieces, self.pieces.get(candidate, 0))
        self.pieces[candidate] = self.pieces.get(candidate, 0) - pieces
        if seconds is not None:
            self.done += pieces * self.weights[candidate]
            self.took_sec += seconds

    def drop(self, candidate: str) -> None:
        self.pieces.pop(candidate, None)

    @property
    def to_come(self) -> float:
        return sum(number * self.weights[name] for name, number in self.pieces.items())

    @property
    def pace(self) -> float | None:
        """Seconds for each that the plan supposed; None until something is done."""
        return self.took_sec / self.done if self.done else None


@dataclass(slots=True)
class TimeLeft:
    """From what the run's own work took so far."""

    tasks: Work
    visits: Work
    """A visit is one candidate's part of a round in which speeds are timed."""
    num_slots: int = 1
    """Candidates that are evaluated side by side; they are timed one by one."""

    @property
    def seconds(self) -> float | None:
        """None until something is done. Visits are as far off the plan as tasks are, until some
        are done."""
        pace = self.tasks.pace
        tasks = None if pace is None else pace / self.num_slots
        visits = tasks if self.visits.pace is None else self.visits.pace
        if visits is None:
            return None
        return self.tasks.to_come * (tasks or 0.0) + self.visits.to_come * visits


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
    )
