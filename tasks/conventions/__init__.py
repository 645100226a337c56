"""Conventions: shots, metrics and normalization as a leaderboard or a paper has them.

A YAML file adds one; a suite chooses it by name (`conventions: open-llm-v1`) and may change single
tasks (`task_settings`). A convention changes the tasks that the suite names, and adds none.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from melange.harness.errors import HarnessError, unknown
from melange.harness.records import Record, Suite, Task
from melange.harness.yaml_file import read_entry, read_yaml
from melange.tasks.registry import declared

FOLDER = Path(__file__).parent
NOTE = "note"
"""A key that is for readers: the source of a setting, and where it differs."""


class Setting(Record):
    """What a convention or a suite says of a task; None: as its entry."""

    num_fewshot: int | None = None
    primary_metric: str | None = None
    unit: str | None = None
    filter: str | None = None
    chance: float | None = None
    part_chances: dict[str, float] | None = None
    chat: bool | None = None
    note: str = ""


class Convention(Record):
    title: str
    source: str
    tasks: dict[str, Setting] = Field(min_length=1)


def convention_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_convention(name: str) -> Convention:
    """
    Raises:
        HarnessError: there is no such file, or a key or value of it is wrong.
    """
    if name not in convention_names():
        raise unknown("conventions", name, convention_names())
    path = FOLDER / f"{name}.yaml"
    return read_entry(Convention, read_yaml(path), str(path))


def as_agreed(tasks: Mapping[str, Task], suite: Suite) -> dict[str, Task]:
    """The tasks with the suite's conventions, then with its own settings.

    Raises:
        HarnessError: the suite names unknown conventions, tasks or keys.
    """
    found = dict(tasks)
    if suite.conventions:
        for name, setting in read_convention(suite.conventions).tasks.items():
            found[name] = _changed(found[name], setting, f"conventions {suite.conventions}")
    for name, values in suite.task_settings.items():
        where = f"suite {suite.name}: task_settings"
        if name not in found:
            raise HarnessError(f"{where}: {unknown('task', name, found)}")
        setting = read_entry(Setting, values, f"{where}: {name}")
        found[name] = _changed(found[name], setting, where)
    return found


def _changed(task: Task, setting: Setting, where: str) -> Task:
    """A new metric brings its own unit and direction."""
    changes: dict[str, Any] = setting.model_dump(exclude={NOTE}, exclude_none=True)
    if not changes:
        return task
    if "primary_metric" in changes:
        changes = declared({"unit": ""} | changes, f"{where}: {task.name}")
    return read_entry(Task, task.model_dump() | changes, f"{where}: {task.name}")
