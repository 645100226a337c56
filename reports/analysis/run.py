"""A run as pages see it. Every number is a `Reading`: a missing one has a reason."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import melange.harness.recipes.logit_mix
import melange.harness.recipes.weights  # noqa: F401
from melange.harness.evaluators import is_scored
from melange.harness.measure.metric import Group
from melange.harness.measure.needs import heaviest
from melange.harness.metrics import FORMER, headline
from melange.harness.racing.stop import Stop
from melange.harness.records import Candidate, Measurement, Outcome, Task, Workload
from melange.harness.roles import Roles
from melange.harness.round_line import RoundLine
from melange.harness.runs.current import (
    MEMORY_FAILURE,
    MEMORY_METRICS,
    SPEED_FAILURE,
    CellKey,
    Key,
    key_of,
)
from melange.harness.runs.ended import ended_cells, planned_cells
from melange.harness.runs.layout import ROUNDS
from melange.harness.runs.manifest import Described, described
from melange.harness.runs.reader import StoredRun, read_rounds, read_run
from melange.harness.runs.trust import borne_out
from melange.harness.verdicts import Check, by_candidate
from melange.harness.workloads import asked_name
from melange.reports.analysis.example_scores import Scores, read_scores
from melange.reports.analysis.reading import Reading as Reading
from melange.reports.analysis.reading import reading as reading
from melange.reports.analysis.reading import shown
from melange.reports.analysis.task_units import units

PENDING = "still to come: the run is going on"
STOPPED = "the run stopped before it came to it"


@dataclass(frozen=True)
class Run(StoredRun):
    """A stored run with what pages need."""

    @cached_property
    def index(self) -> dict[Key, Measurement]:
        return {key_of(m): m for m in self.measurements}

    @cached_property
    def by_candidate(self) -> dict[str, list[Measurement]]:
        found: dict[str, list[Measurement]] = {name: [] for name in self.families}
        for measurement in self.measurements:
            found[measurement.candidate].append(measurement)
        return found

    @cached_property
    def checks_of(self) -> dict[str, list[Check]]:
        """Checks by candidate."""
        return by_candidate(self.checks)

    @cached_property
    def families(self) -> dict[str, str]:
        """Candidate -> family, in the plan's order; measured ones the plan lacks come last."""
        planned = {c.name: c.family for c in self.manifest.candidates}
        return planned | {
            m.candidate: m.family for m in self.measurements if m.candidate not in planned
        }

    def headline(self, group: Group) -> str:
        """The metric that boards show for a group; of a run that only has what earlier versions
        showed for it, that one."""
        own, former = headline(group), FORMER.get(group, "")
        has_own = own in self.costs or former not in self.costs
        return own if has_own else former

    @cached_property
    def costs(self) -> frozenset[str]:
        """Metrics with a line that belongs to no task."""
        return frozenset(line.metric for line in self.measurements if not line.task)

    @cached_property
    def load(self) -> Workload | None:
        """The workload at which candidates' needs are stated; None if none is known."""
        return heaviest([one for one in self.workloads.values() if one is not None])

    @property
    def reference(self) -> str | None:
        """The candidate that relative speed and memory refer to; None where it was not run."""
        suite = self.manifest.suite
        return suite.reference if suite and suite.reference in self.families else None

    @cached_property
    def tasks(self) -> dict[str, Task | None]:
        """Task name -> its record, None if the manifest has none. Without tasks that do not
        measure quality."""
        planned: dict[str, Task | None] = {t.name: t for t in self.manifest.tasks}
        known = planned | {
            m.task: None for m in self.measurements if m.task and m.task not in planned
        }
        return {name: task for name, task in known.items() if task is None or is_scored(task)}

    @cached_property
    def stopped(self) -> dict[str, Stop]:
        """Candidates that a race asked no more examples, and why."""
        return {m.candidate: m.stop for m in self.measurements if m.stop is not None}

    @cached_property
    def workloads(self) -> dict[str, Workload | None]:
        planned: dict[str, Workload | None] = {w.name: w for w in self.manifest.workloads}
        return planned | {
            m.workload: None for m in self.measurements if m.workload and m.workload not in planned
        }

    @property
    def batches(self) -> list[str]:
        """Workloads without the open loops, whose requests arrive at a rate."""
        return [name for name, one in self.workloads.items() if not (one and one.request_rate)]

    @cached_property
    def units(self) -> dict[tuple[str, str | None], str]:
        """(metric, task) -> its unit, if some candidate has completed it; (metric, None): of any
        task. The same in every order of candidates."""
        return units(self.measurements, self.tasks)

    @cached_property
    def timed(self) -> dict[str, list[str]]:
        """Metric -> the workloads on which some candidate has it."""
        found: dict[str, dict[str, None]] = {}
        for line in self.measurements:
            if line.value is not None and line.workload and not line.task:
                found.setdefault(line.metric, {})[line.workload] = None
        return {metric: list(workloads) for metric, workloads in found.items()}

    @cached_property
    def recipes(self) -> dict[str, Candidate]:
        return {c.name: c for c in self.manifest.candidates}

    def unit_of(self, candidate: str) -> str:
        """The first of the candidates of equal kernels that were timed as one with it."""
        return self.manifest.measured_as.get(candidate, candidate)

    @cached_property
    def has_units(self) -> bool:
        """Whether those of equal kernels are timed as one; earlier versions timed each alone."""
        return any(line.measured_as for lines in self._rounds.values() for line in lines)

    def rounds_of(self, candidate: str, workload: str) -> list[RoundLine]:
        """The rounds in which it, or another candidate of its unit, was timed."""
        return self._rounds.get((self.unit_of(candidate), workload), [])

    @cached_property
    def _rounds(self) -> dict[tuple[str, str], list[RoundLine]]:
        found: dict[tuple[str, str], list[RoundLine]] = {}
        for line in read_rounds(self.folder / ROUNDS):
            found.setdefault((line.unit, line.workload), []).append(line)
        return found

    @cached_property
    def described(self) -> dict[str, Described]:
        """Candidate -> its recipe's description from the plan."""
        roles = Roles(self.manifest.roles)
        reconstructed = {c.name: described(c.recipe, roles) for c in self.manifest.candidates}
        return reconstructed | self.manifest.descriptions

    @cached_property
    def declared(self) -> dict[str, dict[str, Any]]:
        """Metric -> its declaration in the version that measured it."""
        return {one["name"]: one for one in self.manifest.metrics}

    def primary_metric(self, task: str) -> str | None:
        """From the manifest; else the first metric that was recorded for the task."""
        record = self.tasks.get(task)
        if record is not None:
            return record.primary_metric
        return next((m.metric for m in self.measurements if m.task == task), None)

    def quality(self, candidate: str, task: str) -> Reading:
        """The task's primary metric."""
        return self.read(candidate, self.primary_metric(task) or "", task=task)

    def read(
        self, candidate: str, metric: str, *, task: str | None = None, workload: str | None = None
    ) -> Reading:
        """A number, or why it is missing: recorded, refused by the plan, or never run."""
        found = self.index.get((candidate, task, workload, metric))
        if found is not None:
            return shown(reading(found), metric)
        if lacking := self._lacks(candidate, task, workload):
            return Reading(reason=f"the run does not have the {lacking}")
        return self._gap(candidate, metric, task=task, workload=workload)

    def _lacks(self, candidate: str, task: str | None, workload: str | None) -> str:
        """What of a cell is unknown to the run; empty if it knows all."""
        if candidate not in self.families:
            return "candidate"
        if task is not None and task not in {*self.tasks, *(t.name for t in self.manifest.tasks)}:
            return "task"
        return "" if workload is None or workload in self.workloads else "workload"

    def _gap(
        self, candidate: str, metric: str, *, task: str | None, workload: str | None
    ) -> Reading:
        for key in self._failure_keys(candidate, metric, task, workload):
            failure = self.index.get(key)
            if failure is not None and failure.value is None:
                return reading(failure)
        refused = self._refusals.get((candidate, task))
        if refused:
            return Reading(outcome=str(Outcome.SKIPPED), reason=refused)
        if reason := self._unneeded(candidate, metric):
            return Reading(outcome="unneeded", reason=reason)
        if other := self._cut_otherwise(candidate, metric, workload):
            return Reading(reason=f"it ran other lengths: {other}")
        return self.not_reached if (candidate, task) in self.waiting else Reading()

    def _unneeded(self, candidate: str, metric: str) -> str:
        """Why the candidate does not need the metric; empty if it does."""
        declared = self.declared.get(metric)
        if declared is None:
            return ""
        served = (candidate, None, None, "weights_bytes") in self.index
        not_built = declared["group"] == "build" and served
        no_meter = declared["group"] == "energy" and self.manifest.device == "cpu"
        return str(declared["absent"]) if not_built or no_meter else ""

    def _cut_otherwise(self, candidate: str, metric: str, workload: str | None) -> str:
        """The workload, as it was cut to the candidate's context."""
        alike = (w for w in self.workloads if workload and asked_name(w) == asked_name(workload))
        return next((w for w in alike if (candidate, None, w, metric) in self.index), "")

    @cached_property
    def waiting(self) -> frozenset[CellKey]:
        """Planned cells that have not ended: without all of their records or a refusal. A task of
        None means the candidate's speed and memory."""
        return frozenset(self.planned.keys() - ended_cells(self.measurements, self.manifest))

    @cached_property
    def planned(self) -> dict[CellKey, None]:
        """Cells that the plan did not refuse, in its order."""
        return planned_cells(self.manifest)

    @property
    def not_reached(self) -> Reading:
        """The reading of a cell that has not ended."""
        if self.going_on:
            return Reading(outcome="pending", reason=PENDING)
        return Reading(reason=STOPPED)

    def is_pending(self, candidate: str) -> bool:
        """Whether some of its tasks are still to come."""
        return candidate in self._pending

    @cached_property
    def _pending(self) -> frozenset[str]:
        waiting = self.waiting if self.going_on else ()
        return frozenset(candidate for candidate, task in waiting if task is not None)

    @staticmethod
    def _failure_keys(
        candidate: str, metric: str, task: str | None, workload: str | None
    ) -> Iterator[Key]:
        if task is not None:
            return
        if workload is not None:
            yield (candidate, None, workload, SPEED_FAILURE)
            yield (candidate, None, None, metric)  # one reason for all workloads
        elif metric in MEMORY_METRICS:
            yield (candidate, None, None, MEMORY_FAILURE)
        # Speed, memory and size are one cell: a failure before the first workload is that of all.
        yield (candidate, None, None, SPEED_FAILURE)

    @cached_property
    def _refusals(self) -> dict[tuple[str, str | None], str]:
        return {(c.candidate, c.task): c.refused for c in self.manifest.cells if c.refused}

    def scores(self, candidate: str, task: str) -> Scores | None:
        """Every example's score; None if no samples were stored.

        Raises:
            HarnessError: the file cannot be read, or lacks a column.
        """
        path = self.samples_path(candidate, task)
        return read_scores(path) if path is not None else None


def load_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        HarnessError: no manifest, a schema newer than this version's, or a malformed record.
    """
    return of_stored(read_run(folder))


def of_stored(stored: StoredRun) -> Run:
    """Values that the run's samples contradict are failures here, with the reason."""
    return borne_out(Run(**{one.name: getattr(stored, one.name) for one in fields(StoredRun)}))
