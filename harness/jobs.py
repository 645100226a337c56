"""What the runner asks of a worker, and what it gets back. Plain data: it crosses processes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.measure.speed import Round
from harness.records import EngineShape, LogitMix, Sample, Task, Workload


class Load(NamedTuple):
    """A candidate as an engine takes it."""

    checkpoint: Path
    mix: LogitMix | None = None
    roles: Mapping[str, Path] = {}
    """Folders of the roles that `mix` names."""


class Start(NamedTuple):
    """Import the engine, start it with these weights, build the tasks' requests."""

    shape: EngineShape
    checkpoint: Path
    tasks: Mapping[str, tuple[Task, Sequence[Any]]]
    """Name -> (entry, sources for lm-eval)."""
    limit: int | None
    seed: int
    cores: tuple[int, ...] = ()
    """Where the process may run; everywhere if empty."""


class Evaluate(NamedTuple):
    load: Load
    tasks: Sequence[str]


class Time(NamedTuple):
    """One round of every workload; the first one of a candidate is preceded by a warm-up."""

    load: Load
    workloads: Sequence[Workload]
    seed: int
    warm_up: bool


class Stop(NamedTuple):
    pass


Job = Start | Evaluate | Time | Stop


class TaskResult(NamedTuple):
    """Per-example values of each metric of a task, and the samples behind the primary one."""

    task: str
    values: Mapping[str, Sequence[float]]
    samples: Sequence[Sample]


class Evaluated(NamedTuple):
    results: Sequence[TaskResult]
    engine_sec: float
    """Seconds inside the engine; the rest of the job is the harness's own."""


class Timed(NamedTuple):
    rounds: Mapping[str, Round]
    peak_bytes: int | None
    device_bytes: int | None


class Failed(NamedTuple):
    """The job broke, the worker lives."""

    reason: str


class Ready(NamedTuple):
    start_sec: float


Reply = Ready | Evaluated | Timed | Failed
