"""The tasks. One YAML file adds one; nothing else is touched.

tasks/pocket/*.yaml   an lm-eval task, or one of the evaluator that its `evaluator` names, in the
                      same format; what a report needs is in its `metadata`
tasks/public/*.yaml   names an lm-eval task and says what a report needs

`lm_eval` of a public task is a YAML path in lm-eval's own task folder, `./...` for one beside the
registry file, a glob where the task has several parts (mmlu's subjects), or a bare task name,
for which lm-eval has to index its 13,000 files.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from melange.harness.errors import HarnessError, unknown
from melange.harness.evaluators import EVALUATORS
from melange.harness.records import Record, Task
from melange.harness.task import OutputType
from melange.harness.task_metrics import meaning
from melange.harness.yaml_file import read_entry, read_yaml
from melange.tasks.public.definitions import lm_eval_folder, read_definition

TASKS = Path(__file__).parent
OWN_KEYS = ("evaluator", "output_type", "num_fewshot")
"""Keys of a pocket task's definition, outside its metadata."""


class PocketEntry(Record):
    """`metadata` of a pocket task's YAML."""

    version: int | float
    domain: str
    primary_metric: str
    unit: str = ""
    filter: str = "none"
    chance: float = 0.0
    part_chances: dict[str, float] = Field(default={})
    higher_is_better: bool | None = None
    chat: bool = False
    split: Literal["held_out", "tuning", "shifted"] = "held_out"
    shifted_of: str | None = None
    source: str = ""
    cluster_by: str = ""


class PublicEntry(Record):
    """A file of tasks/public/; the task's name is the file's."""

    lm_eval: str
    domain: str
    output_type: OutputType
    primary_metric: str
    unit: str = ""
    filter: str = "none"
    chance: float = 0.0
    part_chances: dict[str, float] = Field(default={})
    higher_is_better: bool | None = None
    num_fewshot: int | None = None
    chat: bool = False
    split: Literal["held_out", "tuning", "shifted"] = "held_out"
    shifted_of: str | None = None
    source: str = ""
    cluster_by: str = ""
    unsafe_code: bool = False
    sums_probabilities: bool = False
    needs: tuple[str, ...] = ()
    """What the task's scorer needs beyond lm-eval: a module, or `nltk:<resource>`."""


def load_tasks(folder: Path = TASKS) -> dict[str, Task]:
    """All tasks by name; pocket tasks first.

    Raises:
        HarnessError: a YAML file has a wrong key or type, or a task's name is taken.
    """
    files = sorted(folder.glob("pocket/*.yaml")) + sorted(folder.glob("public/*.yaml"))
    tasks: dict[str, Task] = {}
    for path in files:
        task = _pocket_task(path) if path.parent.name == "pocket" else _public_task(path)
        if task.name in tasks:
            raise HarnessError(
                f"{path}: there is already a task {task.name!r}; choose another name."
            )
        tasks[task.name] = task
    for task in tasks.values():
        if task.shifted_of and task.shifted_of not in tasks:
            raise HarnessError(
                f"{task.name}: shifted_of: {unknown('task', task.shifted_of, tasks)}"
            )
    return tasks


def select(tasks: dict[str, Task], patterns: Iterable[str]) -> list[Task]:
    """Tasks whose name matches a glob, each once, in the order of the patterns.

    Raises:
        HarnessError: a pattern matches nothing.
    """
    chosen: dict[str, Task] = {}
    for pattern in patterns:
        matches = {name: task for name, task in tasks.items() if fnmatchcase(name, pattern)}
        if not matches:
            raise unknown("task", pattern, tasks)
        chosen |= {name: task for name, task in matches.items() if name not in chosen}
    return list(chosen.values())


@cache
def public_entry(path: Path) -> PublicEntry:
    return read_entry(PublicEntry, read_yaml(path), str(path))


def _public_task(path: Path) -> Task:
    entry = public_entry(path)
    fields = declared(entry.model_dump(exclude={"needs"}), str(path))
    return Task(name=path.stem, scale="public", **fields | {"lm_eval": _locate(entry, path)})


def declared(fields: dict[str, Any], where: str) -> dict[str, Any]:
    """A task's fields, with unit and direction of a known metric where the entry does not say them.

    Raises:
        HarnessError: the entry has the metric's direction wrong.
    """
    metric, direction = fields["primary_metric"], fields.get("higher_is_better")
    known = meaning(metric)
    if known and direction not in (None, known.higher_is_better):
        better = "higher" if known.higher_is_better else "lower"
        raise HarnessError(
            f"{where}: higher_is_better={direction}, but of {metric} {better} values are better; "
            "leave the key out"
        )
    found = {"higher_is_better": known.higher_is_better if known else direction is not False}
    return fields | found | {"unit": fields.get("unit") or (known.unit if known else "")}


def _locate(entry: PublicEntry, path: Path) -> str:
    """Absolute path or glob of the task's YAML; a bare name is unchanged."""
    if not entry.lm_eval.endswith(".yaml"):
        return entry.lm_eval
    folder = path.parent if entry.lm_eval.startswith("./") else lm_eval_folder()
    return str(folder / entry.lm_eval) if folder else entry.lm_eval


def _pocket_task(path: Path) -> Task:
    definition = read_definition(path)
    entry = read_entry(PocketEntry, definition.get("metadata") or {}, f"{path}: metadata")
    about = {"name": definition.get("task", path.stem), "lm_eval": str(path), "scale": "pocket"}
    asked = {key: definition[key] for key in OWN_KEYS if key in definition}
    fields = entry.model_dump(exclude={"version"}, exclude_unset=True)
    fields = {"filter": _first_filter(definition)} | fields | about | asked
    task = read_entry(Task, declared(fields, str(path)), str(path))
    if task.evaluator not in EVALUATORS:
        raise HarnessError(f"{path}: {unknown('evaluator', task.evaluator, EVALUATORS)}")
    recorded = EVALUATORS[task.evaluator].metrics
    if recorded and task.primary_metric not in recorded:
        raise HarnessError(
            f"{path}: {unknown(f'metric of {task.evaluator}', task.primary_metric, recorded)}"
        )
    return task


def _first_filter(definition: dict[str, Any]) -> str:
    filters: Sequence[dict[str, Any]] = definition.get("filter_list") or [{"name": "none"}]
    return str(filters[0]["name"])
