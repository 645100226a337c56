"""Plan -> records: one worker process per engine shape, candidates one after the other."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from melange.harness.checking import Checking
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engine_choice import EngineChoice
from melange.harness.engine_pool import EnginePool, Queue
from melange.harness.engine_process import EngineProcess, preload
from melange.harness.engine_shapes import engine_bytes
from melange.harness.estimates import needed_roles
from melange.harness.evaluators import TaskEntries
from melange.harness.jobs import Evaluate, Evaluated, Failed, Reply, Start
from melange.harness.live_report import LiveReport
from melange.harness.lost_causes import ENOUGH_ALIKE, LostCauses
from melange.harness.machine import lacks_for
from melange.harness.prepare import (
    Prepared,
    by_family,
    group_by_shape,
    in_order,
    num_slots,
    prepare,
    weights_bytes,
)
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Candidate, EngineShape, Plan
from melange.harness.silence import silence_limit
from melange.harness.speed_rounds import SpeedRounds
from melange.harness.store import RunFolder

Keep = Callable[..., None]
"""Called with what writes results, and the results: off the engine's time."""


@dataclass(slots=True)
class Spent:
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
    num_checks: int = 0
    """Examples of each kind of request that a candidate is checked on; 0 leaves the check out."""
    unchecked: Collection[str] = ()
    """Candidates that are measured, and were not checked yet."""
    recorder: Recorder = field(init=False)
    lost: LostCauses = field(default_factory=LostCauses)
    checking: Checking = field(init=False)
    spent: Spent = field(default_factory=Spent)
    shapes: dict[str, EngineShape] = field(default_factory=dict)
    """By candidate."""
    _stopped: bool = False
    """What fails now fails because its engine was interrupted."""

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.plan, self.folder, self.progress)
        self.checking = Checking(
            self.plan, self.folder, self.recorder, self.progress, self.entries,
            self.num_checks, self.unchecked,
        )  # fmt: skip

    def run(self) -> None:
        """Measure every pending cell. A candidate that breaks costs its own cells only.

        Raises:
            HarnessError: the environment asks for something that cannot be.
        """
        silence_limit(0)  # before anything has been built
        self.recorder.refusals()
        if self.plan.device == "cpu" and any(cell.pending for cell in self.plan.cells):
            preload()
        prepared = self._prepare_all()
        reference = next(
            (one for one in prepared if one.candidate.name == self.plan.suite.reference), None
        )
        self.shapes = {one.candidate.name: one.shape for one in prepared}
        groups = group_by_shape(prepared, reference)
        try:
            self.checking.begin(num_slots(prepared, self.plan.device))
            self._evaluate_all(groups)
            if self.checking.run(prepared, self.checkpoints.paths) and self._speed_waits:
                self.live_report.renew()
        finally:
            self.checking.close()
            self.spent.check_sec = self.checking.spent_sec
        if self._speed_waits:
            self._time_all(groups, reference)

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
        for candidate in wanted:
            self.progress.doing(f"preparing {candidate.name}")
            try:
                asked = self.plan.engines[candidate.name]
                one = prepare(candidate, self.checkpoints, asked, self.engines.shape)
            except Exception as error:  # this candidate's failure; the others go on
                self._drop(candidate, f"building failed: {' '.join(str(error).split())}")
                continue
            if one.shape.device == "cpu" and (lacks := lacks_for(one.shape.dtype)):
                self._drop(candidate, lacks)
            else:
                prepared.append(one)
        self.spent.build_sec += time.perf_counter() - start
        return prepared

    def _drop(self, candidate: Candidate, reason: str) -> None:
        """It comes to no engine."""
        self.recorder.fail(candidate, reason)
        self.progress.dropped(candidate.name, len(self.plan.pending(candidate.name)))

    def _reference_candidate(self, running: Sequence[Candidate]) -> list[Candidate]:
        """The reference is timed in every round, also where its own cells are done."""
        timed = any(cell.task is None for one in running for cell in self.plan.pending(one.name))
        return [
            one
            for one in self.plan.candidates
            if timed and one.name == self.plan.suite.reference and one not in running
        ]

    def _pool(
        self, groups: Mapping[EngineShape, Sequence[Prepared]], tasks: TaskEntries
    ) -> EnginePool:
        def start(shape: EngineShape, cores: tuple[int, ...]) -> Start:
            first, plan = groups[shape][0].load.start, self.plan
            largest = max(map(weights_bytes, groups[shape]))
            silence_sec = silence_limit(largest)
            return Start(shape, first, tasks, plan.limit, plan.seed, cores, silence_sec)

        members = [one for group in groups.values() for one in group]
        slots = num_slots(members, self.plan.device)
        sizes = [engine_bytes(shape, *map(weights_bytes, group)) for shape, group in groups.items()]
        all_bytes = sum(sizes) + slots * max(sizes, default=0)
        on_cpu = self.plan.device == "cpu"
        return EnginePool(start, self.folder.path / "engine.log", slots, all_bytes, on_cpu)

    def _evaluate_all(self, groups: Mapping[EngineShape, Sequence[Prepared]]) -> None:
        """All slots side by side: nothing is timed here."""
        start = time.perf_counter()
        members = [one for group in groups.values() for one in group if self._pending_tasks(one)]
        queue = Queue(in_order(members))
        unfinished = by_family(members)
        pool = self._pool(groups, self._task_entries(members))

        # An engine starts on its next candidate while the results of the last are written.
        def work(slot: int) -> None:
            while (member := queue.next(slot)) is not None:
                for one in kept:
                    if one.done():
                        one.result()  # a full disk ends the run now, not after the last candidate
                self._examine(pool.engine(member.shape, slot), member, keep)
                keep(self._through, member.candidate, unfinished)

        def keep(write: Callable[..., None], *results: Any) -> None:
            kept.append(keeper.submit(write, *results))

        self.progress.doing("evaluating")
        self.progress.left.num_slots = pool.num_slots
        kept: list[Future[None]] = []
        try:
            with ThreadPoolExecutor(1) as keeper, ThreadPoolExecutor(pool.num_slots) as slots:
                try:
                    for _ in slots.map(work, range(pool.num_slots)):
                        pass
                except BaseException:  # Ctrl-C, or one slot's error: the others would go on
                    self._stopped = True
                    queue.close()
                    pool.interrupt()
                    raise
            for one in kept:
                one.result()
        finally:
            self.spent.engine_start_sec += pool.start_sec
            self.spent.inside_engine_sec = self.recorder.inside_engine_sec
            pool.close()
        self.spent.evaluate_sec += time.perf_counter() - start

    def _task_entries(self, members: Sequence[Prepared]) -> TaskEntries:
        wanted = {task for one in members for task in self._pending_tasks(one)}
        return {name: entry for name, entry in self.entries.items() if name in wanted}

    def _through(self, candidate: Candidate, unfinished: Mapping[str, set[str]]) -> None:
        """All its results are written; the last of a family renews the report."""
        unfinished[candidate.family].discard(candidate.name)
        more = any(unfinished.values()) or self._speed_waits
        if more and not unfinished[candidate.family]:
            self.live_report.renew()

    def _examine(self, engine: EngineProcess, member: Prepared, keep: Keep) -> None:
        """A candidate on all its tasks. What starting its engine takes is no part of its pace; nor
        is a process's first candidate, for which it imports lm-eval and reads the tasks."""
        name, tasks = member.candidate.name, self._pending_tasks(member)
        tells_pace = engine.pid is not None and not self.lost.why(member)
        began, started_sec = time.perf_counter(), engine.start_sec
        self.progress.began(name)
        for reply in self._evaluate(engine, member, tasks):
            keep(self.recorder.keep, member.candidate, reply)
        if self._stopped:
            return
        seconds = time.perf_counter() - began
        pace_sec = seconds - (engine.start_sec - started_sec) if tells_pace else None
        self.progress.left.tasks.finish(name, len(tasks), pace_sec)
        self.progress.ended(name, len(tasks), f"{name}: {len(tasks)} tasks in {seconds:.1f} s")

    def _pending_tasks(self, member: Prepared) -> list[str]:
        pending = self.plan.pending(member.candidate.name)
        return [cell.task for cell in pending if cell.task is not None]

    def _evaluate(
        self, process: EngineProcess, member: Prepared, tasks: Sequence[str]
    ) -> Iterator[Evaluated]:
        reply = self._ask(process, member, tasks, asked_again=len(tasks) > 1)
        if isinstance(reply, Evaluated):
            yield reply
        elif isinstance(reply, Failed) and not self._stopped:
            yield from self._evaluate_apart(process, member, tasks, reply.reason)

    def _evaluate_apart(
        self, process: EngineProcess, member: Prepared, tasks: Sequence[str], reason: str
    ) -> Iterator[Evaluated]:
        """Together, tasks are faster; apart, only the culprit fails.

        Two that fail for the reason that all failed for say that it is the candidate.
        """
        num_alike = 0
        for task in tasks:
            if self._stopped:
                return
            if num_alike == ENOUGH_ALIKE or len(tasks) == 1:
                self.recorder.fail(member.candidate, reason, task)
                continue
            reply = self._ask(process, member, [task], asked_again=False)
            if isinstance(reply, Evaluated):
                yield reply
            elif isinstance(reply, Failed) and not self._stopped:
                num_alike += reply.reason == reason
                self.recorder.fail(member.candidate, reply.reason, task)

    def _ask(
        self, process: EngineProcess, member: Prepared, tasks: Sequence[str], *, asked_again: bool
    ) -> Reply:
        if why := self.lost.why(member):
            return Failed(why)
        reply = process.ask(Evaluate(member.load, tasks))
        if not self._stopped:
            self.lost.note(member, reply, asked_again=asked_again)
        return reply

    def _time_all(
        self, groups: Mapping[EngineShape, Sequence[Prepared]], reference: Prepared | None
    ) -> None:
        """The engines are new ones, without the tasks' requests, so that memory is the
        candidate's."""
        start = time.perf_counter()
        pool = self._pool(groups, {})
        rounds = SpeedRounds(self.plan, self.folder, pool, self.recorder, self.progress, self.lost)
        try:
            rounds.run(groups, reference, before_first=self.live_report.wait)
        except BaseException:
            pool.interrupt()
            raise
        finally:
            pool.close()
        self.spent.speed_sec += time.perf_counter() - start

    @property
    def _speed_waits(self) -> bool:
        return any(cell.task is None and cell.pending for cell in self.plan.cells)
