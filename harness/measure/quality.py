"""Accuracy of a candidate on a task, from per-example values."""

from collections.abc import Sequence

from melange.harness.records import Candidate, Measurement, Task
from melange.harness.samples import TaskResult
from melange.harness.stats import score_interval


def quality_records(
    candidate: Candidate, task: Task, result: TaskResult, note: str = ""
) -> list[Measurement]:
    """A record per metric, the task's primary metric first; `note` is added to each.

    Clusters of examples are used for other metrics than the primary one too, if these have as many
    values.
    """
    values, clusters = result.values, result.samples.cluster
    metrics = sorted(values, key=lambda metric: (metric != task.primary_metric, metric))
    records = [_record(candidate, task, metric, values[metric], clusters) for metric in metrics]
    return [one.model_copy(update={"reason": note}) for one in records] if note else records


def _record(
    candidate: Candidate,
    task: Task,
    metric: str,
    values: Sequence[float],
    clusters: Sequence[str],
) -> Measurement:
    bounded = min(values) >= 0 and max(values) <= 1
    found = score_interval(values, clusters if len(clusters) == len(values) else None)
    return Measurement(
        candidate=candidate.name,
        family=candidate.family,
        task=task.name,
        metric=metric,
        value=found.mean,
        unit="fraction" if bounded else "value",
        n=found.n,
        ci_low=found.low,
        ci_high=found.high,
        higher_is_better=task.higher_is_better,
    )
