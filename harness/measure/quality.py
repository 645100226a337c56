"""Quality of a candidate on a task, from the scores of its examples."""

from melange.harness.records import Candidate, Measurement, Task
from melange.harness.samples import TaskResult
from melange.harness.stats import score_interval
from melange.harness.task_metrics import UNKNOWN_UNIT, Meaning, meaning


def quality_records(
    candidate: Candidate, task: Task, result: TaskResult, note: str = ""
) -> list[Measurement]:
    """A record per metric, the task's primary metric first; `note` is added to each.

    Clusters of examples are used for other metrics than the primary one too, if these have as many
    values.
    """
    metrics = sorted(result.values, key=lambda metric: (metric != task.primary_metric, metric))
    records = [_record(candidate, task, metric, result) for metric in metrics]
    return [one.model_copy(update={"reason": note}) for one in records] if note else records


def _record(candidate: Candidate, task: Task, metric: str, result: TaskResult) -> Measurement:
    values, clusters = result.values[metric], result.samples.cluster
    found = score_interval(values, clusters if len(clusters) == len(values) else None)
    low, high = (result.intervals or {}).get(metric, (found.low, found.high))
    declared = _meaning(task, metric)
    return Measurement(
        candidate=candidate.name,
        family=candidate.family,
        task=task.name,
        metric=metric,
        value=found.mean,
        unit=declared.unit,
        n=found.n,
        ci_low=low,
        ci_high=high,
        higher_is_better=declared.higher_is_better,
    )


def _meaning(task: Task, metric: str) -> Meaning:
    """As declared for the primary metric; of others what is known of the name, or of the primary
    metric where it has the same name behind another filter."""
    known = meaning(metric)
    if metric.partition(",")[0] == task.primary_metric:
        unit = task.unit or (known.unit if known else UNKNOWN_UNIT)
        return Meaning(unit, task.higher_is_better)
    return known or Meaning(UNKNOWN_UNIT, task.higher_is_better)
