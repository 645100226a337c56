"""What the runner asks of a worker, and what it gets back. Plain data: it crosses processes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.measure.memory import Footprint
from harness.measure.speed import Round
from harness.records import EngineShape, LogitMix, Task, Weights, Workload
from harness.samples import TaskResult


class Load(NamedTuple):
    """A candidate as an engine takes it."""

    checkpoint: Path
    mix: LogitMix | None = None
    """Where the members beside the base run in the logits processor."""
    members: Sequence[Path] = ()
    """A folder for each member of `mix`."""
    streamed: "Streamed | None" = None
    """Weights that flow into the engine in place of the checkpoint's."""
    base: Path | None = None
    """Of a fused mix, whose config.json is ours: the folder whose tokenizer encodes prompts."""

    @property
    def tokenizer(self) -> Path:
        return self.base or self.checkpoint


class Streamed(NamedTuple):
    """A recipe that the worker carries out in memory."""

    name: str
    recipe: Weights
    inputs: Mapping[str, Path]


class Start(NamedTuple):
    """Start an engine with these weights, in place of the one that runs."""

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
    """One round of every workload; the engine's first is preceded by a short one that does not
    count."""

    load: Load
    workloads: Sequence[Workload]
    seed: int


class Stop(NamedTuple):
    pass


Job = Start | Evaluate | Time | Stop


class Evaluated(NamedTuple):
    results: Sequence[TaskResult]
    engine_sec: float
    """Seconds inside the engine; the rest of the job is the harness's own."""
    build_sec: float | None = None
    """Seconds that streamed weights took until they were loaded."""


class Timed(NamedTuple):
    rounds: Mapping[str, Round]
    memory: Footprint
    """Of all workloads together."""
    yardstick_sec: float
    """See harness.measure.yardstick."""
    no_energy: str = ""
    """Why the rounds tell no energy; empty where they do."""
    build_sec: float | None = None
    """Seconds that streamed weights took until they were loaded."""


class Failed(NamedTuple):
    """The job broke, the worker lives."""

    reason: str


class Ready(NamedTuple):
    start_sec: float


Reply = Ready | Evaluated | Timed | Failed
