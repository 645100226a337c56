"""Candidates' answers to the pocket tasks' questions, simulated with the facts that tasks share.

Shape letters: K candidates, N examples, T tasks, F facts.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melange.harness.cache import cache_dir
from melange.harness.stats import TaskScores
from melange.reports.analysis.board import MEAN_SPLITS
from melange.tasks.registry import load_tasks
from melange.tasks.sources import pocket_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    names: tuple[str, ...]
    """Of the tasks."""
    facts: tuple[np.ndarray, ...]
    """By task: each example's fact as a number from 0; tasks that share one have its number."""

    @property
    def num_shared(self) -> int:
        """Tasks that ask about a fact that another one asks about too."""
        times = Counter(fact for one in self.facts for fact in set(one.tolist()))
        return sum(any(times[fact] > 1 for fact in set(one.tolist())) for one in self.facts)

    def answers(
        self,
        rng: np.random.Generator,
        truth_T: Sequence[float] | np.ndarray,
        num: int,
        share: float,
    ) -> list[TaskScores]:
        """Scores of `num` candidates whose true accuracies are `truth_T`.

        With probability `share` an answer is right where the candidate knows the fact, else at
        random. What it knows is one draw a fact, the same in all tasks.
        """
        size = 1 + max(int(one.max()) for one in self.facts)
        level_KF = rng.random((num, size))
        return [
            self._task(rng, level_KF, truth, fact_N, share)
            for truth, fact_N in zip(truth_T, self.facts, strict=True)
        ]

    def _task(
        self,
        rng: np.random.Generator,
        level_KF: np.ndarray,
        truth: float,
        fact_N: np.ndarray,
        share: float,
    ) -> TaskScores:
        knows_KN = level_KF[:, fact_N] < truth
        guess_KN = rng.random(knows_KN.shape) < truth
        follows_KN = rng.random(knows_KN.shape) < share
        scores_KN = np.where(follows_KN, knows_KN, guess_KN).astype(float)
        return TaskScores(scores_KN=scores_KN, clusters_N=fact_N.astype(str))


def pocket_facts(seed: int = 0) -> Facts:
    """Of the pocket tasks that a mean is over."""
    data = pocket_data(seed, cache_dir())
    tasks = [
        one
        for one in load_tasks().values()
        if one.scale == "pocket" and one.split in MEAN_SPLITS and one.evaluator == "lm-eval"
    ]
    numbers: dict[str, int] = {}
    facts = []
    for task in tasks:
        names = [
            f"{task.cluster_by}: {row[task.cluster_by]}" if task.cluster_by else f"{task.name} {at}"
            for at, row in enumerate(_rows(data / f"{task.name}.jsonl"))
        ]
        facts.append(np.array([numbers.setdefault(name, len(numbers)) for name in names]))
    return Facts(names=tuple(one.name for one in tasks), facts=tuple(facts))


def _rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
