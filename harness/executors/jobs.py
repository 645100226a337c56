"""Jobs for executors, and their replies. Plain data that crosses processes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from melange.harness.loads import Load
from melange.harness.measure.open_loop import OpenLoop
from melange.harness.measure.speed import Reading, Round
from melange.harness.racing.batches import Share
from melange.harness.records import EngineShape, Task, Workload
from melange.harness.samples import TaskResult


class TaskSet(NamedTuple):
    """The tasks that candidates may be evaluated on; sent to a worker once."""

    entries: Mapping[str, tuple[Task, Sequence[Any]]]
    """Name -> (entry, sources for lm-eval)."""
    limit: int | None
    """Examples per task; None: all."""
    seed: int


NO_TASKS = TaskSet({}, None, 0)


class Start(NamedTuple):
    """Start the engine and do nothing else, so that several start side by side before timing."""

    load: Load
    shape: EngineShape


class Evaluate(NamedTuple):
    load: Load
    shape: EngineShape
    """Of the engine that serves it."""
    tasks: Sequence[str]
    share: Share | None = None
    """Of the tasks' examples; None: all."""


class Time(NamedTuple):
    """One round of every workload. An engine's first round follows a warm-up round, which is not
    recorded."""

    load: Load
    shape: EngineShape
    workloads: Sequence[Workload]
    seed: int


class Drive(NamedTuple):
    """One repetition of open loops, one after the other."""

    load: Load
    shape: EngineShape
    workloads: Sequence[Workload]
    seed: int


class Weigh(NamedTuple):
    """Count the activations of the workloads, while nothing is timed."""

    load: Load
    shape: EngineShape
    workloads: Sequence[Workload]
    seed: int


Job = Start | Evaluate | Time | Weigh | Drive


class Took(NamedTuple):
    """How long a job took, in its worker."""

    sec: float = 0.0
    start_sec: float = 0.0
    """Part of them: starting engines."""
    is_first: bool = False
    """Its worker's first job, which includes importing lm-eval and reading the tasks."""


class Ready(NamedTuple):
    took: Took = Took()


class Evaluated(NamedTuple):
    results: Sequence[TaskResult]
    engine_sec: float
    """Seconds inside the engine; the rest is the harness's."""
    took: Took = Took()


class Timed(NamedTuple):
    rounds: Mapping[str, Round]
    """By workload."""
    readings: Mapping[str, Reading]
    """Of all workloads together, by metric."""
    took: Took = Took()


class Driven(NamedTuple):
    loops: Mapping[str, OpenLoop]
    """By workload."""
    took: Took = Took()


class Weighed(NamedTuple):
    activation_bytes: int
    took: Took = Took()


Stage = Literal["start", "load", "tasks", "work"]
"""What a job is doing: starting the engine, loading weights, reading tasks or scoring answers,
waiting for the engine's answers."""


class Sign(NamedTuple):
    """A sign of life: the worker makes progress."""

    stage: Stage


class Failed(NamedTuple):
    """The job broke."""

    reason: str
    engine: Literal["well", "broken", "dead"] = "well"
    """`broken`: a step raised, and left its requests in the engine. `dead`: the process has ended.
    After either, the next job gets a new worker."""
    stage: Stage = "work"
    """Where it broke."""
    took: Took = Took()


Reply = Ready | Evaluated | Timed | Weighed | Driven | Failed
