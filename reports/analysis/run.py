"""A run as pages see it. Every number is a `Reading`: a missing one has a reason."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import melange.harness.recipes.logit_mix
import melange.harness.recipes.weights  # noqa: F401
from melange.harness.evaluators import is_scored
from melange.harness.racing.stop import Stop
from melange.harness.records import Candidate, Measurement, Outcome, Task, Workload
from melange.harness.roles import Roles
from melange.harness.runs.current import (
    MEMORY_FAILURE,
    MEMORY_METRICS,
    SPEED_FAILURE,
    Key,
    key_of,
)
from melange.harness.runs.manifest import Described, described
from melange.harness.runs.reader import StoredRun, read_run
from melange.harness.verdicts import Check, by_candidate
from melange.reports.analysis.example_scores import Scores, read_scores

NOT_MEASURED = "not measured in this run"
PENDING = "still to come: the run is going on"
STOPPED = "the run stopped before it came to it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A number with its 95 % interval, or why there is none; `reason` next to a number is a note
    for its reader."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    outcome: str = "absent"
    """An `Outcome`; or "absent": not recorded; "pending": not recorded yet, the run goes on;
    "unneeded": there was nothing to record."""
    reason: str = NOT_MEASURED

    @property
    def has_interval(self) -> bool:
        return self.value is not None and self.low is not None and self.high is not None

    @property
    def known(self) -> float:
        """The value; the caller has made sure that there is one."""
        assert self.value is not None, self.reason
        return self.value

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval; the value twice if none was recorded."""
        low = self.known if self.low is None else self.low
        high = self.known if self.high is None else self.high
        return low, high


def reading(measurement: Measurement) -> Reading:
    if measurement.value is None:
        return Reading(
            outcome=str(measurement.outcome), reason=measurement.reason or "no reason was recorded"
        )
    return Reading(
        value=measurement.value,
        low=measurement.ci_low,
        high=measurement.ci_high,
        n=measurement.n,
        outcome=str(Outcome.COMPLETED),
        reason=measurement.reason,
    )


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

    @cached_property
    def units(self) -> dict[tuple[str, str | None], str]:
        """(metric, task) -> the unit of its first completed line; (metric, None): of any task."""
        found: dict[tuple[str, str | None], str] = {}
        for line in self.measurements:
            if line.value is not None:
                found.setdefault((line.metric, line.task), line.unit)
                found.setdefault((line.metric, None), line.unit)
        return found

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
        record = self.tasks[task]
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
            return reading(found)
        return self._gap(candidate, metric, task=task, workload=workload)

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

    @cached_property
    def waiting(self) -> frozenset[tuple[str, str | None]]:
        """Planned cells that have not ended: without a record or a refusal. A task of None means
        the candidate's speed and memory."""
        ended = {(one.candidate, one.task) for one in self.measurements}
        planned = {(c.candidate, c.task) for c in self.manifest.cells if not c.refused}
        return frozenset(planned - ended)

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
    return Run(**{one.name: getattr(stored, one.name) for one in fields(StoredRun)})
