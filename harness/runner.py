"""Runs a plan: its pending cells become records, by an executor that is passed in."""

import time
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from melange.harness.checking import Checking
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.contracts import ConnectExecutor, Executor, OpenExecutor
from melange.harness.engine_choice import EngineChoice
from melange.harness.estimates import needed_roles
from melange.harness.evaluation import Ask, Evaluation, pending_tasks
from melange.harness.evaluators import TaskEntries
from melange.harness.executors.jobs import NO_TASKS, TaskSet
from melange.harness.live_report import LiveReport
from melange.harness.lost_causes import LostCauses
from melange.harness.machine import lacks_for
from melange.harness.open_loops import OpenLoops
from melange.harness.prepare import Prepared, num_slots, prepare
from melange.harness.progress import Progress
from melange.harness.racing.evaluation import RacedEvaluation
from melange.harness.recorder import Recorder
from melange.harness.records import Candidate, EngineShape, Plan
from melange.harness.roles import Roles
from melange.harness.runs.writer import RunFolder
from melange.harness.speed_rounds import SpeedRounds
from melange.harness.training_costs import beyond_base


@dataclass(slots=True)
class PhaseTimings:
    """Seconds by phase, for the manifest."""

    build_sec: float = 0.0
    engine_start_sec: float = 0.0
    evaluate_sec: float = 0.0
    inside_engine_sec: float = 0.0
    speed_sec: float = 0.0
    check_sec: float = 0.0


@dataclass(slots=True)
class Runner:
    plan: Plan
    checkpoints: Checkpoints
    folder: RunFolder
    entries: TaskEntries
    engines: EngineChoice
    progress: Progress
    live_report: LiveReport
    connect: ConnectExecutor
    """Connects to where jobs run."""
    num_checks: int = 0
    """Examples of each kind of request that each candidate is checked on; 0: no check."""
    unchecked: Collection[str] = ()
    """Candidates that were measured but not checked."""
    recorder: Recorder = field(init=False)
    lost: LostCauses = field(default_factory=LostCauses)
    checking: Checking = field(init=False)
    timings: PhaseTimings = field(default_factory=PhaseTimings)
    shapes: dict[str, EngineShape] = field(default_factory=dict)
    """By candidate."""
    measured_as: dict[str, str] = field(default_factory=dict)
    """By candidate, the first of those that are timed as one with it."""
    _open: OpenExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.plan, self.folder, self.progress)
        self.checking = Checking(
            self.plan, self.folder, self.recorder, self.progress, self.entries,
            self.num_checks, self.unchecked,
        )  # fmt: skip

    def run(self) -> None:
        """Measure every pending cell. A candidate that breaks costs only its own cells.

        Raises:
            HarnessError: an environment variable is invalid.
        """
        # Before anything is built, since it may fail.
        if any(cell.pending for cell in self.plan.cells):
            self._open = self.connect(self.folder.path / "engine.log", self.plan.device)
        self.recorder.refusals()
        prepared = self._prepare_all()
        self.shapes = {one.candidate.name: one.shape for one in prepared}
        try:
            self.checking.begin(num_slots(prepared, self.plan.device))
            self._evaluate_all(prepared)
            if self.checking.run(prepared, self.checkpoints.paths) and self.plan.speed_waits:
                self.live_report.renew()
        finally:
            self.checking.close()
            self.timings.check_sec = self.checking.elapsed_sec
        if self.plan.speed_waits:
            self._time_all(prepared)

    def _prepare_all(self) -> list[Prepared]:
        start = time.perf_counter()
        running = [
            one
            for one in self.plan.candidates
            if self.plan.pending(one.name) or one.name in self.unchecked
        ]
        wanted = [*running, *self._reference_candidate(running)]
        roles = needed_roles(wanted)
        self.progress.doing(f"preparing {len(roles) or 'no'} checkpoints")
        self.checkpoints.make_ready(roles)
        prepared = []
        related, trained = Roles(self.plan.roles), self.checkpoints.training_sec
        for candidate in wanted:
            self.progress.doing(f"preparing {candidate.name}")
            try:
                asked = self.plan.engines[candidate.name]
                one = prepare(candidate, self.checkpoints, asked, self.engines.shape)
                one = one._replace(training_sec=beyond_base(candidate, related, trained))
            except Exception as error:  # one candidate's failure; the others go on
                self._drop(candidate, f"building failed: {' '.join(str(error).split())}")
                continue
            if one.shape.device == "cpu" and (lacks := lacks_for(one.shape.dtype)):
                self._drop(candidate, lacks)
            else:
                prepared.append(one)
        self.timings.build_sec += time.perf_counter() - start
        return prepared

    def _drop(self, candidate: Candidate, reason: str) -> None:
        """Record that the candidate failed before it reached an engine."""
        self.recorder.fail(candidate, reason)
        self.progress.dropped(candidate.name, len(self.plan.pending(candidate.name)))

    def _reference_candidate(self, running: Sequence[Candidate]) -> list[Candidate]:
        """The reference is timed in every round, even if its own cells are done."""
        timed = any(cell.task is None for one in running for cell in self.plan.pending(one.name))
        return [
            one
            for one in self.plan.candidates
            if timed and one.name == self.plan.suite.reference and one not in running
        ]

    def _evaluate_all(self, prepared: Sequence[Prepared]) -> None:
        members = [one for one in prepared if pending_tasks(self.plan, one)]
        if not members:
            return
        start = time.perf_counter()
        wanted = {task for one in members for task in pending_tasks(self.plan, one)}
        entries = {name: entry for name, entry in self.entries.items() if name in wanted}
        with closing(
            self._open(prepared, TaskSet(entries, self.plan.limit, self.plan.seed))
        ) as executor:
            evaluate = partial(self._evaluate, executor)
            if self.plan.race is None:
                evaluate(members, Ask(partial(pending_tasks, self.plan), self.recorder.keep))
            else:
                RacedEvaluation(self.plan, self.recorder, self.progress, evaluate).run(members)
        self.timings.evaluate_sec += time.perf_counter() - start

    def _evaluate(self, executor: Executor, members: Sequence[Prepared], ask: Ask) -> None:
        evaluation = Evaluation(
            executor, ask, self.recorder, self.progress, self.lost, self._family_done
        )
        try:
            evaluation.run(members)
        finally:
            self.timings.engine_start_sec += evaluation.start_sec
            self.timings.inside_engine_sec = self.recorder.inside_engine_sec

    def _family_done(self, others_wait: bool) -> None:
        if others_wait or self.plan.speed_waits:
            self.live_report.renew()

    def _time_all(self, prepared: Sequence[Prepared]) -> None:
        """In new workers, without the tasks' requests, so that their memory is the candidate's."""
        start = time.perf_counter()
        with closing(self._open(prepared, NO_TASKS)) as executor:
            parts = (self.plan, self.folder, executor, self.recorder, self.progress, self.lost)
            # First, since the records of the rounds say that the cells are done.
            OpenLoops(*parts).run(prepared, before_first=self.live_report.wait)
            rounds = SpeedRounds(*parts)
            rounds.run(prepared, before_first=self.live_report.wait)
            self.measured_as = rounds.measured_as
        self.timings.speed_sec += time.perf_counter() - start
