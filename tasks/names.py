"""Whether a task's entry agrees with the task: its kind of output, its filters and its metrics."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError
from melange.harness.records import Task
from melange.harness.task_metrics import formula
from melange.tasks.public.definitions import Definition, read_definition
from melange.tasks.public.local import members

NO_FILTER = "none"
"""lm-eval's name where a task lists no filters."""
DEFAULT_METRICS = {
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": ("exact_match",),
}
"""lm-eval's, of a task that lists no metrics."""


def check_names(tasks: Iterable[Task]) -> None:
    """
    Raises:
        HarnessError: an entry names an output type, a filter or a metric that its task does not
            have: its cells would be measured without a value.
    """
    for task in tasks:
        if task.evaluator == "lm-eval":
            for part in members(task):
                _check(task, part)


def _check(task: Task, part: Task) -> None:
    path = Path(part.lm_eval)
    if not path.is_file():  # a name in lm-eval's index, known once lm-eval has loaded it
        return
    definition = read_definition(path)
    if "class" in definition:
        return
    output_type = definition.get("output_type", task.output_type)
    if task.output_type != output_type:
        raise lacking(task, "output_type", task.output_type, [output_type])
    filters = [str(one["name"]) for one in definition.get("filter_list") or [{"name": NO_FILTER}]]
    if task.filter not in filters:
        raise lacking(task, "filter", task.filter, filters)
    metrics = metric_names(definition)
    lacks = [name for name in formula(task.primary_metric).of if metrics and name not in metrics]
    if lacks:
        raise lacking(task, "primary_metric", task.primary_metric, metrics)


def lacking(task: Task, key: str, value: str, known: Iterable[str]) -> HarnessError:
    return HarnessError(
        f"{task.name}: {key}={value!r}, but the task has {', '.join(known)}; correct its entry"
    )


def metric_names(definition: Definition) -> tuple[str, ...]:
    """Metrics that scoring gives a value for; empty where only its code knows their names."""
    listed: list[dict[str, Any]] = definition.get("metric_list") or []
    coded = any(one.get("hf_evaluate") or "." in str(one.get("metric")) for one in listed)
    if coded or definition.get("process_results"):
        return ()
    named = tuple(str(one.get("metric")) for one in listed)
    return named or DEFAULT_METRICS.get(definition.get("output_type", ""), ())
