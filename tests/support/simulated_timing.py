"""Rounds on a simulated machine: an executor whose seconds are known."""

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from timed_rounds import prepared, with_readings

from melange.harness.executors.jobs import Failed, Ready, Reply, Time, Timed, Weigh, Weighed
from melange.harness.loads import Load
from melange.harness.lost_causes import LostCauses
from melange.harness.measure.speed import Round
from melange.harness.prepare import Prepared
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Cell, EngineShape, Plan, Suite, Workload
from melange.harness.requests import Timing
from melange.harness.runs.writer import RunFolder
from melange.harness.speed_rounds import SpeedRounds

WORKLOADS = tuple(
    Workload(name=name, prompt_tokens=8, output_tokens=8, num_requests=2) for name in ("a", "b")
)
Seconds = Callable[[str, str, int], float | str]
"""Candidate, workload and how many visits came before -> seconds, or why the visit fails."""


def member(name: str, kernels: str) -> Prepared:
    """Candidates of one `kernels` run the same."""
    shape = EngineShape(signature=kernels, max_model_len=64)
    return prepared(name)._replace(shape=shape, load=Load(Path(name)))


class SimulatedMachine:
    """An executor. `visits` has the candidate and the workloads of every visit, in order."""

    num_slots = 1

    def __init__(self, members: Sequence[Prepared], seconds: Seconds) -> None:
        self._names = {one.load.checkpoint: one.candidate.name for one in members}
        self._seconds = seconds
        self.visits: list[tuple[str, list[str]]] = []

    def submit(self, jobs: Sequence[Any]) -> list[Future[Reply]]:
        futures: list[Future[Reply]] = [Future() for _ in jobs]
        for one in futures:
            one.set_result(Ready())
        return futures

    def together(self, members: Sequence[Prepared]) -> list[list[Prepared]]:
        return [list(members)]

    def alone(self, job: Time | Weigh) -> Reply:
        if isinstance(job, Weigh):
            return Weighed(0)
        name = self._names[job.load.checkpoint]
        took = {one.name: self._seconds(name, one.name, len(self.visits)) for one in job.workloads}
        self.visits.append((name, list(took)))
        reasons = [one for one in took.values() if isinstance(one, str)]
        if reasons:
            return Failed(reasons[0])
        return Timed({name: _round(sec) for name, sec in took.items()}, {"calibration_sec": 0.01})

    def close(self) -> None: ...


def _round(sec: Any) -> Round:
    return with_readings(
        Round(
            started="2024-01-31T10:00:00.000+00:00",
            prompt_tokens=16,
            output_tokens=16,
            wall_sec=sec,
            timings=[Timing(sec / 4, sec), Timing(sec / 3, sec)],
            output_lengths=[8, 8],
        )
    )


def time_all(
    folder: Path, members: Sequence[Prepared], seconds: Seconds, **suite: Any
) -> tuple[SimulatedMachine, SpeedRounds]:
    """The first member is the reference."""
    plan = _plan(members, suite)
    run = RunFolder(folder)
    run.prepare()
    machine, progress = SimulatedMachine(members, seconds), Progress(plan)
    recorder = Recorder(plan, run, progress)
    rounds = SpeedRounds(plan, run, machine, recorder, progress, LostCauses())
    rounds.run(members, before_first=lambda: None)
    return machine, rounds


def _plan(members: Sequence[Prepared], suite: Mapping[str, Any]) -> Plan:
    names = [one.candidate.name for one in members]
    fields: dict[str, Any] = {"workloads": WORKLOADS, "reference": names[0], **suite}
    return Plan(
        suite=Suite(name="s", tasks={}, candidates=(), **fields),
        zoo="z",
        scale="pocket",
        tasks=(),
        candidates=tuple(one.candidate for one in members),
        cells=tuple(Cell(candidate=name, task=None) for name in names),
        limit=None,
        seed=0,
        device="cpu",
    )


def noisy(seconds: Mapping[str, float], *, noise: float, seed: int = 0) -> Seconds:
    """Seconds by candidate, on a machine that drifts and is disturbed in one visit of ten."""
    rng = random.Random(seed)

    def take(candidate: str, workload: str, visits: int) -> float:
        disturbed = 2.0 if rng.random() < 0.1 else 1.0
        return seconds[candidate] * (1 + visits / 200) * disturbed * rng.lognormvariate(0, noise)

    return take
