"""Engines of the benchmarks. They stay open until the process ends: vLLM's engines in one process
share distributed state, and closing one breaks the others."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from melange.baselines.proxy.tuning import Pair, mix_members
from melange.harness.checkpoints.info import inspect
from melange.harness.engine_shapes import shape_of
from melange.harness.engines.fused.folder import is_fused, read_folder
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.records import Task
from melange.tasks.registry import load_tasks
from melange.tasks.sources import task_sources

Entries = Mapping[str, tuple[Task, Sequence[Any]]]


@cache
def open_session(folder: Path) -> Any:
    """A session for the folder, with a run's options."""
    from melange.harness.engines.session import EngineSession

    members = read_folder(folder).members if is_fused(folder) else [folder]
    return EngineSession(folder, shape_of([inspect(one) for one in members], folder, "cpu"))


@cache
def open_plain(folder: Path) -> Any:
    """vLLM without our options, but in this process and uncompiled, like ours."""
    from vllm import LLM

    import melange.harness.engines.environment  # noqa: F401 (before vllm)

    return LLM(
        str(folder),
        dtype="float32",
        max_model_len=inspect(folder).context_length,
        enforce_eager=True,
        distributed_executor_backend="uni",
        kv_cache_memory_bytes=256 * 2**20,
    )


def proxy_mix(base: str, expert: str, antiexpert: str) -> LogitMix:
    pair = Pair(expert=expert, antiexpert=antiexpert)
    return LogitMix(method="proxy", members=mix_members(base, [pair]))


def pocket_entries(rows: Path, *names: str, **changes: Any) -> Entries:
    """Pocket tasks as entries of an examination; all if no name is given."""
    tasks = [
        task.model_copy(update=changes)
        for task in load_tasks().values()
        if task.name in names or (not names and task.name.startswith("pocket_"))
    ]
    sources = task_sources(tasks, rows)
    return {task.name: (task, sources[task.name]) for task in tasks}
