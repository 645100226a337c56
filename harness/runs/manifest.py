"""A run's manifest: everything that is needed to show the run, and to repeat it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from melange.harness.errors import HarnessError
from melange.harness.metrics import METRICS
from melange.harness.recipe import Recipe
from melange.harness.records import (
    SCHEMA_VERSION,
    Candidate,
    Cell,
    EngineShape,
    Plan,
    Record,
    Reference,
    Suite,
    Task,
    Workload,
)
from melange.harness.roles import Role, Roles
from melange.harness.runs.environment import git_revision, hardware, versions
from melange.harness.runs.upgrades import upgraded_manifest
from melange.harness.verdicts import Check, by_candidate, tally


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
    device: str = ""
    engine: dict[str, Any] = {}
    """Options for every engine."""
    engines: dict[str, dict[str, Any]] = {}
    """By candidate, how it was computed: dtype, context length and so on, by vLLM's names."""
    engine_options: dict[str, dict[str, Any]] = {}
    """By candidate, the options for its engine; missing if unknown."""
    measured_as: dict[str, str] = {}
    """Candidate -> the first candidate of those that run the same kernels and were timed as one."""
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


class Inputs(NamedTuple):
    """Hashes of the inputs of a plan's cells."""

    fingerprints: Mapping[str, str]
    """Of the zoo's checkpoints, by role."""
    definitions: Mapping[str, str]
    """Of the tasks, by name."""
    rows: Mapping[str, str]
    """Of the tasks' documents, if known before lm-eval loads them."""


@dataclass(frozen=True, kw_only=True)
class RunState:
    """What a manifest says in addition to the plan."""

    command: Sequence[str]
    inputs: Inputs
    timings: Mapping[str, float]
    started: datetime
    finished: datetime | None
    """None until all is measured."""
    engines: Mapping[str, EngineShape]
    """By candidate."""
    num_checks: int = 0
    """Examples of each kind that are checked against transformers; 0: the check is off."""
    checks: Sequence[Check] = ()
    references: Sequence[Reference] = ()
    """Papers' figures of the zoo's checkpoints."""


def make_manifest(plan: Plan, before: Manifest | None, state: RunState) -> dict[str, Any]:
    """Plain data, ready for JSON.

    `before`: the manifest of the run that this one resumes. Its candidates and tasks are kept,
    since `--only` and `--tasks` narrow the plan but not the folder's content.
    """
    before = before or Manifest(schema_version=SCHEMA_VERSION)
    return {
        "schema_version": SCHEMA_VERSION,
        **_planned(plan, before),
        **_computed(plan, before, state),
        "zoo": {"name": plan.zoo, "scale": plan.scale,
                "fingerprints": before.fingerprints | dict(state.inputs.fingerprints)},
        "task_definitions": before.task_definitions | dict(state.inputs.definitions),
        "task_rows": before.task_rows | dict(state.inputs.rows),
        "metrics": [asdict(one) for one in METRICS],
        "command": " ".join(state.command),
        "checks": _checked(state),
        "references": [one.model_dump(mode="json") for one in state.references],
        "versions": versions(),
        "hardware": hardware(),
        "git_revision": git_revision(),
        "started": before.started or state.started.isoformat(timespec="seconds"),
        "finished": state.finished and state.finished.isoformat(timespec="seconds"),
        "timings": _added(before.timings, state.timings),
    }  # fmt: skip


def _planned(plan: Plan, before: Manifest) -> dict[str, Any]:
    told = {name: one.model_dump(mode="json") for name, one in before.descriptions.items()}
    roles = Roles(plan.roles)
    now = {
        one.name: described(one.recipe, roles).model_dump(mode="json") for one in plan.candidates
    }
    return {
        "suite": plan.suite.model_dump(mode="json"),
        "roles": [one.model_dump(mode="json", exclude_defaults=True) for one in plan.roles],
        "notes": list(plan.notes),
        "seed": plan.seed,
        "limit": plan.limit,
        "device": plan.device,
        "candidates": _union(before.candidates, plan.candidates, "name"),
        "descriptions": told | now,
        "tasks": _union(before.tasks, plan.tasks, "name"),
        "cells": _union(before.cells, plan.cells, "candidate", "task"),
    }


def _computed(plan: Plan, before: Manifest, state: RunState) -> dict[str, Any]:
    shapes = {name: _computing(shape) for name, shape in state.engines.items()}
    shortest = min((one.max_model_len for one in state.engines.values()), default=None)
    workloads = [one.cut_to(shortest) if shortest else one for one in plan.suite.workloads]
    asked = {name: one.given() for name, one in plan.engines.items()}
    return {
        "engine": plan.engine.given(),
        "engines": before.engines | shapes,
        "engine_options": before.engine_options | asked,
        "workloads": [one.model_dump(mode="json") for one in workloads],
    }


def _checked(state: RunState) -> dict[str, Any]:
    found = by_candidate(state.checks).items()
    return {
        "examples": state.num_checks,
        "candidates": {name: tally(lines).sentence for name, lines in found},
    }


def _added(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """Seconds by phase, summed over the first run and all resumptions."""
    return {name: round(seconds + before.get(name, 0.0), 3) for name, seconds in now.items()}


def _computing(shape: EngineShape) -> dict[str, Any]:
    """How a candidate was computed, by vLLM's names."""
    return {
        "dtype": shape.dtype,
        "max_model_len": shape.max_model_len,
        "kv_cache_memory_bytes": shape.kv_cache_bytes,
        "kv_cache_dtype": shape.kv_cache_dtype,
        "quantization": shape.quantization,
        "gpu_memory_utilization": shape.gpu_memory_utilization,
    }


def _union(before: Sequence[Record], now: Sequence[Record], *keys: str) -> list[dict[str, Any]]:
    """New records, then earlier ones with other keys."""
    known: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in (*now, *before):
        fields = one.model_dump(mode="json", exclude={"done"})
        known.setdefault(tuple(fields[key] for key in keys), fields)
    return list(known.values())
