"""What a task's scorer needs beyond lm-eval: packages, nltk's data, and leave to run programs."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from melange.harness.records import Task
from melange.tasks.public import hub
from melange.tasks.registry import public_entry

ALLOW_CODE = "HF_ALLOW_CODE_EVAL"
NLTK_PLACES = ("share", "lib", "local/share", "local/lib")


def scorer_lacks(task: Task) -> str:
    """Why the task could be asked but not scored, in one line; empty where it can."""
    if task.unsafe_code and os.environ.get(ALLOW_CODE) != "1":
        return f"{task.name} runs programs that the model wrote; set {ALLOW_CODE}=1 to allow it."
    path = Path(__file__).with_name(f"{task.name}.yaml")
    for need in public_entry(path).needs if path.is_file() else ():
        module, _, resource = need.partition(":")
        if not find_spec(module):
            return f"{task.name}: its scorer needs the package {module}; `make run` installs it."
        if resource and not _has_nltk(resource) and not hub.reachable():
            name = resource.rpartition("/")[2]
            return f"{task.name}: its scorer needs `python -m nltk.downloader {name}` first."
    return ""


def _has_nltk(resource: str) -> bool:
    """Looks along nltk's own search path, without importing it."""
    given = os.environ.get("NLTK_DATA", "").split(os.pathsep)
    homes = [Path.home(), *(Path(sys.prefix, place) for place in ("", "share", "lib"))]
    folders = [Path(folder) for folder in given if folder]
    folders += [home / "nltk_data" for home in homes]
    folders += [Path("/usr", place, "nltk_data") for place in NLTK_PLACES]
    return any((folder / resource).exists() for folder in folders)
