"""Plan -> records: one worker process per engine shape, candidates one after the other."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from baselines.artifacts import artifact, build_seconds
from baselines.checkpoints import CheckpointInfo, inspect
from harness.contracts import Zoo
from harness.engine_pool import EnginePool, Queue
from harness.engine_process import EngineProcess
from harness.errors import HarnessError
from harness.jobs import Evaluate, Evaluated, Failed, Load, Start, Time, Timed
from harness.measure.quality import quality_records
from harness.measure.speed import Round, fit, summarize
from harness.plan import needed_roles
from harness.records import (
    Candidate,
    EngineShape,
    LogitMix,
    Measurement,
    Outcome,
    Plan,
    Workload,
)
from harness.store import RunFolder

Say = Callable[[str], None]

TINY_PARAMETERS = 20_000_000
MAX_SLOTS = 4
NOT_RELOADABLE = {"MixtralForCausalLM"}


class Prepared(NamedTuple):
    """A candidate whose checkpoint folders are there."""

    candidate: Candidate
    load: Load
    shape: EngineShape
    infos: Sequence[CheckpointInfo]
    """Of every model that serves at once, the base first."""
    build_sec: float | None


@dataclass(slots=True)
class Spent:
    """Seconds by phase, for the manifest."""

    build_sec: float = 0.0
    engine_start_sec: float = 0.0
    evaluate_sec: float = 0.0
    inside_engine_sec: float = 0.0
    speed_sec: float = 0.0


@dataclass(slots=True)
class Runner:
    plan: Plan
    zoo: Zoo
    folder: RunFolder
    sources: Mapping[str, Sequence[Any]]
    """Task name -> what lm-eval loads it from."""
    say: Say = print
    spent: Spent = field(default_factory=Spent)
    num_failed: int = 0
    context_length: int | None = None
    """In tokens, of the first candidate; workloads are cut to it."""
    _lock: Lock = field(default_factory=Lock)

    def run(self) -> None:
        """Measure every pending cell. A candidate that breaks costs its own cells only."""
        self._record_refusals()
        prepared = self._prepare_all()
        reference = next(
            (one for one in prepared if one.candidate.name == self.plan.suite.reference), None
        )
        if prepared:
            self.context_length = prepared[0].shape.max_model_len
        groups = group_by_shape(prepared, reference)
        slots = num_slots(prepared, self.plan.device)
        pool = EnginePool(
            lambda shape, cores: self._start(shape, groups[shape][0], cores),
            self.folder.path / "engine.log",
            slots,
            len(groups),
        )
        try:
            self._evaluate_all(pool, [one for members in groups.values() for one in members])
            for members in groups.values():
                self._time_all(pool, members, reference)
        finally:
            self.spent.engine_start_sec += pool.start_sec
            pool.close()

    def _record_refusals(self) -> None:
        self.folder.append(
            self._without_value(cell.candidate, cell.task, Outcome.SKIPPED, cell.refused)
            for cell in self.plan.cells
            if cell.refused and not cell.done
        )

    def _prepare_all(self) -> list[Prepared]:
        start = time.perf_counter()
        running = [one for one in self.plan.candidates if self.plan.pending(one.name)]
        wanted = [*running, *self._reference_candidate(running)]
        paths = self.zoo.build(needed_roles(wanted)) if wanted else {}
        prints = {role: self.zoo.fingerprint(role) for role in paths}
        prepared = []
        for candidate in wanted:
            try:
                prepared.append(prepare(candidate, paths, prints, device=self.plan.device))
            except Exception as error:  # this candidate's failure; the others go on
                self._fail(candidate, f"building failed: {' '.join(str(error).split())}")
        self.spent.build_sec += time.perf_counter() - start
        return prepared

    def _reference_candidate(self, running: Sequence[Candidate]) -> list[Candidate]:
        """The reference is timed in every round, also where its own cells are done."""
        timed = any(cell.task is None for one in running for cell in self.plan.pending(one.name))
        return [
            one
            for one in self.plan.candidates
            if timed and one.name == self.plan.suite.reference and one not in running
        ]

    def _start(self, shape: EngineShape, first: Prepared, cores: tuple[int, ...]) -> Start:
        pending = {cell.task for cell in self.plan.cells if cell.pending}
        tasks = {
            task.name: (task, self.sources[task.name])
            for task in self.plan.tasks
            if task.name in pending
        }
        return Start(shape, first.load.checkpoint, tasks, self.plan.limit, self.plan.seed, cores)

    def _evaluate_all(self, pool: EnginePool, members: Sequence[Prepared]) -> None:
        """All slots side by side: nothing is timed here."""
        start = time.perf_counter()
        queue = Queue([one for one in members if self._pending_tasks(one)])

        def work(slot: int) -> None:
            while (member := queue.next(slot)) is not None:
                began = time.perf_counter()
                tasks = self._pending_tasks(member)
                self._evaluate(pool.engine(member.shape, slot), member, tasks)
                seconds = time.perf_counter() - began
                self.say(f"{member.candidate.name}: {len(tasks)} tasks in {seconds:.1f} s")

        with ThreadPoolExecutor(pool.num_slots) as slots:
            for _ in slots.map(work, range(pool.num_slots)):
                pass
        self.spent.evaluate_sec += time.perf_counter() - start

    def _pending_tasks(self, member: Prepared) -> list[str]:
        pending = self.plan.pending(member.candidate.name)
        return [cell.task for cell in pending if cell.task is not None]

    def _evaluate(self, process: EngineProcess, member: Prepared, tasks: Sequence[str]) -> None:
        reply = process.ask(Evaluate(member.load, tasks))
        if isinstance(reply, Failed) and len(tasks) > 1:
            # Together they are faster; apart, only the culprit fails.
            for task in tasks:
                self._evaluate(process, member, [task])
        elif isinstance(reply, Failed):
            self._fail(member.candidate, reply.reason, tasks[0])
        elif isinstance(reply, Evaluated):
            self._keep(member.candidate, reply)

    def _keep(self, candidate: Candidate, reply: Evaluated) -> None:
        with self._lock:
            self.spent.inside_engine_sec += reply.engine_sec
            for result in reply.results:
                task = next(task for task in self.plan.tasks if task.name == result.task)
                self.folder.write_samples(candidate.name, task.name, result.samples)
                self.folder.append(quality_records(candidate, task, result.values))

    def _time_all(
        self,
        pool: EnginePool,
        members: Sequence[Prepared],
        reference: Prepared | None,
    ) -> None:
        """Rounds over all members, the reference in each, so that no one runs in one drift."""
        due = [one for one in members if self._speed_due(one.candidate)]
        if not due:
            return
        start = time.perf_counter()
        rounds: dict[str, list[Timed]] = {one.candidate.name: [] for one in due}
        reference_rounds: list[Timed] = []
        for number in range(self.plan.suite.rounds):
            if reference is not None:
                reply = self._time(pool.any_engine(reference.shape), reference, number)
                if isinstance(reply, Timed):
                    reference_rounds.append(reply)
            for member in [one for one in due if one.candidate.name in rounds]:
                reply = self._time(pool.any_engine(member.shape), member, number)
                if isinstance(reply, Timed):
                    rounds[member.candidate.name].append(reply)
                else:
                    del rounds[member.candidate.name]
                    self._fail(member.candidate, reply.reason, None)
        for member in due:
            if member.candidate.name in rounds:
                timed = rounds[member.candidate.name]
                self.folder.append(self._speed_records(member, timed, reference_rounds))
        self.spent.speed_sec += time.perf_counter() - start

    def _speed_due(self, candidate: Candidate) -> bool:
        return any(cell.task is None for cell in self.plan.pending(candidate.name))

    def _time(self, process: EngineProcess, member: Prepared, number: int) -> Timed | Failed:
        workloads = [fit(one, member.shape.max_model_len) for one in self.plan.suite.workloads]
        job = Time(member.load, workloads, self.plan.seed + number, warm_up=number == 0)
        reply = process.ask(job)
        assert isinstance(reply, Timed | Failed)
        return reply

    def _speed_records(
        self, member: Prepared, timed: Sequence[Timed], reference: Sequence[Timed]
    ) -> list[Measurement]:
        records = static_records(member)
        records += memory_records(member, timed)
        comparable = reference if len(reference) == len(timed) else []
        for workload in self.plan.suite.workloads:
            records += summarize(
                member.candidate.name,
                member.candidate.family,
                workload.name,
                _rounds(timed, workload),
                _rounds(comparable, workload),
            )
        return records

    def _fail(self, candidate: Candidate, reason: str, *task: str | None) -> None:
        """Record the failure for one task, or for all that the candidate still had to do."""
        cells = task or tuple(cell.task for cell in self.plan.pending(candidate.name))
        self.say(f"{candidate.name}: failed: {reason}")
        with self._lock:
            self.num_failed += len(cells)
            self.folder.append(
                self._without_value(candidate.name, one, Outcome.FAILED, reason) for one in cells
            )

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


def prepare(
    candidate: Candidate, paths: Mapping[str, Path], prints: Mapping[str, str], *, device: str
) -> Prepared:
    """Build what the candidate needs and look at what will be served.

    Raises:
        HarnessError: a checkpoint is missing, damaged, or does not fit the others.
    """
    recipe = candidate.recipe
    if isinstance(recipe, LogitMix):
        folders = [_folder(role, paths) for role in recipe.inputs]
        roles = dict(zip(recipe.inputs, folders, strict=True))
        load, built = Load(folders[0], recipe, roles), None
    else:
        checkpoint = artifact(candidate, paths, prints)
        folders, load, built = [checkpoint], Load(checkpoint), build_seconds(checkpoint)
    infos = [inspect(path) for path in folders]
    return Prepared(candidate, load, shape_of(infos[0], device), infos, built)


def shape_of(info: CheckpointInfo, device: str) -> EngineShape:
    # vLLM's CPU kernels repack expert weights when an engine starts, and not when weights are
    # reloaded: the scores would be wrong. A mixture gets an engine of its own.
    alone = f"-{info.path}" if info.architecture in NOT_RELOADABLE else ""
    return EngineShape(
        signature=f"{info.signature}-{info.tokenizer}{alone}",
        max_model_len=info.context_length,
        dtype=info.dtype,
        device="cuda" if device == "cuda" else "cpu",
    )


def group_by_shape(
    prepared: Sequence[Prepared], reference: Prepared | None
) -> dict[EngineShape, list[Prepared]]:
    """Candidates that share an engine, the reference's engine first: it stays until the end."""
    groups: dict[EngineShape, list[Prepared]] = {}
    if reference is not None:
        groups[reference.shape] = []
    for one in prepared:
        groups.setdefault(one.shape, []).append(one)
    return groups


