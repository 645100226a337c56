"""The units of tasks' metrics in a stored run."""

from collections.abc import Mapping, Sequence

from melange.harness.records import Measurement, Task
from melange.harness.task_metrics import FRACTION


def units(
    measurements: Sequence[Measurement], tasks: Mapping[str, Task | None]
) -> dict[tuple[str, str | None], str]:
    """(metric, task) -> its unit, if some candidate has completed it; (metric, None): of any task.
    The same in every order of candidates."""
    found: dict[tuple[str, str | None], str] = {}
    for line in measurements:
        if line.value is not None:
            task = tasks.get(line.task or "")
            unit = task.unit if task and line.metric == task.primary_metric else ""
            for key in ((line.metric, line.task), (line.metric, None)):
                found[key] = unit or _common_unit(found.get(key, line.unit), line.unit)
    return found


def _common_unit(one: str, other: str) -> str:
    """Of two candidates' values. Earlier versions called a value a fraction if it looked like
    one: if any does not, none is."""
    return other if one == FRACTION else one
