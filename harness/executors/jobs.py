"""What an executor is asked for, and what it answers. Plain data: it crosses processes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from melange.harness.loads import Load
from melange.harness.measure.speed import Reading, Round
from melange.harness.records import EngineShape, Task, Workload
from melange.harness.samples import TaskResult


class TaskSet(NamedTuple):
    """The tasks that candidates may be put to; a worker is told once."""

    entries: Mapping[str, tuple[Task, Sequence[Any]]]
    """Name -> (entry, sources for lm-eval)."""
    limit: int | None
    """Examples of each; all of them if None."""
    seed: int


NO_TASKS = TaskSet({}, None, 0)


class Start(NamedTuple):
    """Nothing but the engine, so that several start side by side before one is timed."""

    load: Load
    shape: EngineShape


class Evaluate(NamedTuple):
    load: Load
    shape: EngineShape
    """Of the engine that serves it."""
    tasks: Sequence[str]


class Time(NamedTuple):
    """One round of every workload; an engine's first is preceded by a short one that does not
    count."""

    load: Load
    shape: EngineShape
    workloads: Sequence[Workload]
    seed: int


Job = Start | Evaluate | Time


class Took(NamedTuple):
    """What a job took, in its worker."""

    sec: float = 0.0
    start_sec: float = 0.0
    """Of them, until engines had started."""
    is_first: bool = False
    """It is its worker's first, for which that imports lm-eval and reads the tasks."""


class Ready(NamedTuple):
    took: Took = Took()


class Evaluated(NamedTuple):
    results: Sequence[TaskResult]
    engine_sec: float
    """Seconds inside the engine; the rest of the job is the harness's own."""
    took: Took = Took()


class Timed(NamedTuple):
    rounds: Mapping[str, Round]
    """By workload."""
    readings: Mapping[str, Reading]
    """Of all workloads together, by metric."""
    took: Took = Took()


Stage = Literal["start", "load", "tasks", "work"]
"""Of a job: the engine starts, it takes the candidate's weights; we read tasks or score answers,
the engine answers requests."""


class Sign(NamedTuple):
    """Of life: the worker has got on with its job."""

    stage: Stage


class Failed(NamedTuple):
    """The job broke."""

    reason: str
    engine: Literal["well", "broken", "dead"] = "well"
    """`broken`: a step raised, and its requests are still in it. `dead`: the process has ended.
    After either, the next job gets a new worker."""
    stage: Stage = "work"
    """Where it broke."""
    took: Took = Took()


Reply = Ready | Evaluated | Timed | Failed
