"""Scores a stored run again from the answers that it keeps, without an engine.

Requests are not asked again, so a cell can be rescored only while its task asks the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pkgutil import resolve_name
from typing import Any

from melange.harness.contracts import Rescorer
from melange.harness.errors import HarnessError
from melange.harness.evaluators import EVALUATORS, TaskEntries
from melange.harness.measure.holes import LEFT_OUT, hole, scored_records
from melange.harness.records import Candidate, Measurement, Outcome, Task
from melange.harness.runs.current import CellKey
from melange.harness.runs.identity import withdrawn
from melange.harness.runs.manifest import Manifest
from melange.harness.runs.manifest_content import Inputs, rescored_manifest
from melange.harness.runs.reader import StoredRun
from melange.harness.runs.samples import read_rows, samples_hash
from melange.harness.runs.writer import RunFolder
from melange.harness.samples import TaskResult

CHANGED = "its task has changed since, and it could not be scored again; to be measured again"
NO_METRIC = "the task has no such metric any more"
REASON_CHARS = 300


@dataclass(slots=True)
class Rescored:
    """What came of it, by cell."""

    done: list[CellKey] = field(default_factory=list)
    left: dict[CellKey, str] = field(default_factory=dict)
    """Cells that could not be scored again, with the reason."""


@dataclass(frozen=True)
class Rescoring:
    stored: StoredRun
    folder: RunFolder
    entries: TaskEntries
    """The tasks as they are now, with their sources."""
    now: Inputs
    """Hashes of these tasks."""
    unavailable: Callable[[Task], str]
    """Why a task's documents or scorer are not here; empty if they are."""

    def run(self) -> Rescored:
        """Score all cells of these tasks. The folder is the caller's to claim."""
        outcome, manifest = Rescored(), self.stored.manifest
        for name, (task, _) in self.entries.items():
            results, left = self._of_task(name)
            outcome.left |= left
            if results:
                self._write(task, results, left)
                outcome.done += [(candidate, name) for candidate in results]
                manifest = self._describe(manifest, task)
        return outcome

    def _of_task(self, name: str) -> tuple[dict[str, TaskResult], dict[CellKey, str]]:
        """New results by candidate, and why others have none."""
        results: dict[str, TaskResult] = {}
        left: dict[CellKey, str] = {}
        cells = [*self._cells(name)]
        rescorer, lacks = self._rescorer(name) if cells else (None, "")
        for candidate in cells:
            try:
                results[candidate] = self._rescored(candidate, name, rescorer, lacks)
            except Exception as error:  # one cell's failure: a task's own code may raise anything
                left[candidate, name] = _reason(error)
        return results, left

    def _cells(self, task: str) -> Iterator[str]:
        """Candidates that have answers to it, or should."""
        for one in self.stored.manifest.candidates:
            lines = self._lines(one.name, task)
            if any(m.outcome is not Outcome.SKIPPED for m in lines):
                yield one.name

    def _lines(self, candidate: str, task: str) -> list[Measurement]:
        return [m for m in self.stored.measurements if (m.candidate, m.task) == (candidate, task)]

    def _rescorer(self, name: str) -> tuple[Rescorer | None, str]:
        """The task's rescorer, or why it has none."""
        task, sources = self.entries[name]
        if not (place := EVALUATORS[task.evaluator].rescorer):
            return None, f"answers to tasks of {task.evaluator} are not scored apart from asking"
        if lacks := self.unavailable(task):
            return None, lacks
        limit, seed = self.stored.manifest.limit, self.stored.manifest.seed or 0
        try:
            return resolve_name(place)(task, sources, limit=limit, seed=seed), ""
        except Exception as error:  # whatever a task's own code raises
            return None, _reason(error)

    def _rescored(
        self, candidate: str, name: str, rescorer: Rescorer | None, lacks: str
    ) -> TaskResult:
        """
        Raises:
            HarnessError: it cannot be scored again, with the reason.
        """
        if rescorer is None:
            raise HarnessError(lacks)
        lines = self._lines(candidate, name)
        if disputed := next((m for m in lines if m.outcome is Outcome.DISPUTED), None):
            raise HarnessError(f"its answers are disputed: {disputed.reason}")
        path = self.stored.answers_path(candidate, name)
        if path is None:
            why = next((m.reason for m in lines if m.value is None), "")
            raise HarnessError(why or "no samples were kept for this cell")
        result = rescorer.rescore(read_rows(path))
        if reason := hole(self.entries[name][0], result):
            raise HarnessError(reason)
        return result

    def _write(
        self, task: Task, results: Mapping[str, TaskResult], left: Mapping[CellKey, str]
    ) -> None:
        """Supersede the task's records; of cells that were left, only if their task has changed."""
        if self.stored.manifest.task_definitions.get(task.name) != self.now.definitions[task.name]:
            self.folder.withdraw(dict.fromkeys(left, CHANGED), ())
        checks = self.stored.checks
        for candidate, result in results.items():
            self.folder.write_samples(candidate, task.name, result.samples, result.columns)
            self.folder.append(self._records(self._candidate(candidate), task, result))
            kept = samples_hash(self.folder.path, candidate, task.name)
            # Transformers checked the answers, which are the same.
            self.folder.append_checks(
                one.model_copy(update={"samples": kept})
                for one in checks
                if one.cell == (candidate, task.name)
            )

    def _records(
        self, candidate: Candidate, task: Task, result: TaskResult
    ) -> Sequence[Measurement]:
        """Withdrawals of metrics that the task has no longer, and the new records."""
        before = self._lines(candidate.name, task.name)
        note = next((m.reason for m in before if m.outcome is Outcome.COMPLETED), "")
        about_prompts = note.partition(LEFT_OUT)[0].removesuffix("; ")
        records = scored_records(candidate, task, result, about_prompts)
        names = {one.metric for one in records}
        cell = (candidate.name, task.name)
        gone = withdrawn([m for m in before if m.metric not in names], {cell: NO_METRIC}, ())
        return [*gone, *records]

    def _candidate(self, name: str) -> Candidate:
        return next(one for one in self.stored.manifest.candidates if one.name == name)

    def _describe(self, manifest: Manifest, task: Task) -> Manifest:
        """Write what the task is now, once its cells have their new records."""
        written = rescored_manifest(manifest, [task], self.now, datetime.now(UTC))
        self.folder.write_manifest(written)
        return Manifest.model_validate(written)


def _reason(error: Any) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    name = "" if isinstance(error, HarnessError) else f"{type(error).__name__}: "
    return f"{name}{text}"[:REASON_CHARS]
