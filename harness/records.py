"""The dataflow on one screen.

Suite + Zoo -> Plan of Cells -> Candidate recipes -> Session -> Measurements -> report.
Records are frozen and validated when constructed. Recipes are defined in recipe.py.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, SerializeAsAny, model_validator

from melange.harness.racing.stop import Stop
from melange.harness.recipe import Recipe, known_recipe
from melange.harness.recipe import Record as Record
from melange.harness.roles import Role

SCHEMA_VERSION = 2
"""Of everything in a run's folder. What earlier versions wrote: runs/upgrades.py."""

LoadFormat = Literal["auto", "dummy"]
"""vLLM's names: weights from files, or random ones for a folder without any.

Such a folder's config.json says `"load_format": "dummy"`; a folder whose files are just missing is
refused.
"""


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Outcome(StrEnum):
    """How a cell ended. Skipped: refused before it started. Failed: broke while it ran. Disputed:
    plain transformers does not confirm its value."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"
    DISPUTED = "disputed"


class Task(Record):
    """A task, and what a report needs to know about it."""

    name: str
    evaluator: str = "lm-eval"
    """Which of harness.evaluators.EVALUATORS evaluates candidates on it."""
    lm_eval: str
    """lm-eval's task name, or the path of the YAML that defines the task, for any evaluator."""
    scale: Literal["pocket", "public"]
    domain: str
    output_type: Literal["generate_until", "multiple_choice", "loglikelihood", ""] = ""
    """lm-eval's; empty for a task of another evaluator."""
    primary_metric: str
    filter: str = "none"
    chance: float = 0.0
    higher_is_better: bool = True
    num_fewshot: int | None = None
    chat: bool = False
    """Render prompts through the tokenizer's chat template."""
    split: Literal["held_out", "tuning", "shifted"] = "held_out"
    shifted_of: str | None = None
    source: str = ""
    cluster_by: str = ""
    """The column by which examples about the same fact or passage are grouped; may be empty."""
    unsafe_code: bool = False
    """Scoring executes what the model wrote."""

    sums_probabilities: bool = False
    """Its metric needs the choices' probabilities, not only the most likely choice."""

    @property
    def likelihood(self) -> bool:
        return self.output_type != "generate_until"

    @model_validator(mode="after")
    def says_what_lm_eval_asks(self) -> "Task":
        if self.evaluator == "lm-eval" and not self.output_type:
            raise ValueError("output_type is missing; lm-eval asks by it")
        return self


class Workload(Record):
    """A synthetic load: `num_requests` requests, sent at once."""

    name: str
    prompt_tokens: int = Field(gt=0)
    output_tokens: int = Field(gt=0)
    num_requests: int = Field(gt=0)
    mixed: bool = False
    """Draw each request's lengths uniformly from 1 to the given ones."""

    def cut_to(self, max_model_len: int) -> "Workload":
        """The workload, cut so that prompt and output fit the context.

        The longer of the two is cut first; if the other exceeds half of the context, both get half.
        """
        prompt, output = self.prompt_tokens, self.output_tokens
        if prompt + output <= max_model_len:
            return self
        shorter = max(1, min(prompt, output, max_model_len // 2))
        longer = max(1, max_model_len - shorter)
        sides = (longer, shorter) if prompt >= output else (shorter, longer)
        return self.model_copy(update={"prompt_tokens": sides[0], "output_tokens": sides[1]})


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
    workloads: tuple[Workload, ...] = ()
    rounds: int = Field(default=3, ge=1)
    """How often each workload is timed, the reference candidate in every round."""
    target_relative_error: float | None = Field(default=None, gt=0)
    """Rounds end early once a candidate's speed has at most this relative standard error."""
    reference: str = ""
    """The candidate that throughput is relative to; the largest base, if empty."""
    limit: int | None = Field(default=None, ge=1)
    race: int | None = Field(default=None, ge=1)
    """Stop asking candidates that so many others are shown to beat; None: ask all everything."""
    seed: int = 0
    engine: EngineOptions = EngineOptions()
    """For every candidate, unless its roles or the command line say otherwise."""


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
    ci_low: float | None = None
    ci_high: float | None = None
    higher_is_better: bool | None = None
    outcome: Outcome = Outcome.COMPLETED
    reason: str = ""
    ends_cell: bool = True
    """False on all lines of a cell but the last: without that one, the cell was cut short."""
    stop: Stop | None = None
    """If a race stopped the candidate: the value is of what was asked until then."""

    @property
    def cell(self) -> tuple[str, str | None]:
        return (self.candidate, self.task or self.workload)


class RoundLine(Record):
    """One line of rounds.jsonl: a candidate on a workload in one round; times in seconds."""

    schema_version: int = SCHEMA_VERSION
    candidate: str
    workload: str
    round: int = Field(ge=0)
    """From 0. Candidates take turns: all run their first round before any runs its second."""
    started: str
    """ISO 8601, in UTC."""
    prompt_tokens: int
    output_tokens: int
    wall_sec: Amount
    prefill_tokens_per_sec: Amount
    decode_tokens_per_sec: Amount | None
    ttft_sec: tuple[Amount, ...]
    """Of each request: time to its first token; `latency_sec` to its last."""
    latency_sec: tuple[Amount, ...]
    tpot_sec: tuple[Amount, ...]
    """Per token after the first, of each request with more than one."""
    reference_wall_sec: Amount | None = None
    """The reference candidate's, on this workload in this round."""
    calibration_sec: Amount | None = Field(
        default=None, validation_alias=AliasChoices("calibration_sec", "yardstick_sec")
    )
    """Of fixed work outside the engine, beside this round: a slower machine takes longer over it,
    a slower engine does not. Older lines call it `yardstick_sec`."""
    energy_joules: Amount | None = None


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

    @property
    def speed_waits(self) -> bool:
        """Whether some candidate is still to be timed."""
        return any(cell.task is None and cell.pending for cell in self.cells)

    def candidate(self, name: str) -> Candidate:
        return next(one for one in self.candidates if one.name == name)
