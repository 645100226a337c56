"""Where lm-eval loads each task from: its YAML, and what replaces the dataset it names."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from melange.harness.records import Task
from melange.tasks.public.definitions import read_definition
from melange.tasks.public.local import data_root, hub_commit, local_dataset, members

POCKET = Path(__file__).parent / "pocket"
PLACEHOLDER = "${POCKET_DATA}"

Source = str | dict[str, Any]
"""A task name that lm-eval knows, or a configuration that includes a YAML file by path."""


def task_sources(tasks: Iterable[Task], pocket_data: Path | None) -> dict[str, list[Source]]:
    """By task; a task of several parts (mmlu's subjects) has a source for each."""
    return {
        task.name: [_pocket_source(task, pocket_data)]
        if task.scale == "pocket" and pocket_data
        else [_public_source(part) for part in members(task)]
        for task in tasks
    }


def pocket_data(world_seed: int, cache: Path) -> Path:
    """The folder with the pocket tasks' rows, written when the cache lacks it."""
    folder = cache / "tasks" / f"pocket-{world_seed}-{_generator_hash()}"
    if not folder.is_dir():
        from melange.tasks.pocket.data import write_task_data

        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        write_task_data(world_seed, scratch)
        try:
            scratch.rename(folder)
        except OSError:  # another run was faster
            shutil.rmtree(scratch)
    return folder


def definition_hash(task: Task) -> str:
    """A hash that changes with the task's prompts or its scoring.

    Over its YAML with what that includes, and over the code beside a public task's YAML, whatever
    package the code imports from. Not over pocket tasks' rows: comparisons look at the prompts and
    targets themselves, resumed runs at `rows_hash`.
    """
    digest = hashlib.sha256()
    for part in members(task):
        path = Path(part.lm_eval)
        if path.suffix != ".yaml":
            digest.update(part.lm_eval.encode())
            continue
        definition = dict(read_definition(path))
        metadata = definition.pop("metadata", None) or {}  # the rest of it is for reports
        digest.update(json.dumps([definition, metadata.get("version")], sort_keys=True).encode())
        if task.scale == "public":
            for code in sorted(path.parent.glob("*.py")):
                digest.update(code.read_bytes().replace(b" melange.", b" "))
    return digest.hexdigest()[:12]


def rows_hash(task: Task, sources: Iterable[Source]) -> str:
    """A hash of the task's documents: of the files that they are read from, or of the commit of the
    data set in the hub's cache.

    Empty if neither is known before lm-eval loads them.
    """
    digest, found = hashlib.sha256(), []
    for part, source in zip(members(task), sources, strict=True):
        given = source if isinstance(source, dict) else {}
        files = (given.get("dataset_kwargs") or {}).get("data_files") or {}
        commit = "" if files else hub_commit(part)
        found.append(bool(files or commit))
        digest.update(commit.encode())
        for split, path in sorted(files.items()):
            digest.update(split.encode() + Path(path).read_bytes())
    return digest.hexdigest()[:12] if found and all(found) else ""


def _pocket_source(task: Task, folder: Path) -> Source:
    files = read_definition(Path(task.lm_eval))["dataset_kwargs"]["data_files"]
    here = {split: file.replace(PLACEHOLDER, str(folder)) for split, file in files.items()}
    return {"include": task.lm_eval, "dataset_kwargs": {"data_files": here}}


def _public_source(part: Task) -> Source:
    if not part.lm_eval.endswith(".yaml"):
        return part.lm_eval
    return {"include": part.lm_eval} | (local_dataset(part, data_root()) or {})


def _generator_hash() -> str:
    digest = hashlib.sha256()
    for file in sorted(POCKET.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
