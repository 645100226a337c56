"""A run's manifest: everything that is needed to show the run, and to repeat it."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from melange.harness.errors import HarnessError
from melange.harness.recipe import Recipe
from melange.harness.records import (
    Candidate,
    Cell,
    Suite,
    Task,
    Workload,
)
from melange.harness.references import Reference
from melange.harness.roles import Role, Roles
from melange.harness.runs.upgrades import upgraded_manifest


class Described(BaseModel):
    """A recipe's description, which can be read without knowing its kind."""

    model_config = ConfigDict(frozen=True, extra="allow")

    title: str
    parts: tuple[tuple[str, str], ...] = ()
    """Label and text of each ingredient and option."""
    inputs: tuple[str, ...] = ()
    """Roles of the zoo, or absolute folders."""
    base: str = ""
    """The role that it starts from; empty if there is none."""
    experts: tuple[str, ...] = ()
    """Tuned roles, or adapters, that steer the base."""
    antiexperts: tuple[str, ...] = ()
    """What the experts were tuned from, if the base is steered by their difference."""
    plain_role: str = ""
    """The role, if the recipe is one role unchanged; else empty."""


def described(recipe: Recipe, roles: Roles) -> Described:
    said = recipe.describe()
    base = said.base or next(map(roles.origin, recipe.inputs), "")
    named = said._replace(base=base)._asdict()
    return Described(**named, inputs=recipe.inputs, plain_role=recipe.plain_role)


class Manifest(BaseModel):
    """What was run, where and with what. Keys that this version does not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    schema_version: int
    suite: Suite | None = None
    zoo: dict[str, Any] = {}
    roles: tuple[Role, ...] = ()
    """The zoo's roles; empty in runs of older versions."""
    notes: tuple[str, ...] = ()
    """What the zoo lacked for the suite."""
    references: tuple[Reference, ...] = ()
    """Papers' figures of the zoo's checkpoints."""
    seed: int | None = None
    limit: int | None = None
    limit_rows: Literal["first", "drawn"] = "first"
    """Which rows a limit leaves: the first of each task, as earlier versions took, or rows drawn by
    the seed."""
    race: dict[str, Any] = {}
    """The rule by which candidates were stopped, see harness/racing; empty if none could be. The
    decisions are in the measurements."""
    device: str = ""
    engine: dict[str, Any] = {}
    """Options for every engine."""
    engines: dict[str, dict[str, Any]] = {}
    """By candidate, how it was computed: dtype, context length and so on, by vLLM's names."""
    engine_options: dict[str, dict[str, Any]] = {}
    """By candidate, the options for its engine; missing if unknown."""
    measured_as: dict[str, str] = {}
    """By candidate, the first of those of equal kernels that were timed in turn as one; missing if
    it was timed alone."""
    command: str | list[str] = ""
    candidates: tuple[Candidate, ...] = ()
    descriptions: dict[str, Described] = {}
    """By candidate."""
    metrics: tuple[dict[str, Any], ...] = ()
    """Declarations of the version that measured; see harness.measure.metric.Metric."""
    tasks: tuple[Task, ...] = ()
    task_definitions: dict[str, str] = {}
    """By task, a hash that changes with its prompts or its scoring."""
    task_rows: dict[str, str] = {}
    """By task, a hash of its documents; missing if unknown."""
    workloads: tuple[Workload, ...] = ()
    cells: tuple[Cell, ...] = ()
    rescored: tuple[dict[str, Any], ...] = ()
    """When kept answers were scored again, of which tasks, and by which versions."""
    checks: dict[str, Any] = {}
    """Number of examples of each kind to check, and results; empty in runs of older versions."""
    versions: dict[str, Any] = {}
    hardware: dict[str, Any] = {}
    git_revision: str | None = None
    started: str | None = None
    finished: str | None = None
    timings: dict[str, Any] = Field(default={})

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the zoo's checkpoints, by role."""
        known = self.zoo.get("fingerprints")
        return known if isinstance(known, dict) else {}


def read_manifest(path: Path) -> Manifest:
    """
    Raises:
        HarnessError: it is missing, malformed, or of a newer schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise HarnessError(
            f"{path} does not exist, so {path.parent} is not a run's folder; see --out"
        ) from None
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}; pass another --out") from None
    except ValueError as error:
        raise HarnessError(f"{path} is not JSON ({error}); restore it, or pass --out") from error
    try:
        return Manifest.model_validate(upgraded_manifest(path, content))
    except ValidationError as error:
        raise HarnessError(f"{path}: {first_problem(error)}; restore it, or pass --out") from error


def first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'record'}: {problem['msg']}"
