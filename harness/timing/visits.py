"""What was timed in a sitting, in order, and what the reference took just before and after."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from melange.harness.executors.jobs import Timed
from melange.harness.measure.speed import Round
from melange.harness.measure.throughput import TOTAL
from melange.harness.timing.units import Unit
from melange.harness.workloads import asked_name


class Visit(NamedTuple):
    """A candidate, timed once on some or all workloads."""

    candidate: str
    round: int
    within: int
    """Counts a unit's visits in the round: the reference has several."""
    timed: Timed


@dataclass(slots=True)
class Sitting:
    """Visits of units whose engines are alive at once, from the first to the last round."""

    reference: Unit | None
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """ISO 8601, in UTC."""
    _visits: list[tuple[Unit, Visit]] = field(default_factory=list)
    """In the order in which they were timed."""

    def add(self, unit: Unit, candidate: str, number: int, timed: Timed) -> None:
        within = sum(one.round == number for one in self.of(unit))
        self._visits.append((unit, Visit(candidate, number, within, timed)))

    def of(self, unit: Unit) -> list[Visit]:
        return [visit for owner, visit in self._visits if owner is unit]

    def beside(self, unit: Unit) -> list[Timed | None]:
        """For each visit of the unit, the reference's speeds at that time; None if it broke.

        They are the geometric means of its visits just before and after. Beside the reference's
        visits are the visits themselves.
        """
        at = [i for i, (owner, _) in enumerate(self._visits) if owner is unit]
        return [self._reference_at(i) for i in at]

    def log_speeds(self, unit: Unit, workload: str) -> list[float]:
        """Log of the unit's throughput by visit; relative to the reference's, if that ran the same
        lengths. `workload` is the suite's name of it, which a unit may have run cut."""
        pairs = zip(self.of(unit), self.beside(unit), strict=True)
        return [
            _log_total(visit.timed, name)
            - (_log_total(beside, name) if beside and name in beside.rounds else 0.0)
            for visit, beside in pairs
            for name in visit.timed.rounds
            if asked_name(name) == workload
        ]

    def _reference_at(self, at: int) -> Timed | None:
        if self.reference is None or not self.reference.members:
            return None
        owner, visit = self._visits[at]
        if owner is self.reference:
            return visit.timed
        before = self._first_of_reference(range(at - 1, -1, -1))
        after = self._first_of_reference(range(at + 1, len(self._visits)))
        found = [one for one in (before, after) if one is not None]
        return mean_of(found, visit.timed.rounds) if found else None

    def _first_of_reference(self, positions: range) -> Timed | None:
        of_reference = (i for i in positions if self._visits[i][0] is self.reference)
        at = next(of_reference, None)
        return None if at is None else self._visits[at][1].timed


def mean_of(timed: Sequence[Timed], workloads: Collection[str]) -> Timed:
    """Geometric means of seconds and of throughputs, without requests' own timings; of those of the
    workloads that all ran."""
    ran = [name for name in workloads if all(name in one.rounds for one in timed)]
    return Timed({name: _mean_round([one.rounds[name] for one in timed]) for name in ran}, {})


def _mean_round(rounds: Sequence[Round]) -> Round:
    def mean(values: Sequence[Any]) -> float:
        return math.exp(sum(map(math.log, values)) / len(values))

    return rounds[0]._replace(
        wall_sec=mean([one.wall_sec for one in rounds]),
        timings=(),
        output_lengths=(),
        readings={TOTAL.name: mean([one.readings[TOTAL.name] for one in rounds])},
    )


def _log_total(timed: Timed, workload: str) -> float:
    total: Any = timed.rounds[workload].readings[TOTAL.name]
    return math.log(total)
