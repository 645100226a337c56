"""Accuracy of a candidate on a task, from per-example values."""

import statistics
from collections.abc import Mapping, Sequence

from harness.records import Candidate, Measurement, Task
from harness.stats import mean_interval, wilson_interval


def quality_records(
    candidate: Candidate, task: Task, values: Mapping[str, Sequence[float]]
) -> list[Measurement]:
    """A record per metric, the task's primary metric first."""
    metrics = sorted(values, key=lambda metric: (metric != task.primary_metric, metric))
    return [_record(candidate, task, metric, values[metric]) for metric in metrics]


def _record(candidate: Candidate, task: Task, metric: str, values: Sequence[float]) -> Measurement:
    mean = statistics.fmean(values)
    bounded = min(values) >= 0 and max(values) <= 1
    low, high = wilson_interval(mean, len(values)) if bounded else mean_interval(values)
    return Measurement(
        candidate=candidate.name,
        family=candidate.family,
        task=task.name,
        metric=metric,
        value=mean,
        unit="fraction" if bounded else "value",
        n=len(values),
        ci_low=low,
        ci_high=high,
        higher_is_better=task.higher_is_better,
    )