def num_slots(prepared: Sequence[Prepared], device: str) -> int:
    """Engines that work side by side.

    Two threads on a tiny model wait for each other more than they work, so each core gets an
    engine of its own (docs/decisions/one-core-engines.md). Larger models use all cores at once.
    """
    largest = max((info.num_parameters for one in prepared for info in one.infos), default=0)
    if device != "cpu" or largest > TINY_PARAMETERS:
        return 1
    return min(MAX_SLOTS, len(os.sched_getaffinity(0)))


def static_records(member: Prepared) -> list[Measurement]:
    """What follows from the checkpoints alone."""
    infos = member.infos
    values: dict[str, tuple[float | None, str]] = {
        "weights_bytes": (sum(info.weights_bytes for info in infos), "bytes"),
        "kv_bytes_per_token": (sum(info.kv_bytes_per_token for info in infos), "bytes"),
        "total_params": (sum(info.num_parameters for info in infos), "parameters"),
        "active_params": (sum(info.num_active_parameters for info in infos), "parameters"),
        "build_sec": (member.build_sec, "s"),
    }
    return [
        _cost(member.candidate, metric, value, unit)
        for metric, (value, unit) in values.items()
        if value is not None
    ]


def memory_records(member: Prepared, timed: Sequence[Timed]) -> list[Measurement]:
    """The highest of all rounds."""
    records = []
    for metric, peaks in (
        ("peak_memory_bytes", [one.peak_bytes for one in timed]),
        ("device_memory_bytes", [one.device_bytes for one in timed]),
    ):
        known = [peak for peak in peaks if peak is not None]
        if known:
            records.append(_cost(member.candidate, metric, max(known), "bytes", n=len(known)))
    return records


def _cost(
    candidate: Candidate, metric: str, value: float, unit: str, n: int | None = None
) -> Measurement:
    return Measurement(
        candidate=candidate.name,
        family=candidate.family,
        metric=metric,
        value=value,
        unit=unit,
        n=n,
        higher_is_better=False,
    )


def _folder(role: str, paths: Mapping[str, Path]) -> Path:
    folder = Path(role) if Path(role).is_absolute() else paths.get(role)
    if folder is None:
        raise HarnessError(f"the zoo has no folder for {role}")
    return folder


def _rounds(timed: Sequence[Timed], workload: Workload) -> list[Round]:
    return [one.rounds[workload.name] for one in timed]
