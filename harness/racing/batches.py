"""Which examples of a task belong to which batch of a race. Pure.

Shape letter: N examples of a task.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from melange.harness.records import Task

ENDS = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Shares of the examples that have been asked after each batch. Small at first, when the weakest
are told apart; each batch costs every candidate a reload."""


class Share(NamedTuple):
    """Examples whose place is at least `begin` and below `end`, of places from 0 to 1."""

    begin: float
    end: float

    def of(self, places_N: np.ndarray) -> list[int]:
        """The examples with such places, in order."""
        found: list[int] = np.flatnonzero((places_N >= self.begin) & (places_N < self.end)).tolist()
        return found


def batches() -> list[Share]:
    return [Share(begin, end) for begin, end in zip((0.0, *ENDS), ENDS, strict=False)]


def cluster_names(task: Task, clusters: Sequence[str]) -> list[str]:
    """Tasks that cluster by the same column ask about the same things under the same names."""
    return [f"{task.cluster_by}: {name}" if name else "" for name in clusters]


def places(clusters: Mapping[str, Sequence[str]], seed: int) -> dict[str, np.ndarray]:
    """Each example's place in [0, 1), by task, shape [N].

    `clusters`: by task, a name per example; "" for a cluster of its own. Examples of one cluster
    have one place, in all tasks. Clusters of the same tasks are spread evenly, in random order, so
    that a batch has the same share of each task.
    """
    found = {task: np.zeros(len(names)) for task, names in clusters.items()}
    rng = np.random.default_rng(seed)
    for members in _strata(clusters).values():
        order = rng.permutation(len(members))
        for k, place in zip(
            order, (np.arange(len(order)) + rng.random()) / len(order), strict=True
        ):
            for task, example in members[k]:
                found[task][example] = place
    return found


def _strata(
    clusters: Mapping[str, Sequence[str]],
) -> dict[tuple[str, ...], list[list[tuple[str, int]]]]:
    """By the tasks that they are in, clusters as lists of task and example."""
    members: dict[object, list[tuple[str, int]]] = defaultdict(list)
    for task, names in clusters.items():
        for example, name in enumerate(names):
            members[name or (task, example)].append((task, example))
    strata: dict[tuple[str, ...], list[list[tuple[str, int]]]] = defaultdict(list)
    for examples in members.values():
        strata[tuple(sorted({task for task, _ in examples}))].append(examples)
    return strata
