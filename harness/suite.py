"""Suites: YAML files that say which candidates to measure on which tasks."""

from pathlib import Path

from melange.harness.errors import HarnessError, unknown
from melange.harness.records import Suite
from melange.harness.yaml_file import read_entry, read_yaml

SUITES = Path(__file__).parent.parent / "tasks" / "suites"


def suite_names() -> list[str]:
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def find_suite(name: str) -> Path:
    """The file of a suite by name, or the file itself.

    Raises:
        HarnessError: there is no such suite.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    if name not in suite_names():
        raise unknown("suite", name, suite_names())
    return SUITES / f"{name}.yaml"


def read_suite(path: Path) -> Suite:
    """
    Raises:
        HarnessError: a key or value of the file is wrong; the message names both.
    """
    fields = read_yaml(path)
    suite = read_entry(Suite, {"name": path.stem} | fields, str(path))
    names = [one.name for one in suite.workloads]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise HarnessError(f"{path}: two workloads are called {twice!r}; give each its own name")
    return suite
