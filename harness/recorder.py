"""Writes the results of cells into the run's folder. Thread-safe."""

from dataclasses import dataclass, field
from threading import Lock

from melange.harness.executors.jobs import Evaluated
from melange.harness.measure.holes import hole, scored_records
from melange.harness.progress import Progress
from melange.harness.racing.stop import Stop
from melange.harness.records import Candidate, Measurement, Outcome, Plan
from melange.harness.runs.current import current
from melange.harness.runs.writer import RunFolder
from melange.harness.samples import TaskResult
from melange.harness.verdicts import Check


@dataclass(slots=True)
class Recorder:
    plan: Plan
    folder: RunFolder
    progress: Progress
    num_failed: int = 0
    num_disputed: int = 0
    inside_engine_sec: float = 0.0
    """Summed over the evaluations that were recorded."""
    _lock: Lock = field(default_factory=Lock)

    def refusals(self) -> None:
        self.folder.append(
            self._without_value(cell.candidate, cell.task, Outcome.SKIPPED, cell.refused)
            for cell in self.plan.cells
            if cell.refused and not cell.done
        )

    def keep(self, candidate: Candidate, reply: Evaluated, stop: Stop | None = None) -> None:
        """`stop`: why a race asked no more examples than these."""
        with self._lock:
            self.inside_engine_sec += reply.engine_sec
            for result in reply.results:
                task = next(task for task in self.plan.tasks if task.name == result.task)
                self.folder.write_samples(candidate.name, task.name, result.samples, result.columns)
                if note := _cut_note(result):
                    self.progress.say(f"{candidate.name}, {task.name}: {note}")
                if reason := hole(task, result):
                    self._unscored(candidate, result, f"{task.name}: {reason}")
                else:
                    records = scored_records(candidate, task, result, note)
                    self.folder.append(one.model_copy(update={"stop": stop}) for one in records)

    def fail(self, candidate: Candidate, reason: str, *task: str | None) -> None:
        """Record the failure for one task, or for all that the candidate still had to do."""
        cells = task or tuple(cell.task for cell in self.plan.pending(candidate.name))
        self.progress.say(f"{candidate.name}: failed: {reason}")
        with self._lock:
            self.num_failed += len(cells)
            self.folder.append(
                self._without_value(candidate.name, one, Outcome.FAILED, reason) for one in cells
            )

    def _unscored(self, candidate: Candidate, result: TaskResult, reason: str) -> None:
        """Record the failure of a cell whose answers are kept, for another scoring."""
        self.progress.say(f"{candidate.name}: failed: {reason}")
        self.num_failed += 1
        failure = self._without_value(candidate.name, result.task, Outcome.FAILED, reason)
        self.folder.append([failure.model_copy(update={"n": len(result.samples.score)})])

    def dispute(self, check: Check) -> None:
        """Record each metric of the cell as disputed, without a value. The line that this
        supersedes still has it."""
        reason = f"example {check.example}: {check.reason}"
        self.progress.say(f"{check.candidate}: {check.task}: disputed: {reason}")
        with self._lock:
            self.num_disputed += 1
            latest = {
                one.metric: one
                for one in current(self.folder.measurements())
                if one.cell == check.cell and one.task
            }
            changes = dict.fromkeys(("value", "ci_low", "ci_high"))
            changes |= {"outcome": Outcome.DISPUTED, "reason": reason}
            self.folder.append(one.model_copy(update=changes) for one in latest.values())

    def _without_value(
        self, candidate: str, task: str | None, outcome: Outcome, reason: str
    ) -> Measurement:
        metrics = {one.name: one.primary_metric for one in self.plan.tasks}
        return Measurement(
            candidate=candidate,
            family=self.plan.candidate(candidate).family,
            task=task,
            metric=metrics[task] if task else "throughput",
            outcome=outcome,
            reason=reason,
        )


def _cut_note(result: TaskResult) -> str:
    """What a reader of the score must know; empty where every prompt was whole."""
    if not result.num_cut:
        return ""
    of = len(result.samples.score)
    return f"{result.num_cut} of {of} prompts lost their beginning to fit the context"
