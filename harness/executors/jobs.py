"""What the runner asks of a worker, and what it gets back. Plain data: it crosses processes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from melange.harness.executors.silence import FLOOR_SEC
from melange.harness.records import EngineShape, Task, Workload
from melange.harness.samples import TaskResult

if TYPE_CHECKING:
    from melange.harness.measure.memory import Footprint
    from melange.harness.measure.speed import Round
    from melange.harness.recipes.composite import Composite
    from melange.harness.recipes.logit_mix import LogitMix


class Load(NamedTuple):
    """A candidate as an engine takes it."""

    checkpoint: Path
    mix: "LogitMix | None" = None
    """Where the members beside the base run in the logits processor."""
    members: Sequence[Path] = ()
    """A folder for each member of `mix`."""
    making: "Making | None" = None
    """What writes the checkpoint, if it may not be there yet."""
    base: Path | None = None
    """Of a fused mix, whose config.json is ours: the folder whose tokenizer encodes prompts."""

    panel: "Composite | None" = None
    """What makes one answer of those of `seats`."""
    seats: "Sequence[Seat]" = ()

    @property
    def start(self) -> Path:
        """A checkpoint of its shapes that is there."""
        return self.making.like if self.making else self.checkpoint

    @property
    def tokenizer(self) -> Path:
        return self.base or self.start


class Seat(NamedTuple):
    """A part of a panel, and its engine."""

    load: Load
    shape: EngineShape


class Making(NamedTuple):
    build: Callable[[Path], None]
    """Makes the folder of this path, whole or not at all."""
    like: Path
    """A checkpoint of the same shapes, configuration and tokenizer."""


class Served(NamedTuple):
    """A candidate on its way to an engine."""

    load: Load
    folders: Sequence[Path]
    """Checkpoints with the shapes of every model that serves at once, the base first."""
    parts: "Sequence[Served]" = ()
    """Of a composite, in the order in which they are asked; the rest is the first one's."""


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
    silence_sec: float = FLOOR_SEC
    """A worker whose engine finishes no step for so long is ended; see silence.py."""


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


class Timed(NamedTuple):
    rounds: "Mapping[str, Round]"
    memory: "Footprint"
    """Of all workloads together."""
    yardstick_sec: float
    """See harness.measure.calibration."""
    no_energy: str = ""
    """Why the rounds tell no energy; empty where they do."""


Stage = Literal["start", "load", "tasks", "work"]
"""Of a job: the engine starts, it takes the candidate's weights; we read tasks or score answers,
the engine answers requests."""


class Failed(NamedTuple):
    """The job broke."""

    reason: str
    engine: Literal["well", "broken", "dead"] = "well"
    """`broken`: a step raised, and its requests are still in it. `dead`: the process has ended.
    After either, the next job gets a new engine."""
    stage: Stage = "work"
    """Where it broke."""


class Sign(NamedTuple):
    """Of life: the worker has got on with its job."""

    stage: Stage


class Ready(NamedTuple):
    start_sec: float


Reply = Ready | Evaluated | Timed | Failed
