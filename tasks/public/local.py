"""Where a task's examples come from: local files, the hub's cache, or the hub.

MELANGE_DATA=DIR names a folder of files in the public dataset's own schema:
DIR/<task>/<split>.jsonl or .parquet, such as DIR/gsm8k/test.jsonl. A task of several parts has a
folder for each: DIR/mmlu_anatomy/test.jsonl. The splits' names are those of the task's YAML.
"""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError
from melange.harness.records import Task
from melange.tasks.public import hub
from melange.tasks.public.definitions import Definition, lm_eval_folder, read_definition
from melange.tasks.public.needs import scorer_lacks

DATA = "MELANGE_DATA"
FORMATS = {".jsonl": "json", ".parquet": "parquet"}
# In the order in which lm-eval looks for worked examples.
SPLITS = ("fewshot_split", "training_split", "validation_split", "test_split")


def data_root() -> Path | None:
    """The folder that MELANGE_DATA names; None where it is not set.

    Raises:
        HarnessError: there is no such folder.
    """
    if not (given := os.environ.get(DATA)):
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise HarnessError(f"{DATA}={given}: no such folder; it should have <task>/<split>.jsonl.")
    return folder


def members(task: Task) -> tuple[Task, ...]:
    """The lm-eval tasks that make up this one: itself, or its parts (mmlu's subjects).

    A part is named as its YAML file. The score of the whole is the mean over all examples.
    """
    if "*" not in task.lm_eval:
        return (task,)
    pattern = Path(task.lm_eval)
    parts = sorted(pattern.parent.glob(pattern.name))
    return tuple(task.model_copy(update={"name": p.stem, "lm_eval": str(p)}) for p in parts)


def local_dataset(task: Task, root: Path | None = None) -> dict[str, Any] | None:
    """lm-eval configuration keys that put local files in the place of the hub's dataset.

    `task` is one of `members`. None: leave the configuration as it is. A download of the
    dataset's repository in the hub's cache serves as well.

    Raises:
        HarnessError: the task's folder is there, and a split that is needed is not.
    """
    folder = root / task.name if root else None
    if folder and folder.is_dir():
        return _from_files(task, folder)
    definition = _definition(task)
    repo = definition.get("dataset_path", "")
    if not repo or hub.dataset_prepared(repo, definition.get("dataset_name")):
        return None
    downloaded = hub.dataset_snapshot(repo)
    return {"dataset_path": str(downloaded)} if downloaded else None


def hub_commit(task: Task) -> str:
    """Of the data set's repository in the hub's cache; empty where it is not there. `task` is one
    of `members`."""
    found = hub.snapshot(_definition(task).get("dataset_path") or "", kind="datasets")
    return found.name if found else ""


def _from_files(task: Task, folder: Path) -> dict[str, Any]:
    definition = _definition(task)
    splits = {definition.get(key) for key in SPLITS}
    found = sorted(path for path in folder.iterdir() if path.suffix in FORMATS)
    files = {path.stem: path for path in found if path.stem in splits}
    for split, purpose in _needed_splits(task, definition).items():
        if split not in files:
            raise HarnessError(
                f"{task.name}: {folder} has no {split}.jsonl or {split}.parquet, from which its "
                f"{purpose} come; found: {_names(found) or 'neither kind of file'}."
            )
    suffixes = {path.suffix for path in files.values()}
    if len(suffixes) > 1:
        raise HarnessError(f"{task.name}: {folder} mixes .jsonl and .parquet; use one of them.")
    absent = {key: None for key in SPLITS if definition.get(key) not in {None, *files}}
    data_files = {split: str(path.resolve()) for split, path in files.items()}
    return absent | {
        "dataset_path": FORMATS[suffixes.pop()],
        "dataset_name": None,
        "dataset_kwargs": {"data_files": data_files},
    }


def _names(files: Iterable[Path]) -> str:
    return ", ".join(path.name for path in files)


def _needed_splits(task: Task, definition: Definition) -> dict[str, str]:
    """Split -> what it is for; lm-eval's order of preference."""
    scored = definition.get("test_split") or definition["validation_split"]
    shots = task.num_fewshot if task.num_fewshot is not None else definition.get("num_fewshot")
    shown = next((definition[key] for key in SPLITS if definition.get(key)), None)
    return {scored: "examples"} | ({shown: f"{shots} worked examples"} if shots and shown else {})


def availability(task: Task, root: Path | None = None) -> str:
    """Why the task cannot be run here, in one line; empty where it can.

    `root` is MELANGE_DATA unless given. Reads folders; asks the hub once if all else fails.
    """
    if task.scale == "pocket":
        return ""
    return scorer_lacks(task) or _data_lacks(task, root or data_root())


def _data_lacks(task: Task, root: Path | None) -> str:
    parts = members(task)
    if not parts:
        return f"{task.name}: lm-eval has no {task.lm_eval}; install lm-eval 0.4.13: `make run`."
    try:
        lacking = [part for part in parts if not _has_data(part, root)]
    except HarnessError as error:
        return str(error)
    if not lacking or hub.reachable():
        return ""
    repo = _definition(lacking[0]).get("dataset_path")
    which = f" for {len(lacking)} of {len(parts)} parts" if len(parts) > 1 else ""
    why = "the environment forbids asking the hub" if hub.offline() else "the hub does not answer"
    return (
        f"{task.name}: dataset {repo} is neither in the hub's cache nor under {DATA}{which}, "
        f"and {why}; put {lacking[0].name}/<split>.jsonl into a folder and set {DATA} to it."
    )


def _has_data(part: Task, root: Path | None) -> bool:
    if local_dataset(part, root):
        return True
    definition = _definition(part)
    repo = definition.get("dataset_path")
    return not repo or hub.dataset_prepared(repo, definition.get("dataset_name"))


def _definition(task: Task) -> Definition:
    return read_definition(_yaml(task))


def _yaml(task: Task) -> Path:
    path = Path(task.lm_eval)
    return path if path.suffix == ".yaml" else _by_name(task.lm_eval)


@cache
def _by_name(name: str) -> Path:
    """The YAML of a bare task name, where lm-eval keeps it under the same name."""
    folder = lm_eval_folder()
    found = sorted(folder.rglob(f"{name}.yaml")) if folder else []
    if not found:
        raise HarnessError(f"{name}: lm-eval has no {name}.yaml; give the YAML's path as lm_eval.")
    return found[0]
