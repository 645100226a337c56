"""The values of a task's metrics for one candidate, from what lm-eval says of each example."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from lm_eval.api.metrics import mean as lm_eval_mean
from lm_eval.api.task import Task as LmEvalTask

from melange.harness.errors import HarnessError
from melange.harness.evaluators.lm_eval.aggregations import Aggregation, Scored, score_examples
from melange.harness.records import Task
from melange.harness.stats.pooled import Pooled, example_scores, mean_of_parts, pooled_interval
from melange.harness.task_metrics import Formula, formula


class Values(NamedTuple):
    """By metric."""

    scores: Mapping[str, Sequence[float]]
    """Of each example; their mean is the metric."""
    intervals: Mapping[str, tuple[float, float]]
    """Of metrics that are no means."""


class MetricValues:
    """Collects items, then scores them. A metric behind another filter than the task's own is
    called `metric,filter`."""

    def __init__(self, task: Task, parts: Sequence[LmEvalTask]) -> None:
        self._task = task
        self._parts = parts
        self._formula = formula(task.primary_metric)
        self._items: dict[str, list[Any]] = defaultdict(list)
        self._part_of: dict[str, list[int]] = defaultdict(list)
        """The part of each item."""

    def add(self, filter_name: str, items: Mapping[str, Any], *, part: int) -> None:
        for metric, item in items.items():
            key = metric if filter_name == self._task.filter else f"{metric},{filter_name}"
            self._items[key].append(item)
            self._part_of[key].append(part)

    def has_primary(self, items: Mapping[str, Any]) -> bool:
        return all(name in items for name in self._formula.of)

    def scores(self, clusters: Sequence[str]) -> Values:
        """`clusters`: of the examples that have the primary metric.

        Raises:
            HarnessError: the primary metric is not one that can be scored.
        """
        found = {key: self._scored(key) for key in self._items}
        if self._formula.how and self.has_primary(self._items):
            found[self._task.primary_metric] = self._primary(found)
        if self.has_primary(self._items) and found.get(self._task.primary_metric) is None:
            raise HarnessError(_unscored(self._task))
        known = {key: one for key, one in found.items() if one is not None}
        return Values(
            {key: one.scores for key, one in known.items()},
            {key: bounds for key, one in known.items() if (bounds := _bounds(one, clusters))},
        )

    def _scored(self, key: str) -> Scored | None:
        metric = key.partition(",")[0]
        first = self._parts[self._part_of[key][0]]
        aggregation: Aggregation = first.aggregation().get(metric, lm_eval_mean)
        return score_examples(aggregation, self._items[key])

    def _primary(self, found: Mapping[str, Scored | None]) -> Scored | None:
        """By the formula of the task's metric."""
        members = [one for name in self._formula.of if (one := found[name]) is not None]
        if len(members) < len(self._formula.of):
            return None
        if self._formula.how == "mean":
            return Scored(np.mean([one.scores for one in members], axis=0).tolist())
        scores_N = np.array(members[0].scores)
        parts_N = np.array(self._part_of[self._formula.of[0]])
        pooled = over_parts(self._formula, self._task, scores_N, self._named(parts_N))
        return Scored(example_scores(pooled).tolist(), pooled)

    def _named(self, parts_N: np.ndarray) -> Sequence[str]:
        names = [str(part.task_name) for part in self._parts]
        return [names[at] for at in parts_N.tolist()]


def over_parts(how: Formula, task: Task, scores_N: np.ndarray, names: Sequence[str]) -> Pooled:
    """A metric that is a mean over parts, or is normalized by chance.

    Raises:
        HarnessError: the task does not declare a part's chance.
    """
    by_part = how.how == "macro" or bool(task.part_chances)
    parts = sorted(set(names)) if by_part else [task.name]
    places = {name: at for at, name in enumerate(parts)}
    statistics_NS = np.zeros((len(scores_N), 2 * len(parts)))
    rows_N = np.arange(len(scores_N))
    at_N = np.array([places[name] if by_part else 0 for name in names])
    statistics_NS[rows_N, at_N] = scores_N
    statistics_NS[rows_N, len(parts) + at_N] = 1
    chances_P = np.array([_chance(task, part) for part in parts])
    normalized = chances_P if how.how == "normalized" else None
    return Pooled(statistics_NS=statistics_NS, of_sums=partial(mean_of_parts, chances_P=normalized))


def _chance(task: Task, part: str) -> float:
    if not task.part_chances:
        return task.chance
    if part not in task.part_chances:
        raise HarnessError(
            f"{task.name}: part_chances has no {part}; its parts' scores are normalized by chance, "
            "so add the part's"
        )
    return task.part_chances[part]


def _bounds(scored: Scored, clusters: Sequence[str]) -> tuple[float, float] | None:
    if scored.pooled is None:
        return None
    found = pooled_interval(
        scored.pooled, clusters if len(clusters) == len(scored.scores) else None
    )
    return found.low, found.high


def _unscored(task: Task) -> str:
    return (
        f"{task.name}: {task.primary_metric} is neither a mean over examples nor a metric that is "
        "known to be a function of sums; choose another primary_metric"
    )
