"""lm-eval's task YAMLs, read without importing lm-eval."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from melange.harness.yaml_file import read_yaml

Definition = dict[str, Any]


def lm_eval_folder() -> Path | None:
    """The folder of lm-eval's own tasks; None if lm-eval is not installed."""
    spec = find_spec("lm_eval")
    return Path(spec.origin).parent / "tasks" if spec and spec.origin else None


@cache
def read_definition(path: Path) -> Definition:
    """A task's YAML with what it includes; its own keys win."""
    own = read_yaml(path)
    includes = own.pop("include", [])
    merged: Definition = {}
    for name in includes if isinstance(includes, list) else [includes]:
        merged |= read_definition((path.parent / name).resolve())
    return merged | own
