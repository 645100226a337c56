"""Results of a task that hold no value, though every example was answered."""

import math
from collections.abc import Mapping, Sequence

from melange.harness.measure.quality import quality_records
from melange.harness.records import Candidate, Measurement, Task
from melange.harness.samples import TaskResult

LEFT_OUT = "left out, for a score that is no finite number: "


def hole(task: Task, result: TaskResult) -> str:
    """Why the result has no value of the task's primary metric; empty if it has one."""
    if task.primary_metric not in result.values:
        return _no_such_name(task, result.values)
    at = _first_not_finite(result.samples.score)
    if at is None:
        return ""
    return f"example {_number(result, at)}: {task.primary_metric} is missing or no finite number"


def scored_records(
    candidate: Candidate, task: Task, result: TaskResult, note: str
) -> list[Measurement]:
    """The records of a result without a hole; `note` is added to each."""
    kept, left_out = finite(result)
    return quality_records(candidate, task, kept, "; ".join(filter(None, (note, left_out))))


def _no_such_name(task: Task, values: Mapping[str, Sequence[float]]) -> str:
    """Metrics of other filters than the task's are called `metric,filter`."""
    own = sorted(name for name in values if "," not in name)
    if own:
        return f"it has no metric {task.primary_metric!r}; it has {', '.join(own)}"
    filters = dict.fromkeys(name.partition(",")[2] for name in values)
    if filters:
        return f"it has no filter {task.filter!r}; it has {', '.join(filters)}"
    return f"its metrics gave no number, {task.primary_metric!r} among them"


def finite(result: TaskResult) -> tuple[TaskResult, str]:
    """The result without other metrics that have a score that is not finite, and a note of them."""
    found = {name: _first_not_finite(scores) for name, scores in result.values.items()}
    bad = [
        f"{name} (example {_number(result, at)})" for name, at in found.items() if at is not None
    ]
    if not bad:
        return result, ""
    values = {name: result.values[name] for name, at in found.items() if at is None}
    return result._replace(values=values), LEFT_OUT + ", ".join(bad)


def _first_not_finite(scores: Sequence[float]) -> int | None:
    return next((at for at, one in enumerate(scores) if not math.isfinite(one)), None)


def _number(result: TaskResult, at: int) -> int:
    """Of an example, by its place among the samples."""
    numbers = (result.columns or {}).get("example")
    return int(numbers[at]) if numbers and at < len(numbers) else at
