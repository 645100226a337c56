"""The dataflow on one screen.

Suite + Zoo -> Plan of Cells -> Candidate recipes -> Session -> Measurements -> report.
Records are frozen and validated when constructed. Recipes are defined in recipe.py.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from melange.harness.racing.stop import Stop
from melange.harness.recipe import Recipe, known_recipe
from melange.harness.recipe import Record as Record
from melange.harness.roles import Role
from melange.harness.task import Task as Task
from melange.harness.workloads import Workload as Workload
from melange.harness.workloads import one_per_rate

SCHEMA_VERSION = 2
"""Of everything in a run's folder. What earlier versions wrote: runs/upgrades.py."""

LoadFormat = Literal["auto", "dummy"]
"""vLLM's names: weights from files, or random ones for a folder without any.

Such a folder's config.json says `"load_format": "dummy"`; a folder whose files are just missing is
refused.
"""


class Outcome(StrEnum):
    """How a cell ended. Skipped: refused before it started. Failed: broke while it ran. Disputed:
    plain transformers does not confirm its value."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"
    DISPUTED = "disputed"


class EngineOptions(Record):
    """How an engine computes, by vLLM's names. harness/engine_shapes.py decides what is None."""

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    max_model_len: int | None = Field(default=None, ge=2)
    """Context length in tokens, prompt and output together."""
    kv_cache_memory_bytes: int | None = Field(default=None, gt=0)
    kv_cache_dtype: str | None = None
    quantization: str | None = None
    """vLLM's name of the method; None: as the checkpoint's config.json says."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)

    def given(self) -> dict[str, Any]:
        """The options that are not None."""
        return self.model_dump(exclude_none=True)

    def over(self, lower: "EngineOptions") -> "EngineOptions":
        """These options, with those of `lower` where they are None."""
        return lower.model_copy(update=self.given())


class Candidate(Record):
    """A way of combining checkpoints: a recipe, not a folder."""

    name: str
    family: str
    recipe: Annotated[SerializeAsAny[Recipe], BeforeValidator(known_recipe)]
    summary: str = ""
    source: str = ""
    """Paper or document that defines the method."""
    goal: str | None = None
    """Its target checkpoint, a role: the base, fine-tuned for the domains of the expert that steers
    it. Empty if there is none; None in runs of an earlier version."""


class Suite(Record):
    """What to measure, as read from a YAML file."""

    name: str
    title: str = ""
    description: str = ""
    zoo: str = "auto"
    tasks: dict[str, tuple[str, ...]]
    """Task names or globs, by the scale of the zoo; empty to measure only costs."""
    candidates: tuple[dict[str, Any], ...]
    """Entries, each expanded into candidates by a method of baselines/."""
    workloads: Annotated[tuple[Workload, ...], BeforeValidator(one_per_rate)] = ()
    rounds: int = Field(default=24, ge=1)
    """How often each batch is timed at most, the reference candidate in every round. Open loops
    have repetitions of their own."""
    target_ratio_error: float | None = Field(default=0.05, gt=0)
    """A candidate is not timed again on a workload once its speed relative to the reference's is
    known to this: half of the 95 % interval's width. None: all rounds."""
    speed_budget_sec: float | None = Field(default=None, gt=0)
    """No round begins once timing has taken so long."""
    target_relative_error: float | None = Field(default=None, gt=0)
    """Instead of `target_ratio_error`, for runs that are compared with others: all are timed until
    a candidate's speed has at most this relative standard error."""
    reference: str = ""
    """The candidate that throughput is relative to; the largest base, if empty."""
    conventions: str = ""
    """A file of tasks/conventions/: shots and metrics as a paper or leaderboard has them."""
    task_settings: dict[str, dict[str, Any]] = Field(default={})
    """By task, what differs from its entry and from the conventions."""
    limit: int | None = Field(default=None, ge=1)
    """Examples of each task, drawn by seed."""
    race: int | None = Field(default=None, ge=1)
    """Stop asking candidates that so many others are shown to beat; None: ask all everything."""
    seed: int = 0
    engine: EngineOptions = EngineOptions()
    """For every candidate, unless its roles or the command line say otherwise."""

    @property
    def batches(self) -> tuple[Workload, ...]:
        """Workloads whose requests are sent at once."""
        return tuple(one for one in self.workloads if one.request_rate is None)

    @property
    def open_loops(self) -> tuple[Workload, ...]:
        """Workloads whose requests arrive at a rate."""
        return tuple(one for one in self.workloads if one.request_rate is not None)


