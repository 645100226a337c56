"""What a run's manifest.json says."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import melange.harness.recipes.logit_mix
import melange.harness.recipes.weights  # noqa: F401
from melange.harness.errors import HarnessError
from melange.harness.records import Candidate, Cell, Suite, Task, Workload
from melange.harness.roles import Role
from melange.reports.lines import check_schema, first_problem


class Manifest(BaseModel):
    """What was run, where and with what. Keys that this version does not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    schema_version: int
    suite: Suite | None = None
    zoo: dict[str, Any] = {}
    roles: tuple[Role, ...] = ()
    """The zoo's; none in runs of older versions."""
    notes: tuple[str, ...] = ()
    """What the zoo lacked for the suite."""
    seed: int | None = None
    limit: int | None = None
    device: str = ""
    engine: dict[str, Any] = {}
    """Options that were asked of every engine."""
    engines: dict[str, dict[str, Any]] = {}
    """By candidate, how it was computed: dtype, context and so on, by vLLM's names."""
    command: str | list[str] = ""
    candidates: tuple[Candidate, ...] = ()
    tasks: tuple[Task, ...] = ()
    task_definitions: dict[str, str] = {}
    """By task, a hash that changes when it would ask or score otherwise."""
    workloads: tuple[Workload, ...] = ()
    cells: tuple[Cell, ...] = ()
    checks: dict[str, Any] = {}
    """How many examples of each kind were to be checked; empty in runs of older versions."""
    versions: dict[str, Any] = {}
    hardware: dict[str, Any] = {}
    git_revision: str | None = None
    started: str | None = None
    finished: str | None = None
    timings: dict[str, Any] = Field(default={})


def read_manifest(path: Path) -> Manifest:
    """
    Raises:
        HarnessError: there is none, or it is malformed or of a newer schema.
    """
    if not path.is_file():
        raise HarnessError(f"{path} does not exist, so {path.parent} is no run's folder; see --out")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HarnessError(f"{path} is not JSON ({error}); run the suite again") from error
    check_schema(path, content)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise HarnessError(f"{path}: {first_problem(error)}; run the suite again") from error


def computing(settings: dict[str, Any]) -> str:
    """As `float32, context of 256 tokens, KV cache of 256 MiB`."""
    parts = [f"{settings['dtype']}, context of {settings['max_model_len']:,} tokens"]
    if settings.get("kv_cache_memory_bytes"):
        parts.append(f"KV cache of {settings['kv_cache_memory_bytes'] / 2**20:,.0f} MiB")
    more = ("kv_cache_dtype", "quantization", "gpu_memory_utilization")
    parts += [
        f"{name}={settings[name]}" for name in more if settings.get(name) not in (None, "auto")
    ]
    return ", ".join(parts)
