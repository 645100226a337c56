"""Whether a task's metric can be given a value with an interval, told from its definition."""

from collections.abc import Iterator
from pathlib import Path

from melange.harness.records import Task
from melange.harness.task_metrics import AGGREGATIONS, formula
from melange.harness.task_metrics import unscorable as is_unscorable
from melange.tasks.public.definitions import read_definition
from melange.tasks.public.local import members


def unscorable(task: Task) -> str:
    """Why its metric cannot be scored, in one line; empty where it can, as far as is known."""
    if task.evaluator != "lm-eval":
        return ""
    for metric, aggregation in _aggregations(task):
        if is_unscorable(aggregation):
            known = ", ".join(sorted(AGGREGATIONS))
            return (
                f"{task.name}: {metric} is aggregated by {aggregation}, which is neither a mean "
                f"nor known to be a function of sums, so it has no interval; use one of {known}, "
                "or another primary_metric"
            )
    return ""


def _aggregations(task: Task) -> Iterator[tuple[str, str]]:
    """Of the metrics in its primary one, where its YAML names them."""
    for part in members(task):
        path = Path(part.lm_eval)
        if path.suffix == ".yaml" and path.is_file():
            for entry in read_definition(path).get("metric_list") or ():
                if entry.get("metric") in formula(task.primary_metric).of:
                    yield entry["metric"], str(entry.get("aggregation", "mean"))