class EngineShape(Record):
    """What two candidates must share to run in one engine."""

    signature: str
    """Hash of architecture, tensor shapes and tokenizer."""
    max_model_len: int = Field(gt=0)
    """Context length in tokens."""
    dtype: str = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    load_format: LoadFormat = "auto"
    runner: Literal["generate", "pooling"] = "generate"
    """By vLLM's names; reward models are pooling models."""
    kv_cache_bytes: int | None = 256 * 2**20
    """None: as much as vLLM finds free, the default on a GPU."""
    kv_cache_dtype: str = "auto"
    quantization: str | None = None
    gpu_memory_utilization: float | None = None
    max_num_seqs: int = 256


class Measurement(Record):
    """One tidy line of measurements.jsonl; bytes and seconds in storage."""

    schema_version: int = SCHEMA_VERSION
    candidate: str
    family: str
    task: str | None = None
    workload: str | None = None
    metric: str
    value: float | None = None
    unit: str = "fraction"
    n: int | None = None
    """Of a failed cell: the examples whose answers are kept, though they could not be scored."""
    ci_low: float | None = None
    ci_high: float | None = None
    higher_is_better: bool | None = None
    outcome: Outcome = Outcome.COMPLETED
    reason: str = ""
    num_candidates: int | None = None
    """How many candidates of equal kernels were timed in turn for it; None if it alone was, or
    nothing was timed."""
    ends_cell: bool = True
    """False on all lines of a cell but the last: without that one, the cell was cut short."""
    stop: Stop | None = None
    """If a race stopped the candidate: the value is of what was asked until then."""

    @property
    def cell(self) -> tuple[str, str | None]:
        return (self.candidate, self.task or self.workload)


class Cell(Record):
    """A unit of work: one candidate on one task, or its speed and memory (`task` is None)."""

    candidate: str
    task: str | None
    refused: str = ""
    """Why it cannot run; empty if it can."""
    done: bool = False
    """The run's folder already has its records."""

    @property
    def pending(self) -> bool:
        return not (self.refused or self.done)


class Plan(Record):
    """Everything that a run will do, decided before anything starts."""

    suite: Suite
    zoo: str
    scale: str
    tasks: tuple[Task, ...]
    candidates: tuple[Candidate, ...]
    cells: tuple[Cell, ...]
    limit: int | None
    race: int | None = None
    seed: int
    device: Literal["cpu", "cuda"]
    engine: EngineOptions = EngineOptions()
    """Options of the command line and the suite, for every engine."""
    engines: dict[str, EngineOptions] = Field(default={})
    """The same with the zoo's options, by candidate."""
    notes: tuple[str, ...] = ()
    """What the zoo lacks for the suite, and what is wrong with its relations."""
    roles: tuple[Role, ...] = ()
    """The zoo's roles with their relations."""

    def pending(self, candidate: str) -> tuple[Cell, ...]:
        return tuple(c for c in self.cells if c.candidate == candidate and c.pending)

    def speed_is_due(self, candidate: str) -> bool:
        return any(cell.task is None for cell in self.pending(candidate))

    @property
    def speed_waits(self) -> bool:
        """Whether some candidate is still to be timed."""
        return any(cell.task is None and cell.pending for cell in self.cells)

    def candidate(self, name: str) -> Candidate:
        return next(one for one in self.candidates if one.name == name)
