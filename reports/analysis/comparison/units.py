"""Which candidates of two runs are compared as one, because their rounds are the same.

Candidates of equal kernels are timed in turn, as one unit: whatever changes in its rounds is one
change, of all of them. So a unit of the comparison has candidates that are of one unit in both
runs. Of a run that timed each candidate by itself, as earlier versions did, the first one's rounds
stand for a unit of the other run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from melange.harness.measure.throughput import TOTAL
from melange.harness.round_line import RoundLine
from melange.reports.analysis.run import Reading, Run

Cell = tuple[str, str]
"""A candidate, or the unit that has its name, and a workload."""
Rounds = Mapping[Cell, Sequence[RoundLine]]


@dataclass(frozen=True, slots=True)
class Pair:
    old: Run
    new: Run

    def readings(self, candidate: str, workload: str) -> tuple[Reading, Reading]:
        """Its total throughput in both runs."""
        return (
            self.old.read(candidate, TOTAL.name, workload=workload),
            self.new.read(candidate, TOTAL.name, workload=workload),
        )

    @property
    def reference(self) -> str:
        """The reference candidate; empty if there is none."""
        suite = self.new.manifest.suite
        return suite.reference if suite else ""

    def units(self, cells: Sequence[Cell]) -> "Units":
        """The units of these cells of candidates."""
        groups: dict[tuple[str, str], dict[str, list[str]]] = {}
        for candidate, workload in cells:
            groups.setdefault(self._both_units(candidate), {}).setdefault(workload, []).append(
                candidate
            )
        return Units(
            {
                (next(iter(by_workload.values()))[0], workload): candidates
                for by_workload in groups.values()
                for workload, candidates in by_workload.items()
            }
        )

    def _both_units(self, candidate: str) -> tuple[str, str]:
        old = self.old.unit_of(candidate) if self.old.has_units else ""
        return old, self.new.unit_of(candidate)


@dataclass(frozen=True, slots=True)
class Units:
    members: Mapping[Cell, Sequence[str]]
    """By unit and workload, the candidates that can be judged there. A unit has the name of its
    first candidate."""

    @property
    def cells(self) -> list[Cell]:
        return list(self.members)

    def all_of(self, unit: str) -> tuple[str, ...]:
        """A unit's candidates, on any workload; the unit's name first."""
        found = (one for (name, _), some in self.members.items() if name == unit for one in some)
        return tuple(dict.fromkeys(found))

    def of(self, candidate: str) -> str:
        """The candidate's unit; empty if it has none."""
        return next((unit for (unit, _), some in self.members.items() if candidate in some), "")

    def rounds_in(self, run: Run) -> Rounds:
        """Of several visits in a round, as the reference has, the first.

        Raises:
            HarnessError: the file of rounds cannot be read.
        """
        return {
            cell: [line for line in run.rounds_of(some[0], cell[1]) if not line.visit]
            for cell, some in self.members.items()
        }
