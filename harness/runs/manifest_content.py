"""Writes what a run is made of into its manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from melange.harness.metrics import METRICS
from melange.harness.racing.batches import ENDS
from melange.harness.records import SCHEMA_VERSION, EngineShape, Plan, Record, Task
from melange.harness.references import Reference
from melange.harness.roles import Roles
from melange.harness.runs.environment import git_revision, hardware, versions
from melange.harness.runs.manifest import Manifest, described
from melange.harness.stats.betting import ALPHA
from melange.harness.verdicts import Check, by_candidate, tally


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
    measured_as: Mapping[str, str] = field(default_factory=dict)
    """By candidate that was timed now, the first of those that were timed as one with it."""
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
        "rescored": list(before.rescored),
        "checks": _checked(state),
        "references": [one.model_dump(mode="json") for one in state.references],
        "versions": versions(),
        "hardware": hardware(),
        "git_revision": git_revision(),
        "started": before.started or state.started.isoformat(timespec="seconds"),
        "finished": state.finished and state.finished.isoformat(timespec="seconds"),
        "timings": _added(before.timings, state.timings),
    }  # fmt: skip


def rescored_manifest(
    before: Manifest, tasks: Sequence[Task], now: Inputs, when: datetime
) -> dict[str, Any]:
    """The manifest after the kept answers to these tasks were scored again."""
    names = [one.name for one in tasks]
    note = {
        "when": when.isoformat(timespec="seconds"),
        "tasks": names,
        "versions": versions(),
        "git_revision": git_revision(),
    }
    return before.model_dump(mode="json") | {
        "schema_version": SCHEMA_VERSION,
        "tasks": _union(before.tasks, tasks, "name"),
        "task_definitions": before.task_definitions | _of(names, now.definitions),
        "task_rows": before.task_rows | _of(names, now.rows),
        "rescored": [*before.rescored, note],
    }


def _of(names: Sequence[str], found: Mapping[str, str]) -> dict[str, str]:
    return {name: found[name] for name in names if name in found}


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
        "limit_rows": "drawn",
        "race": _race(plan),
        "device": plan.device,
        "candidates": _union(before.candidates, plan.candidates, "name"),
        "descriptions": told | now,
        "tasks": _union(before.tasks, plan.tasks, "name"),
        "cells": _union(before.cells, plan.cells, "candidate", "task"),
    }


def _race(plan: Plan) -> dict[str, Any]:
    if plan.race is None:
        return {}
    return {"top": plan.race, "alpha": ALPHA, "batches_end_at": list(ENDS)}


def _computed(plan: Plan, before: Manifest, state: RunState) -> dict[str, Any]:
    shapes = {name: _computing(shape) for name, shape in state.engines.items()}
    contexts = sorted({one.max_model_len for one in state.engines.values()}, reverse=True)
    asked_for = plan.suite.workloads
    cut = dict.fromkeys(one.cut_to(length) for one in asked_for for length in contexts)
    asked = {name: one.given() for name, one in plan.engines.items()}
    return {
        "engine": plan.engine.given(),
        "engines": before.engines | shapes,
        "measured_as": before.measured_as | dict(state.measured_as),
        "engine_options": before.engine_options | asked,
        "workloads": [one.model_dump(mode="json") for one in cut or asked_for],
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
