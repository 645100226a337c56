"""Evaluates candidates in batches of examples, and stops those that a race has decided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from melange.harness.errors import HarnessError
from melange.harness.evaluation import Ask, pending_tasks
from melange.harness.evaluators import EVALUATORS, MEAN_SPLITS
from melange.harness.executors.jobs import Evaluated
from melange.harness.prepare import Prepared
from melange.harness.progress import Progress
from melange.harness.racing.answers import Answers
from melange.harness.racing.batches import Share, batches, cluster_names
from melange.harness.racing.race import Batch, Race
from melange.harness.racing.stop import Stop
from melange.harness.recorder import Recorder
from melange.harness.records import Candidate, Plan, Task
from melange.harness.samples import TaskResult
from melange.harness.task_metrics import FRACTION, is_mean


@dataclass(slots=True)
class RacedEvaluation:
    """Candidates that have all tasks of the race to do race each other. The others, which no board
    ranks with them, are asked everything, as is what cannot be asked in batches."""

    plan: Plan
    recorder: Recorder
    progress: Progress
    evaluate: Callable[[Sequence[Prepared], Ask], None]
    _answers: dict[str, Answers] = field(default_factory=dict)
    """By candidate, of those that are asked in batches."""
    _tasks: dict[str, list[str]] = field(default_factory=dict)
    """By candidate, what it is asked in batches; without tasks that it failed."""
    _race: Race = field(default_factory=lambda: Race((), top=1))

    def run(self, members: Sequence[Prepared]) -> None:
        """
        Raises:
            HarnessError: a task's metric is not a mean over examples in [0, 1].
        """
        check_means(self._raced)
        racing = [one for one in members if self._can_race(one)]
        assert self.plan.race is not None
        names = [one.candidate.name for one in racing]
        self._race = Race(names, top=self.plan.race)
        self._answers = {name: Answers() for name in names}
        self._tasks = {one.candidate.name: self._sharing(one) for one in racing}
        whole = [one for one in members if self._at_once(one)]
        if whole:
            self.evaluate(whole, Ask(self._at_once, self.recorder.keep))
        for share in batches():
            racing = self._run(racing, share)

    def _run(self, members: Sequence[Prepared], share: Share) -> list[Prepared]:
        """Ask them one more batch; those that go on."""
        members = [one for one in members if self._tasks[one.candidate.name]]
        if members:
            self.evaluate(members, Ask(self._tasks_of, self._collect, share))
        for one in members:
            self._drop_failed(one.candidate.name, batches().index(share) + 1)
        stops = self._race.add(self._batch(), share.end)
        for one in members:
            stop = stops.get(one.candidate.name) if share.end < 1 else None
            if stop or share.end >= 1:
                self._end(one.candidate, stop)
        return [one for one in members if one.candidate.name not in stops]

    def _collect(self, candidate: Candidate, reply: Evaluated) -> None:
        self._answers[candidate.name].add(reply)

    def _drop_failed(self, name: str, num_batches: int) -> None:
        """Ask no more of tasks that failed; without one of the race's, the candidate leaves it."""
        known = self._answers[name].results
        failed = [task for task in self._tasks[name] if len(known.get(task, ())) < num_batches]
        if not failed:
            return
        for task in failed:
            known.pop(task, None)
        self._tasks[name] = [task for task in self._tasks[name] if task not in failed]
        self.progress.ended(len(failed), f"{name}: {len(failed)} tasks failed")
        if name in self._race.racing and not {one.name for one in self._raced}.isdisjoint(failed):
            self._race.leave(name)

    def _batch(self) -> Mapping[str, Batch]:
        """The last batch's scores, by task."""
        latest = {
            name: {task: parts[-1] for task, parts in self._answers[name].results.items()}
            for name in self._race.racing
        }
        return {
            task.name: Batch(
                _clusters(task, next(iter(latest.values()))[task.name]),
                {name: _scores(task, found[task.name]) for name, found in latest.items()},
            )
            for task in (self._raced if latest else ())
        }

    def _end(self, candidate: Candidate, stop: Stop | None) -> None:
        name, tasks = candidate.name, self._tasks[candidate.name]
        self.recorder.keep(candidate, self._answers[name].joined(), stop)
        said = f"stopped after {stop.examples} examples" if stop else "all examples"
        self.progress.left.tasks.finish(name, len(tasks), None)
        self.progress.ended(len(tasks), f"{name}: {len(tasks)} tasks, {said}")

    @property
    def _raced(self) -> list[Task]:
        """The tasks whose mean decides."""
        return [
            one
            for one in self.plan.tasks
            if one.split in MEAN_SPLITS
            and one.unit in ("", FRACTION)
            and EVALUATORS[one.evaluator].shares
            and EVALUATORS[one.evaluator].scores
        ]

    def _can_race(self, member: Prepared) -> bool:
        raced = {one.name for one in self._raced}
        return bool(raced) and raced <= set(pending_tasks(self.plan, member))

    def _tasks_of(self, member: Prepared) -> list[str]:
        return self._tasks[member.candidate.name]

    def _sharing(self, member: Prepared) -> list[str]:
        """Its tasks that can be asked in batches."""
        shares = {one.name for one in self.plan.tasks if EVALUATORS[one.evaluator].shares}
        return [task for task in pending_tasks(self.plan, member) if task in shares]

    def _at_once(self, member: Prepared) -> list[str]:
        """Its other tasks; all if it does not race."""
        in_batches = self._tasks.get(member.candidate.name, ())
        return [task for task in pending_tasks(self.plan, member) if task not in in_batches]


def check_means(raced: Sequence[Task]) -> None:
    for task in raced:
        if not is_mean(task.primary_metric):
            raise HarnessError(
                f"{task.name}: {task.primary_metric} is not a mean over examples, which a race "
                "needs; leave out --race, or the task by --tasks"
            )


def _clusters(task: Task, result: TaskResult) -> list[str]:
    return cluster_names(task, result.samples.cluster)


def _scores(task: Task, result: TaskResult) -> np.ndarray:
    """
    Raises:
        HarnessError: a score is not in [0, 1].
    """
    scores_N = np.asarray(result.samples.score, dtype=np.float64)
    if (outside_N := scores_N[(scores_N < 0) | (scores_N > 1)]).size:
        raise HarnessError(
            f"{task.name}: {task.primary_metric} is {outside_N[0]:g} for an example, and a race "
            "needs scores from 0 to 1; leave out --race, or the task by --tasks"
        )
    return scores_N if task.higher_is_better else 1 - scores_N
